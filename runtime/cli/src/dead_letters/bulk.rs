//! Replaying and discarding by filter: what would be done, whether it is meant, and how it goes.

use std::time::Duration;

use anyhow::bail;
use cofferdam_domain::DeliveryId;
use cofferdam_server::admin::{BulkAnswer, BulkRequest, Preview, Redrive, RedriveKind, RedriveState};

use super::filter::Filter;
use crate::api::{Api, Request};
use crate::confirm::confirm;
use crate::output::{Output, complain};
use crate::paint::Paint;
use crate::render::{Table, moment, plural, printable};

/// How often a job that is followed is asked about.
const POLL: Duration = Duration::from_millis(500);

/// Which letters, and how.
#[derive(Debug, clap::Args)]
pub(super) struct Bulk {
    /// The deliveries' ids
    #[arg(value_name = "ID", conflicts_with_all = ["connection", "class", "event_type", "since", "until", "all"])]
    pub(super) ids: Vec<DeliveryId>,

    #[command(flatten)]
    filter: Filter,

    /// Every dead letter of the workspace
    #[arg(long, conflicts_with_all = ["connection", "class", "event_type", "since", "until"])]
    all: bool,

    /// Only say how many there are, and show some
    #[arg(long)]
    dry_run: bool,

    /// At most so many letters a second; 50 if it is not said
    #[arg(long, value_name = "N")]
    rate: Option<u32>,

    /// Do not ask
    #[arg(long)]
    yes: bool,

    /// Stay until the job has ended; the exit status is its own
    #[arg(long)]
    wait: bool,
}

impl Bulk {
    /// Whether letters are named and nothing asks for a job.
    pub(super) fn is_by_name(&self) -> bool {
        !self.ids.is_empty() && !self.dry_run && !self.wait && self.rate.is_none()
    }

    pub(super) async fn run(self, api: &Api, what: RedriveKind, output: &Output) -> anyhow::Result<()> {
        if self.ids.is_empty() && self.filter.is_empty() && !self.all {
            bail!("name dead letters, give a filter (--connection, --class, --type, --since, --until), or say --all");
        }
        if self.dry_run || !self.yes {
            let preview = match ask(api, what, &self.request(true)).await? {
                BulkAnswer::Preview(preview) => preview,
                BulkAnswer::Redrive(_) => bail!("the server has begun a job where it was only asked what it would do"),
            };
            if self.dry_run {
                return output.show(&preview, |paint| previewed(&preview, what, paint));
            }
            if preview.count == 0 {
                return output.show(&preview, |_| "No dead letter matches; nothing is done.".to_owned());
            }
            confirm(&format!("{} {}", what.as_str(), counted(&preview)))?;
        }
        let job = match ask(api, what, &self.request(false)).await? {
            BulkAnswer::Redrive(job) => *job,
            BulkAnswer::Preview(_) => bail!("the server has begun no job"),
        };
        let job = if self.wait { follow(api, job).await? } else { job };
        output.show(&job, |_| standing(&job))?;
        match job.state {
            RedriveState::Running | RedriveState::Done => Ok(()),
            RedriveState::Cancelled | RedriveState::Failed => bail!("job {} is {}", job.id, job.state.as_str()),
        }
    }

    fn request(&self, dry_run: bool) -> BulkRequest {
        let by_name = !self.ids.is_empty();
        BulkRequest {
            filter: (!by_name).then(|| self.filter.to_request()),
            ids: by_name.then(|| self.ids.clone()),
            dry_run,
            rate_per_s: self.rate,
        }
    }
}

async fn ask(api: &Api, what: RedriveKind, request: &BulkRequest) -> anyhow::Result<BulkAnswer> {
    let body = serde_json::to_vec(request)?;
    let request = Request::post(&["v1", "dead-letters", what.as_str()]).body("application/json", body);
    Ok(api.send(request).await?)
}

/// Until it has ended. What is shown meanwhile goes to standard error: standard output holds the result.
async fn follow(api: &Api, mut job: Redrive) -> anyhow::Result<Redrive> {
    let mut told = String::new();
    while job.state == RedriveState::Running {
        let now = standing(&job);
        if now != told {
            complain(&now);
            told = now;
        }
        tokio::time::sleep(POLL).await;
        job = api.send(Request::get(&["v1", "redrives", &job.id.to_string()])).await?;
    }
    Ok(job)
}

fn counted(preview: &Preview) -> String {
    let least = if preview.at_least { "at least " } else { "" };
    let count = usize::try_from(preview.count).unwrap_or(usize::MAX);
    format!("{least}{}", plural(count, "dead letter"))
}

fn previewed(preview: &Preview, what: RedriveKind, paint: Paint) -> String {
    let mut text = String::new();
    for letter in &preview.sample {
        text.push_str(&super::described(letter, paint));
        text.push('\n');
    }
    text + &format!("would {} {}", what.as_str(), counted(preview))
}

/// How a job stands, on a line.
pub(super) fn standing(job: &Redrive) -> String {
    let mut text = format!(
        "job {} ({}): {}, {} changed, {} looked at",
        job.id,
        job.what.as_str(),
        job.state.as_str(),
        job.changed,
        job.examined
    );
    let skipped = job.skipped;
    for (count, why) in [
        (skipped.connection_gone, "skipped, their connection is gone"),
        (skipped.not_dead, "skipped, no dead letters any more"),
        (skipped.died_since, "skipped, died again since"),
        (skipped.not_found, "not found"),
        (job.failed, "unreadable"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {count} {why}"));
        }
    }
    if let Some(waiting) = &job.waiting {
        text.push_str(&format!("; waits: {}", printable(waiting)));
    }
    if let Some(error) = &job.last_error {
        text.push_str(&format!("; {}", printable(error)));
    }
    text
}

pub(super) fn jobs(jobs: &[Redrive]) -> String {
    if jobs.is_empty() {
        return "No jobs.".to_owned();
    }
    let mut table = Table::new([
        "JOB",
        "WHAT",
        "STATE",
        "MADE (UTC)",
        "BY",
        "CHANGED",
        "SKIPPED",
        "LOOKED AT",
    ]);
    for job in jobs {
        table.row([
            job.id.to_string(),
            job.what.as_str().to_owned(),
            job.state.as_str().to_owned(),
            moment(job.created_at),
            job.by.clone(),
            job.changed.to_string(),
            job.skipped.total().to_string(),
            job.examined.to_string(),
        ]);
    }
    table.render(Paint::Plain)
}
