//! Looks for secrets where none may be: in answers, in the log, in what was printed, and in every file of the data folder.

use std::fs;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use anyhow::Context;

use super::secrets::Secrets;

/// Most files of the data folder; a demo makes a few dozen.
const FILES_MAX: usize = 10_000;

/// Where was looked, and what was found.
#[derive(Debug)]
pub(super) struct Search {
    /// The name of the secret that each pattern is a form of.
    names: Vec<&'static str>,
    patterns: AhoCorasick,
    places: usize,
    bytes: u64,
    found: Vec<String>,
}

impl Search {
    pub(super) fn new(secrets: &Secrets) -> anyhow::Result<Self> {
        let (names, forms): (Vec<_>, Vec<_>) = secrets.forms().into_iter().unzip();
        let patterns = AhoCorasick::new(forms).context("the secrets cannot be searched for")?;
        Ok(Self {
            names,
            patterns,
            places: 0,
            bytes: 0,
            found: Vec::new(),
        })
    }

    /// Looks in one place, up to the first find.
    pub(super) fn look(&mut self, place: &str, bytes: &[u8]) {
        self.places += 1;
        self.bytes += bytes.len() as u64;
        let found = self.patterns.find_iter(bytes).next();
        self.found
            .extend(found.map(|found| format!("{} in {place}", self.names[found.pattern().as_usize()])));
    }

    /// Looks in every file below the folder, and at the files' names.
    pub(super) fn look_below(&mut self, folder: &Path) -> anyhow::Result<()> {
        for path in files_below(folder)? {
            let bytes = fs::read(&path).with_context(|| format!("{} cannot be searched", path.display()))?;
            self.look(&path.display().to_string(), &bytes);
        }
        Ok(())
    }

    /// Whether nothing was found, although something was searched.
    pub(super) fn is_clean(&self) -> bool {
        self.places > 0 && self.bytes > 0 && self.found.is_empty()
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        match self.found.as_slice() {
            [] => format!("{} places, {} KiB", self.places, self.bytes / 1024),
            found => found.join("; "),
        }
    }
}

fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("{} cannot be searched", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
        anyhow::ensure!(files.len() <= FILES_MAX, "more than {FILES_MAX} files to search");
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_in_every_form_and_place() {
        let secrets = Secrets::random();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("below")).unwrap();
        for (name, form) in secrets.forms() {
            let mut search = Search::new(&secrets).unwrap();
            search.look("an answer", &[b"before ", form.as_slice(), b" after"].concat());
            assert!(!search.is_clean() && search.told().contains(name), "{}", search.told());
        }
        fs::write(dir.path().join("below/file"), &secrets.slack_token).unwrap();
        let mut search = Search::new(&secrets).unwrap();
        search.look_below(dir.path()).unwrap();
        assert!(search.told().contains("the Slack token in "), "{}", search.told());
    }

    #[test]
    fn nothing_searched_is_not_clean() {
        let mut search = Search::new(&Secrets::random()).unwrap();
        assert!(!search.is_clean());
        search.look("an answer", b"nothing of interest");
        assert!(search.is_clean());
    }
}
