//! `docs/faults.md` says what the code does: every code, and every limit with its numbers.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cofferdam_domain::FaultKind;
use cofferdam_domain::connection::CallLimit;
use cofferdam_domain::retry::{DRAINED, POISON};

fn page() -> String {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read_to_string(repository.join("docs/faults.md")).unwrap()
}

/// `1,048,576`, as the page writes it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn every_fault_has_a_section_and_every_section_is_of_a_fault() {
    let page = page();
    let sections: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let codes: Vec<_> = FaultKind::ALL.map(FaultKind::code).to_vec();
    assert_eq!(sections, codes);
}

#[test]
fn every_limit_has_a_row_with_its_numbers() {
    let page = page();
    for limit in CallLimit::ALL {
        let bounds = limit.bounds();
        let mut row = format!("| `{limit}` |");
        for number in [bounds.default, bounds.least, bounds.maximum] {
            write!(row, " {} |", grouped(number)).unwrap();
        }
        assert!(page.contains(&row), "docs/faults.md has no row {row}");
    }
}

#[test]
fn every_other_code_that_the_host_gives_an_attempt_has_a_row() {
    let page = page();
    let (_, others) = page.split_once("\n# Other codes of an attempt\n").unwrap();
    for code in [
        DRAINED,
        POISON,
        "expired",
        "state-changed",
        "state-unreadable",
        "poll-not-granted",
        "record-damaged",
        "connection-deleted",
    ] {
        assert!(
            others.contains(&format!("| `{code}` |")),
            "docs/faults.md has no row for {code}"
        );
    }
}

#[test]
fn that_the_reading_of_a_request_has_less_time_is_said_where_its_time_is_set() {
    let page = page();
    let (_, deadline) = page.split_once("\n## deadline\n").unwrap();
    let (deadline, _) = deadline.split_once("\n## ").unwrap();
    assert!(deadline.contains("has 10 s at most"), "{deadline}");
}
