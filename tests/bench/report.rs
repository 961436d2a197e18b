//! Rows of a benchmark, as a table or as JSON.

/// One figure.
struct Row {
    key: &'static str,
    value: f64,
    unit: &'static str,
    what: &'static str,
}

/// Figures in the order they were measured.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn row(&mut self, key: &'static str, value: f64, unit: &'static str, what: &'static str) {
        self.rows.push(Row { key, value, unit, what });
    }

    pub(crate) fn print_table(&self) {
        for row in &self.rows {
            println!(
                "{:<26} {:>12} {:<9} {}",
                row.key,
                rounded(row.value),
                row.unit,
                row.what
            );
        }
    }

    pub(crate) fn print_json(&self) {
        let object: serde_json::Map<String, serde_json::Value> = self
            .rows
            .iter()
            .map(|row| (row.key.to_owned(), row.value.into()))
            .collect();
        println!("{}", serde_json::Value::Object(object));
    }
}

fn rounded(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The value below which this share of the sorted samples lies.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index into a slice that is in memory"
    )]
    let at = ((sorted.len() - 1) as f64 * share).round() as usize;
    sorted[at]
}

/// Sorts the samples and takes their middle.
pub(crate) fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    quantile(&samples, 0.5)
}
