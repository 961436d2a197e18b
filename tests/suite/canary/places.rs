//! Everything that a run leaves, by kind of place, and the search through it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;

use crate::needles::Needles;

/// Most files of a data folder.
const FILES_MAX: usize = 10_000;

/// A kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    GuestMemory,
    ApiAnswers,
    ErrorAnswers,
    HookAnswers,
    PanelPages,
    CommandLine,
    Metrics,
    Log,
    DataFolder,
    Process,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::GuestMemory => "guest memory",
            Self::ApiAnswers => "API answers",
            Self::ErrorAnswers => "error answers",
            Self::HookAnswers => "answers of hooks",
            Self::PanelPages => "panel pages",
            Self::CommandLine => "command line",
            Self::Metrics => "metrics",
            Self::Log => "log and spans",
            Self::DataFolder => "data folder",
            Self::Process => "arguments, environment",
        })
    }
}

impl Place {
    /// Whether what is planted on purpose passes here, so that not finding it would mean that the search is blind.
    fn takes_the_control(self) -> bool {
        match self {
            Self::GuestMemory
            | Self::ApiAnswers
            | Self::PanelPages
            | Self::CommandLine
            | Self::Metrics
            | Self::Log
            | Self::DataFolder => true,
            Self::ErrorAnswers | Self::HookAnswers | Self::Process => false,
        }
    }
}

/// What was collected.
#[derive(Default)]
pub(crate) struct Places(BTreeMap<Place, Vec<(String, Vec<u8>)>>);

/// What one kind of place came to.
pub(crate) struct Looked {
    pub(crate) place: Place,
    pub(crate) pieces: usize,
    pub(crate) bytes: usize,
    /// Which canary was found where.
    pub(crate) found: Vec<String>,
    /// Whether what was planted was found; none where it does not pass.
    pub(crate) control: Option<bool>,
}

impl Looked {
    /// Nothing was found, and it was looked for.
    pub(crate) fn is_clean(&self) -> bool {
        self.pieces > 0 && self.bytes > 0 && self.found.is_empty() && self.control != Some(false)
    }
}

impl Places {
    /// Something that was left.
    pub(crate) fn add(&mut self, place: Place, name: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.0.entry(place).or_default().push((name.into(), bytes.into()));
    }

    /// Every file below a folder.
    pub(crate) fn add_below(&mut self, folder: &Path) -> anyhow::Result<()> {
        let mut folders = vec![folder.to_owned()];
        let mut files = 0;
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
            for entry in entries {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                files += 1;
                anyhow::ensure!(files <= FILES_MAX, "more than {FILES_MAX} files in the data folder");
                let bytes = std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
                self.add(Place::DataFolder, path.display().to_string(), bytes);
            }
        }
        Ok(())
    }

    /// Looks everywhere, for the canaries and for what was planted on purpose.
    pub(crate) fn search(&self, canaries: &Needles, control: &Needles) -> Vec<Looked> {
        let look = |(place, pieces): (&Place, &Vec<(String, Vec<u8>)>)| {
            let found = pieces.iter().filter_map(|(name, bytes)| {
                // The name of a file is left too.
                let found = canaries.find(bytes).or_else(|| canaries.find(name.as_bytes()))?;
                Some(format!("{found} in {name}"))
            });
            Looked {
                place: *place,
                pieces: pieces.len(),
                bytes: pieces.iter().map(|(_, bytes)| bytes.len()).sum(),
                found: found.collect(),
                control: place
                    .takes_the_control()
                    .then(|| pieces.iter().any(|(_, bytes)| control.find(bytes).is_some())),
            }
        };
        self.0.iter().map(look).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(text: &str) -> Needles {
        let mut needles = Needles::default();
        needles.add("it", text.as_bytes());
        needles
    }

    #[test]
    fn what_is_in_a_file_or_in_its_name_is_found() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("below")).unwrap();
        std::fs::write(dir.path().join("below/file"), "63616e6172792d31 in hex").unwrap();
        std::fs::write(dir.path().join("canary-2"), "planted").unwrap();
        let mut places = Places::default();
        places.add_below(dir.path()).unwrap();
        for (canary, clean) in [("canary-1", false), ("canary-2", false), ("canary-3", true)] {
            let looked = places.search(&needles(canary), &needles("planted"));
            assert_eq!((looked.len(), looked[0].is_clean()), (1, clean), "{canary}");
        }
    }

    #[test]
    fn a_place_in_which_the_control_is_not_found_was_not_searched() {
        let mut places = Places::default();
        places.add(Place::Log, "log", "lines");
        let looked = places.search(&needles("canary-1"), &needles("planted"));
        assert!(!looked[0].is_clean());
    }
}
