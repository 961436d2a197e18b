//! Which events a connection wants.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::ATTRIBUTE_BYTES_MAX;

/// An event type, or a prefix of one followed by `*`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypePattern(String);

/// A pattern that does not follow the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an event type pattern is a type, a prefix followed by `*`, or `*` alone; {0:?} is neither")]
pub struct BadPattern(String);

impl TypePattern {
    /// Whether an event of this type is wanted.
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => kind == self.0,
        }
    }
}

impl FromStr for TypePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let body = text.strip_suffix('*').unwrap_or(text);
        let good = !text.is_empty()
            && text.len() <= ATTRIBUTE_BYTES_MAX
            && !body.contains('*')
            && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadPattern(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for TypePattern {
    type Error = BadPattern;

    fn try_from(text: String) -> Result<Self, BadPattern> {
        text.parse()
    }
}

impl From<TypePattern> for String {
    fn from(pattern: TypePattern) -> Self {
        pattern.0
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for TypePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_any_suffix_and_nothing_else_is_special() {
        let check = |pattern: &str, kind: &str, expected: bool| {
            assert_eq!(
                pattern.parse::<TypePattern>().unwrap().matches(kind),
                expected,
                "{pattern} on {kind}"
            );
        };
        check("com.github.issues.opened", "com.github.issues.opened", true);
        check("com.github.issues.opened", "com.github.issues.opened.x", false);
        check("com.github.issues.*", "com.github.issues.closed", true);
        check("com.github.issues.*", "com.github.issues", false);
        check("com.github.*", "comXgithub.push", false);
        check("*", "anything", true);
        for bad in ["", "a*b", "**", "a b", "a\n"] {
            assert!(bad.parse::<TypePattern>().is_err(), "{bad:?}");
        }
    }
}
