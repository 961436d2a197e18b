//! Dispatch: one lane per connection, each with its own concurrency, back-off and parking. A slow or dead connection costs
//! the others nothing: it holds only its own slots, and what backs off holds none.

mod abandon;
mod attempt;
mod environment;
mod keeping;
mod lane;
mod pace;
mod poll;
mod settling;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cofferdam_domain::{Connection, ConnectionName, Policy, WorkspaceName};
use cofferdam_host::{CallLimits, Connector, Environment, Version};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::App;
use crate::plugins::{self, Hold};
use crate::{credentials, disk, house, oauth2, redrive};

/// How often lanes that are missing are looked for, as a safety net.
const HOUSEKEEPING: Duration = Duration::from_secs(5);

/// The connector that runs this connection.
pub(crate) fn granted(app: &App, connection: &Connection) -> Result<Arc<Connector>, Hold> {
    app.plugins.running(connection)
}

/// What an incoming request's call may reach: settings, and nothing else.
pub(crate) fn source_environment(connection: &Connection) -> Arc<dyn Environment> {
    Arc::new(environment::SettingsOnly::of(connection))
}

/// The limits of one call under this policy, as far as the server allows them.
pub(crate) fn call_limits(app: &App, policy: &Policy) -> CallLimits {
    CallLimits::of(policy, &app.maximum)
}

/// What an instance is bound to that serves more than one call: a connection that was made again is another one.
pub(crate) fn version(connection: &Connection) -> Version {
    Version {
        revision: connection.revision,
        changed_at: connection.updated_at,
    }
}

/// After the drain's bound, attempts that were stopped have this long to give their deliveries back.
const HALT_BOUND: Duration = Duration::from_secs(5);

/// How the lanes are stopped.
#[derive(Clone, Default)]
struct Stop {
    /// Nothing new begins.
    begun: CancellationToken,
    /// What is under way ends now, and gives its delivery back.
    halt: CancellationToken,
}

/// The running lanes.
pub(crate) struct Dispatcher {
    stop: Stop,
    tasks: TaskTracker,
}

impl Dispatcher {
    /// Starts a lane for every connection there is, and for each that comes.
    pub(crate) fn start(app: &App) -> Self {
        let dispatcher = Self {
            stop: Stop::default(),
            tasks: TaskTracker::new(),
        };
        dispatcher.tasks.spawn(keep_lanes(
            app.clone(),
            dispatcher.stop.clone(),
            dispatcher.tasks.clone(),
        ));
        dispatcher
            .tasks
            .spawn(plugins::keep(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
            .tasks
            .spawn(house::keep(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
            .tasks
            .spawn(disk::watch(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
            .tasks
            .spawn(abandon::keep(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
            .tasks
            .spawn(credentials::keep(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
            .tasks
            .spawn(oauth2::keep(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
            .tasks
            .spawn(redrive::keep(app.clone(), dispatcher.stop.begun.clone()));
        dispatcher
    }

    /// Takes nothing new, and waits until what is under way is settled or `bound` has passed. What is not settled by then is
    /// stopped and its lease given back, so that the next start finds it due and not interrupted.
    pub(crate) async fn drain(self, bound: Duration) -> Drained {
        self.stop.begun.cancel();
        self.tasks.close();
        if tokio::time::timeout(bound, self.tasks.wait()).await.is_ok() {
            return Drained::Settled;
        }
        self.stop.halt.cancel();
        match tokio::time::timeout(HALT_BOUND, self.tasks.wait()).await {
            Ok(()) => Drained::GivenBack,
            Err(_) => Drained::LeftBehind,
        }
    }
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Everything under way came to its end.
    Settled,
    /// Some attempts were stopped, and their deliveries given back.
    GivenBack,
    /// Some leases stand: the next start finds them interrupted.
    LeftBehind,
}

/// A lane is started when its connection appears, and ends by itself when that is deleted or the server stops.
async fn keep_lanes(app: App, stop: Stop, tasks: TaskTracker) {
    let mut lanes: BTreeMap<(WorkspaceName, ConnectionName), JoinHandle<()>> = BTreeMap::new();
    let mut changed = app.connections.changed();
    loop {
        changed.mark_unchanged();
        lanes.retain(|_, lane| !lane.is_finished());
        for connection in app.connections.all() {
            let key = (connection.workspace.clone(), connection.spec.name.clone());
            // A lane that has ended by a fault of ours is started again; the others never notice.
            if lanes.get(&key).is_none_or(JoinHandle::is_finished) {
                let lane = lane::Lane::new(app.clone(), key.0.clone(), key.1.clone(), stop.clone());
                lanes.insert(key, tasks.spawn(lane.run()));
            }
        }
        tokio::select! {
            () = stop.begun.cancelled() => return,
            _ = changed.changed() => {}
            () = tokio::time::sleep(HOUSEKEEPING) => {}
        }
    }
}
