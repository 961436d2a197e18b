//! An error and its causes on one line.

/// Joined by `: `. A cause that the text before it ends with already is not said twice.
pub(crate) fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_what_they_caused_and_none_is_said_twice() {
        let check = |error: anyhow::Error, expected: &str| assert_eq!(in_one_line(&error), expected);
        check(
            anyhow::anyhow!("no such file").context("a.toml cannot be read"),
            "a.toml cannot be read: no such file",
        );
        check(
            anyhow::anyhow!("no such file").context("a.toml: no such file"),
            "a.toml: no such file",
        );
        check(anyhow::anyhow!("alone"), "alone");
    }
}
