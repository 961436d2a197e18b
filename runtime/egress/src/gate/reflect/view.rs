//! A body as it reads once its escapes are undone, with the way back to where each byte came from.
//!
//! Looking at the undone text finds every way in which a secret can be escaped, which no list of patterns could: one
//! character of it, or all, in either case, as `\u0041`, `\/` or `%41`.

/// The undone text and its origin.
pub(super) struct View {
    /// The text.
    pub(super) bytes: Vec<u8>,
    /// Where each byte's source starts; one more entry for the end.
    starts: Vec<usize>,
}

/// An escape read at some place: what it stands for, and how long it is.
struct Escape {
    stands_for: [u8; 4],
    stands_for_len: usize,
    len: usize,
}

impl View {
    /// With `%XX` undone; none if there is nothing to undo.
    pub(super) fn percent_decoded(source: &[u8]) -> Option<Self> {
        Self::undo(source, b'%', |rest| {
            Some(Escape::byte(hex(rest.get(1..3)?)?.to_be_bytes()[3], 3))
        })
    }

    /// With the escapes of RFC 8259 section 7 undone; none if there is nothing to undo.
    pub(super) fn json_unescaped(source: &[u8]) -> Option<Self> {
        Self::undo(source, b'\\', |rest| {
            Some(match rest.get(1)? {
                b'b' => Escape::byte(0x08, 2),
                b'f' => Escape::byte(0x0c, 2),
                b'n' => Escape::byte(b'\n', 2),
                b'r' => Escape::byte(b'\r', 2),
                b't' => Escape::byte(b'\t', 2),
                b'u' => return json_unicode(rest),
                plain @ (b'"' | b'\\' | b'/') => Escape::byte(*plain, 2),
                _ => return None,
            })
        })
    }

    fn undo(source: &[u8], mark: u8, read: impl Fn(&[u8]) -> Option<Escape>) -> Option<Self> {
        if !source.contains(&mark) {
            return None;
        }
        let mut view = Self {
            bytes: Vec::with_capacity(source.len()),
            starts: Vec::with_capacity(source.len() + 1),
        };
        let mut at = 0;
        while at < source.len() {
            let escape = (source[at] == mark)
                .then(|| read(&source[at..]))
                .flatten()
                .unwrap_or_else(|| Escape::byte(source[at], 1));
            for byte in &escape.stands_for[..escape.stands_for_len] {
                view.bytes.push(*byte);
                view.starts.push(at);
            }
            at += escape.len;
        }
        view.starts.push(source.len());
        Some(view)
    }

    /// What `start..end` of the text covers in the source. An escape that is covered in part is covered.
    pub(super) fn origin(&self, start: usize, end: usize) -> (usize, usize) {
        let last = self.starts[end - 1];
        let beyond = self.starts[end..].iter().find(|begin| **begin > last);
        (self.starts[start], beyond.copied().unwrap_or(last))
    }
}

impl Escape {
    fn byte(byte: u8, len: usize) -> Self {
        Self {
            stands_for: [byte, 0, 0, 0],
            stands_for_len: 1,
            len,
        }
    }
}

fn json_unicode(rest: &[u8]) -> Option<Escape> {
    let unit = |at: usize| hex(rest.get(at..at + 4)?);
    let first = unit(2)?;
    let paired = || {
        let second = (rest.get(6..8)? == br"\u").then(|| unit(8)).flatten()?;
        let both = (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
        both.then(|| 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    };
    let (code, len) = paired().map_or((first, 6), |code| (code, 12));
    let mut stands_for = [0; 4];
    let stands_for_len = char::from_u32(code)?.encode_utf8(&mut stands_for).len();
    Some(Escape {
        stands_for,
        stands_for_len,
        len,
    })
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}
