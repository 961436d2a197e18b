//! The threat model names a test beside each defence: the tests must be there.

use std::fs;
use std::path::Path;

const PAGE: &str = include_str!("../../docs/threat-model.md");

/// Where the rows of the suites' tables are named.
const THEMES: &str = include_str!("../suite/hostile_egress/themes.rs");
const PLACES: &str = include_str!("../suite/canary/places.rs");
const CANARY: &str = include_str!("../suite/canary.rs");

/// Whether a row of the page's names something that there is.
fn exists(name: &str) -> bool {
    let Some((place, test)) = name.split_once(": ") else {
        return name == "hostile-egress" || name == "canary";
    };
    let named = |source: &str| source.contains(&format!("\"{test}\""));
    match place {
        "hostile-egress" => named(THEMES),
        "canary" => named(PLACES) || named(CANARY),
        file => {
            let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file));
            // A long name may be cut.
            let begins = match test.strip_suffix('…') {
                Some(begins) => format!("fn {begins}"),
                None => format!("fn {test}("),
            };
            source.is_ok_and(|source| source.contains(&begins))
        }
    }
}

#[test]
fn every_defence_of_the_threat_model_names_tests_that_there_are() {
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| may try"));
    let (mut defences, mut named) = (0, 0);
    for row in rows {
        let shown = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let names: Vec<_> = shown.split('`').skip(1).step_by(2).collect();
        assert!(
            !names.is_empty() || shown.starts_with("not defended here"),
            "nothing shows: {row}"
        );
        for name in &names {
            assert!(exists(name), "there is no test {name:?}, named in: {row}");
        }
        defences += 1;
        named += names.len();
    }
    assert!(defences > 30 && named > 50, "{defences} defences, {named} tests");
}
