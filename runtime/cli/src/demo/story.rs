//! What happened, for whoever reads it afterwards.

use std::path::Path;

use cofferdam_domain::CorrelationId;
use cofferdam_server::admin::views::TraceView;
use serde::Serialize;

use super::checks::Checks;
use crate::chain;

/// Filled in as the demo goes on; what it did not come to stays empty.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Issue, pull request and push.
    pub(super) correlation_ids: Vec<CorrelationId>,
    /// With its retries and its receipt.
    pub(super) issue_trace: Option<TraceView>,
    /// With its dead letter and the replay.
    pub(super) push_trace: Option<TraceView>,
    /// How long things took.
    pub(super) timings: Timings,
}

/// In milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Timings {
    /// From nothing to answering, connectors compiled.
    pub(super) server_start_ms: u64,
    /// From the answered request to the verified webhook.
    pub(super) issue_to_webhook_ms: Option<u64>,
    /// From the answered request to the posted message, through all of Slack's trouble.
    pub(super) issue_to_slack_ms: Option<u64>,
    /// From the 429 to the next try of the same message, by Slack's clock.
    pub(super) wait_after_429_ms: Option<u64>,
    /// All of it.
    pub(super) total_ms: u64,
}

/// What `--json` prints.
#[derive(Serialize)]
pub(super) struct Summary<'a> {
    ok: bool,
    error: Option<String>,
    checks: &'a Checks,
    timings: Timings,
    correlation_ids: &'a [CorrelationId],
    issue_trace: Option<&'a TraceView>,
    push_trace: Option<&'a TraceView>,
    kept: Option<&'a Path>,
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        story: &'a Story,
        checks: &'a Checks,
        kept: Option<&'a Path>,
        error: Option<&anyhow::Error>,
    ) -> Self {
        Self {
            ok: error.is_none() && checks.all_held(),
            error: error.map(chain::in_one_line),
            checks,
            timings: story.timings,
            correlation_ids: &story.correlation_ids,
            issue_trace: story.issue_trace.as_ref(),
            push_trace: story.push_trace.as_ref(),
            kept,
        }
    }
}
