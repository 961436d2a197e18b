//! `docs/faults.md` says what the code does: every code, and every limit with its numbers.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cofferdam_domain::FaultKind;
use cofferdam_domain::connection::CallLimit;

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
