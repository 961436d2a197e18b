//! Setting text off on a terminal.

use std::ffi::OsString;

/// Whether escape sequences are written (ECMA-48 SGR), or nothing but the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Plain,
    Ansi,
}

impl Paint {
    /// By the rules of <https://no-color.org> and for terminals that can.
    pub(crate) fn for_stream(is_terminal: bool, no_color: Option<OsString>, term: Option<OsString>) -> Self {
        let wanted = no_color.is_none_or(|value| value.is_empty());
        let able = term.is_none_or(|value| value != "dumb");
        if is_terminal && wanted && able {
            Self::Ansi
        } else {
            Self::Plain
        }
    }

    /// What matters.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// What is there to be looked up, not read.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    /// All is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Somebody should look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// Something went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Ansi if text.is_empty() => String::new(),
            Self::Ansi => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_whose_user_did_not_refuse_them() {
        let check = |is_terminal, no_color: Option<&str>, term: Option<&str>, expected| {
            let paint = Paint::for_stream(is_terminal, no_color.map(OsString::from), term.map(OsString::from));
            assert_eq!(paint, expected, "{is_terminal} {no_color:?} {term:?}");
        };
        check(true, None, Some("xterm"), Paint::Ansi);
        check(true, None, None, Paint::Ansi);
        check(true, Some(""), Some("xterm"), Paint::Ansi);
        check(true, Some("1"), Some("xterm"), Paint::Plain);
        check(true, None, Some("dumb"), Paint::Plain);
        check(false, None, Some("xterm"), Paint::Plain);
    }

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(Paint::Plain.bad("no"), "no");
        assert_eq!(Paint::Ansi.bad("no"), "\u{1b}[31mno\u{1b}[0m");
        assert_eq!(Paint::Ansi.dim(""), "");
    }
}
