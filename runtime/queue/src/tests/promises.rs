//! The crate's page names a test beside each promise: the tests must be there.

const PAGE: &str = include_str!("../lib.rs");

const SOURCES: [(&str, &str); 16] = [
    ("abandon", include_str!("abandon.rs")),
    ("accept", include_str!("accept.rs")),
    ("bodies", include_str!("bodies.rs")),
    ("kept", include_str!("kept.rs")),
    ("lease", include_str!("lease.rs")),
    ("order", include_str!("order.rs")),
    ("recover", include_str!("recover.rs")),
    ("retention", include_str!("retention.rs")),
    ("reads", include_str!("reads.rs")),
    ("settle", include_str!("settle.rs")),
    ("conformance::accept", include_str!("../conformance/accept.rs")),
    (
        "conformance::dead_letters",
        include_str!("../conformance/dead_letters.rs"),
    ),
    ("conformance::lease", include_str!("../conformance/lease.rs")),
    ("conformance::order", include_str!("../conformance/order.rs")),
    ("conformance::processes", include_str!("../conformance/processes.rs")),
    ("conformance::settle", include_str!("../conformance/settle.rs")),
];

#[test]
fn every_promise_of_the_page_names_tests_that_there_are() {
    let rows = PAGE.lines().filter(|line| line.starts_with("//! | "));
    let mut named = 0;
    for row in rows.filter(|row| !row.contains("| promise |")) {
        let tests = row.split(" | ").nth(2).unwrap();
        let names: Vec<&str> = tests
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.contains("::"))
            .collect();
        assert!(!names.is_empty() || tests.contains("`damage`"), "{row}");
        for name in names {
            named += 1;
            let (module, test) = name.rsplit_once("::").unwrap();
            // A long name may be cut.
            let begins = match test.strip_suffix('…') {
                Some(begins) => format!("fn {begins}"),
                None if module.starts_with("conformance") => format!("fn {test}<"),
                None => format!("fn {test}("),
            };
            let (_, source) = SOURCES.iter().find(|(source, _)| *source == module).unwrap();
            assert!(source.contains(&begins), "there is no {name}");
        }
    }
    assert!(named > 20, "{named}");
}
