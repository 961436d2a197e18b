//! `cofferdam connection match`: a subscription tried on the latest events.

use std::path::PathBuf;

use anyhow::{Context, bail};
use cofferdam_domain::subscription::TypePattern;
use cofferdam_server::config;
use cofferdam_server::subscriptions::{DryRun, DryRunRequest, Judged};

use super::explained;
use crate::api::{ApiArguments, Request};
use crate::files;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::{Table, plural, printable};

/// What to try.
#[derive(Debug, clap::Args)]
pub(super) struct Match {
    /// A connection file, whose `subscribe` and `filter` are tried
    #[arg(value_name = "FILE", required_unless_present_any = ["subscribe", "filter"], conflicts_with_all = ["subscribe", "filter"])]
    file: Option<PathBuf>,

    /// Event types, with * for a segment inside and for any rest at the end; without it every type
    #[arg(long, value_name = "TYPE")]
    subscribe: Vec<TypePattern>,

    /// A CEL expression over `event` and `data`
    #[arg(long, value_name = "CEL")]
    filter: Option<String>,

    /// How many of the latest events to look at, at most 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
}

impl Match {
    pub(super) async fn run(self, arguments: &ApiArguments, output: &Output) -> anyhow::Result<()> {
        let request = self.request()?;
        let body = serde_json::to_vec(&request).context("the request cannot be written")?;
        let request = Request::post(&["v1", "subscriptions", "dry-run"]).body("application/json", body);
        let run: DryRun = arguments.client()?.send(request).await?;
        output.show(&run, |paint| told(&run, paint))
    }

    fn request(self) -> anyhow::Result<DryRunRequest> {
        let limit = Some(usize::from(self.limit));
        let Some(path) = self.file else {
            return Ok(DryRunRequest {
                subscribe: self.subscribe,
                filter: self.filter,
                limit,
            });
        };
        let text = files::read_text(&path, config::FILE_BYTES_MAX)?;
        let spec = match config::parse_connection(&text) {
            Ok(spec) => spec,
            Err(mistakes) => bail!("{}", explained(&path.display().to_string(), &mistakes)),
        };
        if spec.subscribe.is_empty() {
            bail!("{} subscribes to nothing, so it is owed nothing", path.display());
        }
        Ok(DryRunRequest {
            subscribe: spec.subscribe,
            filter: spec.filter,
            limit,
        })
    }
}

fn told(run: &DryRun, paint: Paint) -> String {
    let looked = plural(run.examined, "event");
    let mut text = format!(
        "Of the latest {looked}, {} of these types: {} delivered, {} not, {} that the filter fails on.",
        run.of_type,
        paint.good(&run.matched.to_string()),
        run.of_type.saturating_sub(run.matched).saturating_sub(run.failed),
        run.failed
    );
    if run.overruns > 0 {
        text.push_str(&paint.warn(&format!(
            "\n{} would be delivered because the filter is over a bound.",
            run.overruns
        )));
    }
    if !run.complete {
        text.push_str(&paint.warn("\nTime ran out before all of them were looked at; try a lower --limit."));
    }
    if run.events.is_empty() {
        return text;
    }
    let mut table = Table::new(["RECEIVED", "EVENT", "TYPE", "VERDICT"]);
    for event in &run.events {
        let verdict = match event.judged {
            Judged::Match => "delivered",
            Judged::Failed => "fails",
            Judged::Overrun => "over a bound",
        };
        let why = event.problem.as_deref().map(|why| format!(": {}", printable(why)));
        table.row([
            event.received_at.to_string(),
            event.id.to_string(),
            event.kind.clone(),
            format!("{verdict}{}", why.unwrap_or_default()),
        ]);
    }
    text.push_str("\n\n");
    text.push_str(&table.render(paint));
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dry_run_tells_how_many_match_and_why_others_fail() {
        let id = "0198c2a4-0000-7000-8000-000000000001";
        let run: DryRun = serde_json::from_value(json!({
            "examined": 7, "of_type": 5, "matched": 2, "failed": 1, "overruns": 1, "complete": true,
            "events": [
                {"id": id, "type": "a.b", "source": "/s", "received_at": 0, "judged": "match"},
                {"id": id, "type": "a.b", "source": "/s", "received_at": 0, "judged": "failed", "problem": "no key \u{7}x"},
                {"id": id, "type": "a.c", "source": "/s", "received_at": 0, "judged": "overrun", "problem": "it takes too long"}
            ]
        }))
        .unwrap();
        let text = told(&run, Paint::Plain);
        for part in [
            "Of the latest 7 events, 5 of these types: 2 delivered, 2 not, 1 that the filter fails on.",
            "1 would be delivered because",
            "a.b   delivered",
            "fails: no key \u{fffd}x",
            "over a bound: it takes too long",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_file_is_tried_by_its_types_and_its_filter() {
        let dir = tempfile::tempdir().unwrap();
        let ask = |text: &str| {
            let path = dir.path().join("a.toml");
            std::fs::write(&path, text).unwrap();
            let file = Some(path);
            Match {
                file,
                subscribe: Vec::new(),
                filter: None,
                limit: 5,
            }
            .request()
        };
        let good = "name = \"a\"\nconnector = \"slack\"\nsubscribe = [\"x.*\"]\nfilter = \"data.a == 1\"\n";
        let request = ask(good).unwrap();
        assert_eq!((request.subscribe.len(), request.limit), (1, Some(5)));
        assert_eq!(request.filter.as_deref(), Some("data.a == 1"));
        let bad = ask(&good.replace("==", "=")).unwrap_err().to_string();
        assert!(bad.contains("line 4: filter 1:"), "{bad}");
        assert!(ask("name = \"a\"\nconnector = \"slack\"\n").is_err());
    }
}
