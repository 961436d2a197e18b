//! Reading TOML so that a file with five mistakes is answered with five lines, not with one at a time.

use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Most mistakes that are reported of one file.
const MISTAKES_MAX: usize = 50;

/// One mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, Deserialize)]
pub struct Mistake {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong and what would be right.
    pub text: String,
}

/// A parsed file that is being read, and the mistakes found so far.
pub(super) struct Document<'a> {
    text: &'a str,
    root: DeTable<'a>,
    known: Vec<&'static str>,
    mistakes: Vec<Mistake>,
}

/// One table of it.
pub(super) struct Section<'a> {
    name: &'static str,
    start: usize,
    line: usize,
    table: DeTable<'a>,
    known: Vec<&'static str>,
}

impl<'a> Document<'a> {
    /// Every syntax error at once, if there are any.
    pub(super) fn parse(text: &'a str) -> Result<Self, Vec<Mistake>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        if errors.is_empty() {
            return Ok(Self {
                text,
                root: root.into_inner(),
                known: Vec::new(),
                mistakes: Vec::new(),
            });
        }
        let mistake = |error: &toml::de::Error| Mistake {
            line: error.span().map_or(1, |span| line_of(text, span.start)),
            text: error.message().to_owned(),
        };
        Err(errors.iter().take(MISTAKES_MAX).map(mistake).collect())
    }

    /// The table of this name; an empty one if the file has none.
    pub(super) fn section(&mut self, name: &'static str) -> Section<'a> {
        self.known.push(name);
        let (table, start) = match self.root.remove(name) {
            None => (DeTable::default(), 0),
            Some(value) => {
                let start = value.span().start;
                match value.into_inner() {
                    DeValue::Table(table) => (table, start),
                    _ => {
                        self.mistake(
                            line_of(self.text, start),
                            format!("`{name}` must be a table: write `[{name}]`"),
                        );
                        (DeTable::default(), start)
                    }
                }
            }
        };
        Section {
            name,
            start,
            line: line_of(self.text, start),
            table,
            known: Vec::new(),
        }
    }

    pub(super) fn mistake(&mut self, line: usize, text: String) {
        self.mistakes.push(Mistake { line, text });
    }

    /// Every mistake, in the order of lines; what was not asked for is one.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        let unknown: Vec<_> = self
            .root
            .iter()
            .map(|(key, _)| (key.span().start, key.get_ref().to_string()))
            .collect();
        for (at, key) in unknown {
            let text = format!("unknown table or key `{key}`; known are {}", self.known.join(", "));
            self.mistake(line_of(self.text, at), text);
        }
        self.mistakes.sort_by_key(|mistake| mistake.line);
        self.mistakes.truncate(MISTAKES_MAX);
        self.mistakes
    }
}

impl<'a> Section<'a> {
    /// The table of this name inside this one, which is called `path` in full; an empty one if there is none.
    pub(super) fn section(&mut self, root: &mut Document<'_>, name: &'static str, path: &'static str) -> Self {
        self.known.push(name);
        let (table, start) = match self.table.remove(name) {
            None => (DeTable::default(), self.start),
            Some(value) => {
                let start = value.span().start;
                match value.into_inner() {
                    DeValue::Table(table) => (table, start),
                    _ => {
                        let line = line_of(root.text, start);
                        root.mistake(line, format!("`{path}` must be a table: write `[{path}]`"));
                        (DeTable::default(), start)
                    }
                }
            }
        };
        Self {
            name: path,
            start,
            line: line_of(root.text, start),
            table,
            known: Vec::new(),
        }
    }

    /// A key that had this name before is a mistake that says where it is now.
    pub(super) fn moved(&mut self, root: &mut Document<'_>, key: &'static str, to: &'static str) {
        if let Some(value) = self.table.remove(key) {
            let line = line_of(root.text, value.span().start);
            root.mistake(line, format!("{}.{key} is {to} now: move it there", self.name));
        }
    }

    /// The line that the table begins on.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// The value of this key or its default; none after a mistake was noted.
    pub(super) fn value<T>(&mut self, root: &mut Document<'_>, key: &'static str, default: Option<T>) -> Option<T>
    where
        T: Deserialize<'a>,
    {
        match self.take(root, key)? {
            Some(value) => Some(value),
            None if default.is_some() => default,
            None => {
                root.mistake(self.line, format!("{}.{key} is missing", self.name));
                None
            }
        }
    }

    /// A value that may be absent.
    pub(super) fn optional<T>(
        &mut self,
        root: &mut Document<'_>,
        key: &'static str,
        default: Option<T>,
    ) -> Option<Option<T>>
    where
        T: Deserialize<'a>,
    {
        Some(self.take(root, key)?.or(default))
    }

    /// A whole number with bounds.
    pub(super) fn within(
        &mut self,
        root: &mut Document<'_>,
        key: &'static str,
        default: Option<u64>,
        bounds: RangeInclusive<u64>,
    ) -> Option<u64> {
        let line = self.table.get(key).map_or(self.start, |value| value.span().start);
        let value = self.value::<u64>(root, key, default)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        let text = format!(
            "{}.{key} is {value}; it must be {} to {}",
            self.name,
            bounds.start(),
            bounds.end()
        );
        root.mistake(line_of(root.text, line), text);
        None
    }

    fn take<T: Deserialize<'a>>(&mut self, root: &mut Document<'_>, key: &'static str) -> Option<Option<T>> {
        self.known.push(key);
        let Some(value): Option<Spanned<DeValue<'a>>> = self.table.remove(key) else {
            return Some(None);
        };
        let line = line_of(root.text, value.span().start);
        match T::deserialize(value.into_deserializer()) {
            Ok(value) => Some(Some(value)),
            Err(error) => {
                root.mistake(line, format!("{}.{key}: {}", self.name, error.message()));
                None
            }
        }
    }

    /// What was not asked for is a mistake.
    pub(super) fn finish(self, root: &mut Document<'_>) {
        for (key, _) in &self.table {
            let text = format!(
                "unknown key {}.{}; known are {}",
                self.name,
                key.get_ref(),
                self.known.join(", ")
            );
            root.mistake(line_of(root.text, key.span().start), text);
        }
    }
}

/// Counted from 1.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    1 + text
        .as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The line on which the key that a sentence begins with (`policy.concurrency is …`) is set; 1 if it cannot be told.
pub(super) fn line_of_key(text: &str, sentence: &str) -> usize {
    let path = sentence.split([' ', '(']).next().unwrap_or_default();
    let key = path.rsplit('.').next().unwrap_or_default();
    text.lines()
        .position(|line| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
        })
        .map_or(1, |at| at + 1)
}
