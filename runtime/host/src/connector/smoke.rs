//! The call that does nothing: an instance is made as for an attempt, with no capability, and asked for each of its exports.
//! What cannot be instantiated twice, or only sometimes, is found here and not by somebody's delivery.

use std::sync::Arc;

use super::{Connector, LoadError};
use crate::call;
use crate::descriptor::{LOAD_LIMITS, load_slot};
use crate::environment::Nothing;

pub(super) async fn call(connector: &Connector) -> Result<(), LoadError> {
    let slot = load_slot(&connector.engine).await?;
    let report = call::call(
        &connector.engine,
        &connector.instance,
        Arc::new(Nothing),
        LOAD_LIMITS,
        slot,
        async |store, instance| {
            if let Some(sink) = &connector.sink {
                sink.load(&mut *store, &instance)?;
            }
            if let Some(source) = &connector.source {
                source.load(&mut *store, &instance)?;
            }
            if let Some(poller) = &connector.poller {
                poller.load(&mut *store, &instance)?;
            }
            Ok(())
        },
    )
    .await;
    report.result.map_err(|fault| {
        let kind = fault.kind.code();
        LoadError::Unfit(format!(
            "does not come to life a second time ({kind}): {}",
            fault.message
        ))
    })
}
