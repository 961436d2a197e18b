//! A disk with a write-back cache, played from the journal of what a process did to it.
//!
//! Each file and each folder has a durable content, and changes that came after it and that no fsync has covered. An fsync
//! covers the changes of that one file or folder that were done before it began, and only once it has returned: a new
//! file's name is the business of its folder's fsync, as POSIX has it, although many file systems are kinder. What a disk
//! holds after a power loss is the durable content and any of the other changes: see [`Survivors`].
//!
//! A move inside one folder is one change. One between folders is two, which can survive apart: harsher than any file system in
//! use.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, bail};

use super::format::Record;
use super::survivors::Survivors;

/// Names a file or folder for as long as the disk is played; inodes are used again.
type Object = usize;

/// The disk as a process left it.
#[derive(Default)]
pub(crate) struct Disk {
    objects: Vec<Content>,
    by_inode: HashMap<u64, Object>,
    syncs: HashMap<u64, (Object, u64)>,
    clock: u64,
}

/// A change and when it was done.
type Since<T> = Vec<(u64, T)>;

enum Content {
    File {
        durable: Vec<u8>,
        since: Since<Change>,
    },
    Folder {
        durable: BTreeMap<Vec<u8>, Object>,
        since: Since<Naming>,
        /// As the process sees it.
        live: BTreeMap<Vec<u8>, Object>,
    },
}

/// A change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// These bytes from there on.
    Write {
        /// From the file's start.
        offset: u64,
        /// What.
        data: Vec<u8>,
    },
    /// This length.
    Truncate {
        /// In bytes.
        len: u64,
    },
}

/// A change of a folder.
#[derive(Clone)]
enum Naming {
    Set(Vec<u8>, Object),
    Remove(Vec<u8>),
    Move(Vec<u8>, Vec<u8>, Object),
}

/// What is found after the power loss: folders by path, and files with their content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// Parents first.
    pub(crate) folders: Vec<Vec<u8>>,
    /// By path from the root.
    pub(crate) files: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// The root is the first object, and on the disk whatever happens.
const ROOT: Object = 0;

impl Disk {
    /// Does what the record says was done.
    pub(crate) fn play(&mut self, record: &Record) -> anyhow::Result<()> {
        self.clock += 1;
        match record {
            Record::Session { folder } => {
                if self.objects.is_empty() {
                    self.make(*folder, Content::folder());
                }
            }
            Record::Create { path, file } => {
                let made = self.make(*file, Content::file());
                self.name(path, |name| Naming::Set(name, made))?;
            }
            Record::Mkdir { path, folder } => {
                let made = self.make(*folder, Content::folder());
                self.name(path, |name| Naming::Set(name, made))?;
            }
            Record::Write { file, offset, data } => {
                let (offset, data) = (*offset, data.clone());
                self.change(*file, Change::Write { offset, data })?;
            }
            Record::Truncate { file, len } => self.change(*file, Change::Truncate { len: *len })?,
            Record::SyncBegin { file, token } => {
                let object = self.object(*file)?;
                self.syncs.insert(*token, (object, self.clock));
            }
            Record::SyncEnd { token } => {
                let (object, begun) = self.syncs.remove(token).context("an fsync ends that never began")?;
                self.objects[object].make_durable(begun);
            }
            Record::Rename { from, to } => self.rename(from, to)?,
            Record::Unlink { path } => self.name(path, Naming::Remove)?,
            Record::Mark { .. } => {}
            Record::Unsupported { what } => bail!(
                "the process did what cannot be recorded: {}",
                String::from_utf8_lossy(what)
            ),
        }
        Ok(())
    }

    /// What is found when the power goes now.
    pub(crate) fn image(&self, survivors: &mut Survivors) -> Image {
        let mut image = Image::default();
        if !self.objects.is_empty() {
            self.collect(ROOT, &[], survivors, &mut HashMap::new(), &mut image);
        }
        image
    }

    fn collect(
        &self,
        folder: Object,
        path: &[u8],
        survivors: &mut Survivors,
        contents: &mut HashMap<Object, Vec<u8>>,
        image: &mut Image,
    ) {
        let Content::Folder { durable, since, .. } = &self.objects[folder] else {
            return;
        };
        let mut names = durable.clone();
        for (_, naming) in since
            .iter()
            .zip(survivors.namings(since.len()))
            .filter(|(_, kept)| *kept)
            .map(|(it, _)| it)
        {
            naming.apply(&mut names);
        }
        for (name, object) in names {
            let path = if path.is_empty() {
                name
            } else {
                [path, b"/", &name].concat()
            };
            match &self.objects[object] {
                Content::Folder { .. } => {
                    image.folders.push(path.clone());
                    self.collect(object, &path, survivors, contents, image);
                }
                Content::File { durable, since } => {
                    // A file that is found under two names is one file.
                    let content = contents.entry(object).or_insert_with(|| {
                        let changes: Vec<_> = since.iter().map(|(_, change)| change).collect();
                        survivors.content(durable.clone(), &changes)
                    });
                    image.files.insert(path, content.clone());
                }
            }
        }
    }

    fn make(&mut self, inode: u64, content: Content) -> Object {
        self.objects.push(content);
        self.by_inode.insert(inode, self.objects.len() - 1);
        self.objects.len() - 1
    }

    fn object(&self, inode: u64) -> anyhow::Result<Object> {
        self.by_inode
            .get(&inode)
            .copied()
            .with_context(|| format!("inode {inode} was never seen to be made"))
    }

    fn change(&mut self, inode: u64, change: Change) -> anyhow::Result<()> {
        let object = self.object(inode)?;
        match &mut self.objects[object] {
            Content::File { since, .. } => since.push((self.clock, change)),
            Content::Folder { .. } => bail!("a folder was written to"),
        }
        Ok(())
    }

    /// Changes what the folder of this path calls by its last part.
    fn name(&mut self, path: &[u8], naming: impl FnOnce(Vec<u8>) -> Naming) -> anyhow::Result<()> {
        let (folder, name) = self.resolve(path)?;
        self.renaming(folder, naming(name));
        Ok(())
    }

    fn rename(&mut self, from: &[u8], to: &[u8]) -> anyhow::Result<()> {
        let (old_folder, old) = self.resolve(from)?;
        let (new_folder, new) = self.resolve(to)?;
        let moved = self.objects[old_folder]
            .live(&old)
            .context("what is moved is not there")?;
        if old_folder == new_folder {
            self.renaming(old_folder, Naming::Move(old, new, moved));
        } else {
            self.renaming(new_folder, Naming::Set(new, moved));
            self.renaming(old_folder, Naming::Remove(old));
        }
        Ok(())
    }

    fn renaming(&mut self, folder: Object, naming: Naming) {
        let clock = self.clock;
        if let Content::Folder { since, live, .. } = &mut self.objects[folder] {
            naming.apply(live);
            since.push((clock, naming));
        }
    }

    fn resolve(&self, path: &[u8]) -> anyhow::Result<(Object, Vec<u8>)> {
        let mut parts: Vec<_> = path.split(|byte| *byte == b'/').collect();
        let name = parts.pop().context("a path has a last part")?;
        let mut folder = ROOT;
        for part in parts {
            folder = self.objects[folder]
                .live(part)
                .with_context(|| format!("there is no folder for {}", String::from_utf8_lossy(path)))?;
        }
        Ok((folder, name.to_vec()))
    }
}

impl Content {
    fn file() -> Self {
        Self::File {
            durable: Vec::new(),
            since: Vec::new(),
        }
    }

    fn folder() -> Self {
        Self::Folder {
            durable: BTreeMap::new(),
            since: Vec::new(),
            live: BTreeMap::new(),
        }
    }

    fn live(&self, name: &[u8]) -> Option<Object> {
        match self {
            Self::Folder { live, .. } => live.get(name).copied(),
            Self::File { .. } => None,
        }
    }

    fn make_durable(&mut self, begun: u64) {
        match self {
            Self::File { durable, since } => {
                for (_, change) in covered(since, begun) {
                    change.apply(durable);
                }
            }
            Self::Folder { durable, since, .. } => {
                for (_, naming) in covered(since, begun) {
                    naming.apply(durable);
                }
            }
        }
    }
}

fn covered<T>(since: &mut Since<T>, begun: u64) -> Since<T> {
    let later = since.split_off(since.partition_point(|(at, _)| *at < begun));
    std::mem::replace(since, later)
}

impl Change {
    /// Does it.
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => put(content, *offset, data),
            Self::Truncate { len } => content.resize(index(*len), 0),
        }
    }
}

/// Writes into a content, which grows by zeros where there is nothing yet.
pub(crate) fn put(content: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let begin = index(offset);
    let end = begin + data.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[begin..end].copy_from_slice(data);
}

/// A place in a file that is in memory.
pub(crate) fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("a recorded file fits in memory")
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<Vec<u8>, Object>) {
        match self {
            Self::Set(name, object) => {
                names.insert(name.clone(), *object);
            }
            Self::Remove(name) => {
                names.remove(name);
            }
            Self::Move(from, to, object) => {
                if names.get(from) == Some(object) {
                    names.remove(from);
                }
                names.insert(to.clone(), *object);
            }
        }
    }
}

#[cfg(test)]
mod tests;
