use super::super::survivors::{Mode, Survivors};
use super::*;

const ROOT_INODE: u64 = 1;

/// A file `name` under the inode 9, and a folder `sub` under 8, both durable.
fn disk() -> Disk {
    let mut disk = Disk::default();
    for record in [
        Record::Session { folder: ROOT_INODE },
        Record::Create {
            path: b"name".to_vec(),
            file: 9,
        },
        Record::Mkdir {
            path: b"sub".to_vec(),
            folder: 8,
        },
    ] {
        disk.play(&record).unwrap();
    }
    sync(&mut disk, ROOT_INODE);
    disk
}

fn sync(disk: &mut Disk, file: u64) {
    disk.play(&Record::SyncBegin { file, token: file }).unwrap();
    disk.play(&Record::SyncEnd { token: file }).unwrap();
}

fn write(disk: &mut Disk, offset: u64, data: &[u8]) {
    let data = data.to_vec();
    disk.play(&Record::Write { file: 9, offset, data }).unwrap();
}

fn found(disk: &Disk, mode: Mode) -> Image {
    disk.image(&mut Survivors::new(mode, 1))
}

fn file(disk: &Disk, mode: Mode) -> Vec<u8> {
    found(disk, mode).files[b"name".as_slice()].clone()
}

#[test]
fn a_write_is_only_there_for_sure_once_an_fsync_that_began_after_it_has_returned() {
    let mut disk = disk();
    write(&mut disk, 0, b"first");
    assert_eq!(file(&disk, Mode::DropAll), b"");
    assert_eq!(file(&disk, Mode::KeepAll), b"first");
    disk.play(&Record::SyncBegin { file: 9, token: 1 }).unwrap();
    write(&mut disk, 0, b"F");
    assert_eq!(file(&disk, Mode::DropAll), b"", "the fsync has not returned");
    disk.play(&Record::SyncEnd { token: 1 }).unwrap();
    assert_eq!(
        file(&disk, Mode::DropAll),
        b"first",
        "the second write came after its beginning"
    );
    assert_eq!(file(&disk, Mode::KeepAll), b"First");
}

#[test]
fn a_name_is_only_there_for_sure_once_its_folder_was_fsynced() {
    let mut disk = disk();
    disk.play(&Record::Create {
        path: b"sub/new".to_vec(),
        file: 7,
    })
    .unwrap();
    sync(&mut disk, 7);
    assert!(!found(&disk, Mode::DropAll).files.contains_key(b"sub/new".as_slice()));
    sync(&mut disk, 8);
    assert!(found(&disk, Mode::DropAll).files.contains_key(b"sub/new".as_slice()));
}

#[test]
fn a_move_over_another_name_is_done_or_not_and_an_inode_that_is_used_again_is_another_file() {
    let mut disk = disk();
    write(&mut disk, 0, b"old");
    sync(&mut disk, 9);
    let draft = || b"draft".to_vec();
    let steps = [
        Record::Create { path: draft(), file: 7 },
        Record::Write {
            file: 7,
            offset: 0,
            data: b"new".to_vec(),
        },
    ];
    steps.iter().for_each(|step| disk.play(step).unwrap());
    sync(&mut disk, 7);
    disk.play(&Record::Rename {
        from: draft(),
        to: b"name".to_vec(),
    })
    .unwrap();
    assert_eq!(file(&disk, Mode::DropAll), b"old");
    assert_eq!(file(&disk, Mode::KeepAll), b"new");
    sync(&mut disk, ROOT_INODE);
    assert_eq!(file(&disk, Mode::DropAll), b"new");
    disk.play(&Record::Create {
        path: b"other".to_vec(),
        file: 9,
    })
    .unwrap();
    assert_eq!(found(&disk, Mode::KeepAll).files[b"other".as_slice()], b"");
}

#[test]
fn a_torn_write_is_torn_at_sectors_and_the_same_seed_tears_alike() {
    let mut disk = disk();
    let data: Vec<u8> = (0..20_000u32)
        .map(|at| u8::try_from(at / 512 % 250 + 1).unwrap())
        .collect();
    write(&mut disk, 0, &data);
    let mut torn = 0;
    for seed in 0..64 {
        let image = |mode| disk.image(&mut Survivors::new(mode, seed));
        let found = image(Mode::Random(0.5));
        assert_eq!(found, image(Mode::Random(0.5)));
        let content = &found.files[b"name".as_slice()];
        for (sector, whole) in content.chunks(512).zip(data.chunks(512)) {
            assert!(sector == &whole[..sector.len()] || sector.iter().all(|byte| *byte == 0));
        }
        torn += u32::from(content.contains(&0) && content.iter().any(|byte| *byte != 0));
    }
    assert!(torn > 0);
}

#[test]
fn what_the_journal_cannot_say_ends_the_play() {
    let what = b"a link".to_vec();
    assert!(disk().play(&Record::Unsupported { what }).is_err());
}
