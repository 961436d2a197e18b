//! `sink.deliver`.

use std::sync::Arc;

use cofferdam_domain::event::Event;
use cofferdam_domain::{CallResult, Receipt, Timestamp};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::sinks::SinksIndices;
use crate::bindings::types;
use crate::call::{Ask, Call, CallReport};
use crate::connector::Connector;
use crate::convert;
use crate::environment::Environment;
use crate::fault::BadReturn;
use crate::imports::Guest;
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
    /// Delivers one event through an instance, which the slot is the right to: a fresh one, unless it says otherwise.
    pub async fn deliver(
        &self,
        request: DeliverRequest,
        environment: Arc<dyn Environment>,
        limits: CallLimits,
        slot: Slot,
    ) -> CallReport<CallResult> {
        let sink = self.sink.clone();
        let report = Call::new(&self.engine, &self.instance, environment, limits, slot)
            .reusing(self.digest)
            .run(Deliver { sink, request })
            .await;
        CallReport {
            result: Ok(report.result.unwrap_or_else(CallResult::Faulted)),
            logs: report.logs,
            logs_dropped: report.logs_dropped,
            usage: report.usage,
        }
    }
}

struct Deliver {
    sink: Option<SinksIndices>,
    request: DeliverRequest,
}

impl Ask for Deliver {
    type Returned = CallResult;

    async fn ask(self, store: &mut Store<Guest>, instance: Instance) -> wasmtime::Result<CallResult> {
        let Self { sink, request } = self;
        let sink = sink
            .ok_or_else(|| BadReturn("exports no sink".to_owned()))?
            .load(&mut *store, &instance)?;
        let attempt = types::Attempt {
            number: request.number,
            idempotency_key: request.idempotency_key,
            deadline: request.deadline.as_millis(),
        };
        let event = convert::event(request.event, request.body);
        store.data().hand_over(convert::event_bytes(&event))?;
        let returned = sink
            .cofferdam_connector_sink()
            .call_deliver(&mut *store, &event, &attempt)
            .await?;
        checked(store.data().returned(returned)?)
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
