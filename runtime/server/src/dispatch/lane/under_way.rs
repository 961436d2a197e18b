//! The attempts of a lane that are under way. Each is known by name when it ends, one that panicked too.

use std::collections::HashMap;
use std::future::Future;

use cofferdam_domain::lane::core::AttemptId;
use tokio::task::{Id, JoinError, JoinSet};

/// An attempt that is over.
pub(super) type Ended = AttemptId;

#[derive(Default)]
pub(super) struct UnderWay {
    tasks: JoinSet<()>,
    names: HashMap<Id, AttemptId>,
}

impl UnderWay {
    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn spawn(&mut self, attempt: AttemptId, run: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(run).id();
        self.names.insert(task, attempt);
    }

    /// Waits for the next end; none when nothing is under way. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let joined = self.tasks.join_next_with_id().await?;
        self.named(joined)
    }

    /// The next one that is over already.
    pub(super) fn try_next(&mut self) -> Option<Ended> {
        let joined = self.tasks.try_join_next_with_id()?;
        self.named(joined)
    }

    fn named(&mut self, joined: Result<(Id, ()), JoinError>) -> Option<Ended> {
        let task = match joined {
            Ok((task, ())) => task,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an attempt ended by a fault of the host; it is tried again when its lease has run out"
                );
                error.id()
            }
        };
        self.names.remove(&task)
    }
}
