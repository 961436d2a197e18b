//! The call that does nothing: an instance is made as for an attempt, with no capability, and asked for each of its exports.
//! What cannot be instantiated twice, or only sometimes, is found here and not by somebody's delivery.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Instance;

use super::{Connector, LoadError};
use crate::bindings::pollers::PollersIndices;
use crate::bindings::sinks::SinksIndices;
use crate::bindings::sources::SourcesIndices;
use crate::call::{Ask, Call};
use crate::descriptor::{load_limits, load_slot};
use crate::environment::Nothing;
use crate::imports::Guest;

pub(super) async fn call(connector: &Connector) -> Result<(), LoadError> {
    let slot = load_slot(&connector.engine).await?;
    let exports = Show {
        sink: connector.sink.clone(),
        source: connector.source.clone(),
        poller: connector.poller.clone(),
    };
    let call = Call::new(
        &connector.engine,
        &connector.instance,
        Arc::new(Nothing),
        load_limits(&connector.engine),
        slot,
    );
    call.run(exports).await.result.map_err(|fault| {
        let kind = fault.kind.code();
        LoadError::Unfit(format!(
            "does not come to life a second time ({kind}): {}",
            fault.message
        ))
    })
}

struct Show {
    sink: Option<SinksIndices>,
    source: Option<SourcesIndices>,
    poller: Option<PollersIndices>,
}

impl Ask for Show {
    type Returned = ();

    async fn ask(self, store: &mut Store<Guest>, instance: Instance) -> wasmtime::Result<()> {
        if let Some(sink) = &self.sink {
            sink.load(&mut *store, &instance)?;
        }
        if let Some(source) = &self.source {
            source.load(&mut *store, &instance)?;
        }
        if let Some(poller) = &self.poller {
            poller.load(&mut *store, &instance)?;
        }
        Ok(())
    }
}
