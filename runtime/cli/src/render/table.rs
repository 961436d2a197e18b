//! Aligned columns.

use super::text::printable;
use crate::paint::Paint;

/// Between columns.
const GAP: &str = "  ";

/// Rows under a head. Cells are made printable; the last column may be as long as it likes.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    head: [&'static str; N],
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// A table without rows.
    pub(crate) fn new(head: [&'static str; N]) -> Self {
        Self { head, rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| printable(&cell).into_owned()));
    }

    /// The text, a line each.
    pub(crate) fn render(&self, paint: Paint) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.chain([self.head[column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..N).map(width).collect();
        let line = |cells: &[&str]| {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}{GAP}"));
            }
            line.trim_end().to_owned()
        };
        let mut text = format!("{}\n", paint.bold(&line(&self.head)));
        for row in &self.rows {
            text.push_str(&line(&row.each_ref().map(String::as_str)));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_end_in_no_space() {
        let mut table = Table::new(["NAME", "STATE", "WHY"]);
        table.row(["slack-alerts".into(), "ok".into(), String::new()]);
        table.row(["é".into(), "parked".into(), "auth: refused\u{1b}[0m".into()]);
        let expected = "\
NAME          STATE   WHY
slack-alerts  ok
é             parked  auth: refused\u{fffd}[0m
";
        assert_eq!(table.render(Paint::Plain), expected);
    }

    #[test]
    fn a_table_without_rows_still_says_what_it_would_hold() {
        assert_eq!(Table::new(["NAME"]).render(Paint::Plain), "NAME\n");
    }
}
