//! `sink.deliver`.

use std::sync::Arc;

use cofferdam_domain::event::Event;
use cofferdam_domain::{CallResult, Receipt, Timestamp};

use crate::bindings::types;
use crate::call::{CallReport, call};
use crate::connector::Connector;
use crate::convert;
use crate::environment::Environment;
use crate::fault::BadReturn;
use crate::limits::CallLimits;
use crate::slots::Slot;

/// One attempt, as the connector sees it.
#[derive(Clone, Debug)]
pub struct DeliverRequest {
    /// What happened.
    pub event: Event,
    /// Its body.
    pub body: Vec<u8>,
    /// Charged attempts, this one included.
    pub number: u32,
    /// Stable per event and connection.
    pub idempotency_key: String,
    /// When the call is ended.
    pub deadline: Timestamp,
}

impl Connector {
    /// Delivers one event through a fresh instance, which the slot is the right to.
    pub async fn deliver(
        &self,
        request: DeliverRequest,
        environment: Arc<dyn Environment>,
        limits: CallLimits,
        slot: Slot,
    ) -> CallReport<CallResult> {
        let report = call(
            &self.engine,
            &self.instance,
            environment,
            limits,
            slot,
            async |store, instance| {
                let sink = self
                    .sink
                    .as_ref()
                    .ok_or_else(|| BadReturn("exports no sink".to_owned()))?
                    .load(&mut *store, &instance)?;
                let attempt = types::Attempt {
                    number: request.number,
                    idempotency_key: request.idempotency_key,
                    deadline: request.deadline.as_millis(),
                };
                let event = convert::event(request.event, request.body);
                let returned = sink
                    .cofferdam_connector_sink()
                    .call_deliver(store, &event, &attempt)
                    .await?;
                checked(returned)
            },
        )
        .await;
        CallReport {
            result: Ok(report.result.unwrap_or_else(CallResult::Faulted)),
            logs: report.logs,
            logs_dropped: report.logs_dropped,
            usage: report.usage,
        }
    }
}

fn checked(returned: Result<types::Receipt, types::Failure>) -> wasmtime::Result<CallResult> {
    Ok(match returned {
        Ok(receipt) => {
            let receipt: Receipt = convert::receipt(receipt).map_err(BadReturn)?;
            CallResult::Done(receipt)
        }
        Err(failure) => CallResult::Failed(convert::failure(failure)),
    })
}
