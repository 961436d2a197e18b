//! `cofferdam trace`: everything that followed from one thing that happened.

use anyhow::Context;
use cofferdam_domain::CorrelationId;
use cofferdam_server::admin::views::TraceView;

use crate::api::{ApiArguments, Request};
use crate::output::Output;
use crate::render;

/// Show every hop, attempt, wait and receipt of one correlation id
///
/// Hops are in the order of time, each with what was sent and answered by hash and size. Bodies and secrets are never part
/// of a trace.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  cofferdam trace 019ab0c4d6f87e21b5a9c3d2e1f00112

The id is in the answer to every webhook and event, in every log line, and in the list of dead letters.")]
pub(crate) struct Trace {
    /// The correlation id
    #[arg(value_name = "ID")]
    id: CorrelationId,

    #[command(flatten)]
    api: ApiArguments,
}

impl Trace {
    pub(crate) async fn run(self, output: &Output) -> anyhow::Result<()> {
        let request = Request::get(&["v1", "traces", self.id.as_str()]);
        let trace: TraceView = self
            .api
            .client()?
            .send(request)
            .await
            .with_context(|| format!("no trace of {}", self.id))?;
        output.show(&trace, |paint| render::timeline(&trace, paint))
    }
}
