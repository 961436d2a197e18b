//! What is signed: literal text and placeholders, in order.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest template, in bytes.
const TEMPLATE_BYTES_MAX: usize = 512;

/// Most literals and placeholders of a template.
const PARTS_MAX: usize = 32;

/// How much of a text an error repeats, in characters.
const QUOTED_CHARS_MAX: usize = 80;

/// What is signed, such as `{timestamp}.{body}`. It has the body exactly once; `{{` and `}}` are one brace each.
///
/// Nothing is put between two placeholders that stand side by side. Where a provider signs them like that, a byte could
/// change sides; the timestamp's one way of writing (see [`super::TimestampUnit::parse`]) and a body that must still be
/// what the connector reads are what is left then.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Placeholder(Placeholder),
}

/// What a template can name of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The timestamp as the header has it.
    Timestamp,
    /// The id of the message as the header has it.
    Id,
    /// The method, upper case.
    Method,
    /// The whole URL as the sender wrote it, query included.
    Url,
    /// The path of that URL, with its leading `/`.
    Path,
    /// The query of that URL, without its `?`; empty if there is none.
    Query,
    /// The body, byte by byte.
    Body,
}

/// The message that is signed. What the template does not name may be empty.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is the placeholder of its name")]
pub struct Message<'a> {
    pub timestamp: &'a str,
    pub id: &'a str,
    pub method: &'a str,
    pub url: &'a str,
    pub path: &'a str,
    pub query: &'a str,
    pub body: &'a [u8],
}

/// The text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no template of what is signed: {problem}")]
pub struct BadTemplate {
    text: String,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Problem {
    #[error("it has no {{body}}, so anybody could change the body")]
    NoBody,
    #[error("it has {{body}} twice")]
    TwoBodies,
    #[error("{{{name}}} is unknown; use {}", known())]
    Unknown { name: String },
    #[error("a brace stands alone; write `{{{{` or `}}}}` for a brace that is signed")]
    LooseBrace,
    #[error("text in it is visible ASCII, spaces and line feeds")]
    BadLiteral,
    #[error("it is longer than {TEMPLATE_BYTES_MAX} bytes or has more than {PARTS_MAX} parts")]
    TooLong,
}

impl Placeholder {
    const ALL: [Self; 7] = [
        Self::Timestamp,
        Self::Id,
        Self::Method,
        Self::Url,
        Self::Path,
        Self::Query,
        Self::Body,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::Id => "id",
            Self::Method => "method",
            Self::Url => "url",
            Self::Path => "path",
            Self::Query => "query",
            Self::Body => "body",
        }
    }
}

fn known() -> String {
    Placeholder::ALL.map(|one| format!("{{{one}}}")).join(", ")
}

impl fmt::Display for Placeholder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl Template {
    /// Whether it names this.
    pub fn has(&self, placeholder: Placeholder) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Placeholder(one) if *one == placeholder))
    }

    /// Whether any of its literal text occurs in `value`.
    pub fn has_literal_in(&self, value: &str) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Literal(text) if value.contains(text.as_str())))
    }

    /// What is signed, one part after the other, with nothing between them. Nothing is copied.
    pub fn render<'a>(&'a self, message: Message<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.parts.iter().map(move |part| match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Placeholder(Placeholder::Timestamp) => message.timestamp.as_bytes(),
            Part::Placeholder(Placeholder::Id) => message.id.as_bytes(),
            Part::Placeholder(Placeholder::Method) => message.method.as_bytes(),
            Part::Placeholder(Placeholder::Url) => message.url.as_bytes(),
            Part::Placeholder(Placeholder::Path) => message.path.as_bytes(),
            Part::Placeholder(Placeholder::Query) => message.query.as_bytes(),
            Part::Placeholder(Placeholder::Body) => message.body,
        })
    }
}

/// The body alone.
impl Default for Template {
    fn default() -> Self {
        Self {
            text: "{body}".to_owned(),
            parts: vec![Part::Placeholder(Placeholder::Body)],
        }
    }
}

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, BadTemplate> {
        parse(text)
            .map(|parts| Self {
                text: text.to_owned(),
                parts,
            })
            .map_err(|problem| BadTemplate {
                text: text.chars().take(QUOTED_CHARS_MAX).collect(),
                problem,
            })
    }
}

fn parse(text: &str) -> Result<Vec<Part>, Problem> {
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(Problem::TooLong);
    }
    if !text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)) {
        return Err(Problem::BadLiteral);
    }
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            literal.push_str(&rest[..1]);
            rest = after;
            continue;
        }
        let (name, after) = rest
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'))
            .ok_or(Problem::LooseBrace)?;
        let placeholder = Placeholder::ALL
            .into_iter()
            .find(|one| one.as_str() == name)
            .ok_or_else(|| Problem::Unknown {
                name: name.chars().take(QUOTED_CHARS_MAX).collect(),
            })?;
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(Part::Placeholder(placeholder));
        rest = after;
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    let bodies = parts
        .iter()
        .filter(|part| **part == Part::Placeholder(Placeholder::Body))
        .count();
    match bodies {
        0 => Err(Problem::NoBody),
        1 if parts.len() <= PARTS_MAX => Ok(parts),
        1 => Err(Problem::TooLong),
        _ => Err(Problem::TwoBodies),
    }
}

impl TryFrom<String> for Template {
    type Error = BadTemplate;

    fn try_from(text: String) -> Result<Self, BadTemplate> {
        text.parse()
    }
}

impl From<Template> for String {
    fn from(template: Template) -> Self {
        template.text
    }
}

impl fmt::Display for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, out)
    }
}
