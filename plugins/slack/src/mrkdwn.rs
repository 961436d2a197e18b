//! Slack's text format: <https://docs.slack.dev/messaging/formatting-message-text>.

/// Text in which nothing is markup: `&`, `<` and `>` are written as entities, as Slack asks, so that nobody's issue title
/// can mention a channel or forge a link. Line breaks become spaces; what is over `chars_max` is cut, with `…` to show it.
pub(crate) fn plain(text: &str, chars_max: usize) -> String {
    let text = text.trim();
    let cut = text.chars().count() > chars_max;
    let kept = if cut { chars_max.saturating_sub(1) } else { chars_max };
    let mut out = String::with_capacity(text.len().min(chars_max * 4));
    // Cutting comes before escaping, or half an entity could be left.
    for c in text.chars().take(kept) {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    if cut {
        out.push('…');
    }
    out
}

/// A link, or the label alone when the address is not one that Slack could tell from its own `<…>` markup.
pub(crate) fn link(url: &str, label: &str) -> String {
    let linkable = (url.starts_with("https://") || url.starts_with("http://"))
        && url.len() <= URL_BYTES_MAX
        && !url
            .chars()
            .any(|c| c.is_control() || c.is_whitespace() || "<>|".contains(c));
    if linkable {
        format!("<{}|{label}>", url.replace('&', "&amp;"))
    } else {
        label.to_owned()
    }
}

/// Longest address that is linked, in bytes.
const URL_BYTES_MAX: usize = 300;

/// A quotation; each line of it is marked.
pub(crate) fn quote(text: &str, lines_max: usize, chars_max: usize) -> String {
    let mut lines = text.trim().lines().filter(|line| !line.trim().is_empty());
    let mut out = String::new();
    let mut left = chars_max;
    for line in lines.by_ref().take(lines_max) {
        if left == 0 {
            break;
        }
        out.push_str("\n> ");
        out.push_str(&plain(line, left));
        left = left.saturating_sub(line.chars().count());
    }
    if lines.next().is_some() {
        out.push_str("\n> …");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_person_wrote_is_markup() {
        assert_eq!(
            plain("<!channel> & <@U1> > x", 99),
            "&lt;!channel&gt; &amp; &lt;@U1&gt; &gt; x"
        );
        assert_eq!(plain(" a\nb\tc ", 99), "a b c");
    }

    #[test]
    fn a_cut_is_shown_and_never_splits_an_entity() {
        assert_eq!(plain("abcd", 4), "abcd");
        assert_eq!(plain("abcde", 4), "abc…");
        assert_eq!(plain("&&&", 2), "&amp;…");
        assert_eq!(plain("éééé", 3), "éé…");
    }

    #[test]
    fn only_an_address_that_cannot_end_the_markup_is_linked() {
        assert_eq!(
            link("https://a.example/?x=1&y=2", "l"),
            "<https://a.example/?x=1&amp;y=2|l>"
        );
        for bad in [
            "javascript:alert(1)",
            "https://a|b",
            "https://a>b",
            "https://a b",
            "",
            "!channel",
        ] {
            assert_eq!(link(bad, "l"), "l", "{bad}");
        }
    }

    #[test]
    fn a_quotation_is_bounded_in_lines_and_characters() {
        assert_eq!(quote("a\n\nb\nc", 2, 99), "\n> a\n> b\n> …");
        assert_eq!(quote("abcdef", 3, 4), "\n> abc…");
        assert_eq!(quote("", 3, 4), "");
    }
}
