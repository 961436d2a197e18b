use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::super::folder::{Signatures, list};
use super::*;

const SETTLE: Duration = Duration::from_millis(500);

/// A folder, a tracker, and time that only passes when it is told to.
struct Bed {
    dir: TempDir,
    tracker: Tracker,
    now: Moment,
}

impl Bed {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            tracker: Tracker::new(SETTLE),
            now: Moment::now(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("a.wasm")
    }

    /// Writes the file, as long ago as this.
    fn write(&self, text: &str, age: Duration) {
        fs::write(self.path(), text).unwrap();
        let file = fs::File::options().write(true).open(self.path()).unwrap();
        file.set_modified(self.now.wall - age).unwrap();
    }

    fn look(&mut self) -> Looked {
        let listing = list(self.dir.path(), &self.tracker.known(), Signatures::Ignored).unwrap();
        self.tracker.look(listing.files, self.now)
    }

    fn after(&mut self, time: Duration) -> Looked {
        self.now.at += time;
        self.now.wall += time;
        self.look()
    }
}

fn taken(looked: &Looked) -> usize {
    looked.take_up.len()
}

#[test]
fn a_file_that_grows_is_not_taken_up_before_it_stands_still() {
    let mut bed = Bed::new();
    bed.write("a", Duration::ZERO);
    assert_eq!(bed.look().again_in, Some(SETTLE));
    for size in 2..6 {
        bed.now.at += SETTLE / 2;
        bed.now.wall += SETTLE / 2;
        bed.write(&"a".repeat(size), Duration::ZERO);
        let looked = bed.look();
        assert_eq!((taken(&looked), looked.again_in), (0, Some(SETTLE)));
    }
    assert_eq!(taken(&bed.after(SETTLE - Duration::from_millis(1))), 0);
    let looked = bed.after(Duration::from_millis(1));
    assert_eq!((taken(&looked), looked.again_in), (1, None));
    assert_eq!(bed.after(SETTLE), Looked::default(), "once, and no more");
}

#[test]
fn a_file_that_was_written_long_ago_is_taken_up_at_once_and_one_from_the_future_is_waited_for() {
    let mut bed = Bed::new();
    bed.write("a", SETTLE);
    assert_eq!(taken(&bed.look()), 1);
    bed.write("b", Duration::ZERO);
    let file = fs::File::options().write(true).open(bed.path()).unwrap();
    file.set_modified(bed.now.wall + Duration::from_secs(3_600)).unwrap();
    assert_eq!(taken(&bed.look()), 0);
    assert_eq!(taken(&bed.after(SETTLE)), 1);
}

#[test]
fn a_file_that_has_gone_is_missed_only_after_a_while_and_one_that_comes_back_meanwhile_was_never_gone() {
    let mut bed = Bed::new();
    bed.write("a", SETTLE);
    bed.look();
    fs::remove_file(bed.path()).unwrap();
    let looked = bed.look();
    assert_eq!((looked.gone.len(), looked.again_in), (0, Some(SETTLE)));
    assert!(bed.tracker.is_missing("a.wasm"));
    bed.write("b", SETTLE);
    let looked = bed.after(SETTLE);
    assert_eq!((looked.gone.len(), taken(&looked)), (0, 1));
    fs::remove_file(bed.path()).unwrap();
    bed.look();
    assert_eq!(bed.after(SETTLE).gone, ["a.wasm"]);
    assert!(bed.tracker.known().is_empty());
}

#[test]
fn a_file_that_came_and_went_leaves_nothing() {
    let mut bed = Bed::new();
    bed.write("a", Duration::ZERO);
    bed.look();
    fs::remove_file(bed.path()).unwrap();
    assert_eq!(bed.look(), Looked::default());
    assert!(bed.tracker.known().is_empty());
}

#[test]
fn another_file_of_the_same_size_and_time_is_another_file() {
    let mut bed = Bed::new();
    bed.write("a", SETTLE);
    bed.look();
    let beside = bed.dir.path().join("beside");
    fs::write(&beside, "b").unwrap();
    let file = fs::File::options().write(true).open(&beside).unwrap();
    file.set_modified(bed.now.wall - SETTLE).unwrap();
    fs::rename(&beside, bed.path()).unwrap();
    assert_eq!(taken(&bed.look()), 1);
}

#[test]
fn what_is_to_be_tried_again_is_tried_once() {
    let mut bed = Bed::new();
    bed.write("a", SETTLE);
    let first = bed.look();
    bed.tracker.again("a.wasm");
    assert_eq!(bed.look(), first);
    assert_eq!(bed.look(), Looked::default());
    fs::remove_file(bed.path()).unwrap();
    bed.tracker.again("a.wasm");
    bed.look();
    assert_eq!(bed.after(SETTLE).gone, ["a.wasm"], "trying again hides no removal");
}

#[test]
fn a_file_that_is_known_from_earlier_is_taken_up_or_has_gone() {
    let mut bed = Bed::new();
    bed.write("a", SETTLE);
    bed.tracker.expect("a.wasm".to_owned(), bed.now.at);
    bed.tracker.expect("b.wasm".to_owned(), bed.now.at);
    let looked = bed.look();
    assert_eq!((taken(&looked), looked.gone.len()), (1, 0));
    assert_eq!(bed.after(SETTLE).gone, ["b.wasm"]);
}
