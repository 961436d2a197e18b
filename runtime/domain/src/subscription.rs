//! Which events a connection wants, by their type. What is in them is a filter's business, not this file's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::limits::ATTRIBUTE_BYTES_MAX;

/// An event type with wildcards.
///
/// A `*` at the end stands for whatever follows, nothing included: `com.github.*`, `com.github.issue*`, `*`. A `*` that is a
/// whole segment before the last stands for exactly one segment: `com.github.*.opened`. Segments are what dots part.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypePattern(String);

/// A pattern that does not follow the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an event type pattern is a type in which a whole segment may be `*`, and which may end in `*`, as in \
     `com.github.*.opened` or `com.github.*`; {0:?} is not"
)]
pub struct BadPattern(String);

impl TypePattern {
    /// Whether an event of this type is wanted.
    pub fn matches(&self, kind: &str) -> bool {
        let (pattern, open) = match self.0.strip_suffix('*') {
            Some(prefix) => (prefix, true),
            None => (self.0.as_str(), false),
        };
        let (mut pattern, mut kind) = (pattern, kind);
        while let Some((segment, rest)) = pattern.split_once('.') {
            let Some((here, after)) = kind.split_once('.') else {
                return false;
            };
            let fits = if segment == "*" {
                !here.is_empty()
            } else {
                segment == here
            };
            if !fits {
                return false;
            }
            (pattern, kind) = (rest, after);
        }
        if open {
            kind.starts_with(pattern)
        } else {
            kind == pattern
        }
    }
}

impl FromStr for TypePattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let body = text.strip_suffix('*').unwrap_or(text);
        let (before, last) = body.rsplit_once('.').unwrap_or(("", body));
        let stars_are_segments = before
            .split('.')
            .all(|segment| segment == "*" || !segment.contains('*'));
        let good = !text.is_empty()
            && text.len() <= ATTRIBUTE_BYTES_MAX
            && stars_are_segments
            && !last.contains('*')
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
    fn a_star_is_one_segment_inside_and_any_rest_at_the_end() {
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
        check("com.github.issues.*", "com.github.issues.a.b", true);
        check("com.github.issues.*", "com.github.issues", false);
        check("com.github.issue*", "com.github.issues.opened", true);
        check("com.github.*", "comXgithub.push", false);
        check("*", "anything", true);
        check("*", "any.thing", true);
        check("com.github.*.opened", "com.github.issues.opened", true);
        check("com.github.*.opened", "com.github.a.b.opened", false);
        check("com.github.*.opened", "com.github..opened", false);
        check("com.github.*.opened", "com.github.opened", false);
        check("com.github.*.opened", "com.github.issues.opened.x", false);
        check("*.*.opened", "github.issues.opened", true);
        check("*.push*", "github.pushed.late", true);
        check("*.push", "push", false);
        check("com.*.*", "com.github.issues.opened", true);
        check("com.*.*", "com.github", false);
    }

    #[test]
    fn a_star_beside_other_characters_is_no_pattern_except_at_the_end() {
        for bad in ["", "a*b", "**", "a b", "a\n", "a.b*.c", "a.*b.c", "a.*b", "*.**"] {
            assert!(bad.parse::<TypePattern>().is_err(), "{bad:?}");
        }
        for good in ["a", "a*", "*", "*.a", "a.*.b", "a.*.*", "a.*.b*"] {
            assert!(good.parse::<TypePattern>().is_ok(), "{good:?}");
        }
    }
}
