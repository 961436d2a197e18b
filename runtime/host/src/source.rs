//! `source.receive`.

use std::sync::Arc;

use cofferdam_domain::event::EventDraft;
use cofferdam_domain::limits::{CODE_BYTES_MAX, EVENTS_PER_REQUEST_MAX, MESSAGE_BYTES_MAX, one_line};
use cofferdam_domain::{Fault, FaultKind};
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::bindings::sources::SourcesIndices;
use crate::bindings::sources::exports::cofferdam::connector::source as wit;
use crate::call::{Ask, Call, CallReport};
use crate::connector::Connector;
use crate::convert;
use crate::environment::Environment;
use crate::fault::BadReturn;
use crate::imports::Guest;
use crate::limits::CallLimits;
use crate::slots::Slot;

/// Largest immediate reply, in bytes.
const REPLY_BYTES_MAX: usize = 16 * 1024;

/// A verified request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InboundRequest {
    /// Upper case.
    pub method: String,
    /// Below the hook address.
    pub path: String,
    /// As received.
    pub query: String,
    /// Without what is the host's.
    pub headers: Vec<(String, Vec<u8>)>,
    /// As received.
    pub body: Vec<u8>,
}

/// What the request means.
#[derive(Clone, Debug)]
pub struct Received {
    /// Unstamped events.
    pub drafts: Vec<EventDraft>,
    /// Sent instead of the host's own answer.
    pub reply: Option<Reply>,
}

/// An immediate reply, checked: its status is 200 to 299.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Media type.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// Why the connector cannot understand the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Open set.
    pub code: Option<String>,
    /// One sentence.
    pub message: String,
}

impl Connector {
    /// Turns one request into event drafts, in an instance that the slot is the right to: a fresh one, unless it says
    /// otherwise. Whoever waits for the slot takes the wait off the deadline, where the sender waits too.
    pub async fn receive(
        &self,
        request: InboundRequest,
        environment: Arc<dyn Environment>,
        limits: CallLimits,
        slot: Slot,
    ) -> CallReport<Result<Received, Rejected>> {
        let Some(source) = self.source.clone() else {
            return CallReport::not_begun(Fault {
                kind: FaultKind::NotRunnable,
                message: "it exports no source".to_owned(),
            });
        };
        let limits = CallLimits {
            drafts: limits.drafts.min(EVENTS_PER_REQUEST_MAX),
            ..limits
        };
        Call::new(&self.engine, &self.instance, environment, limits, slot)
            .reusing(self.digest)
            .run(Receive { source, request })
            .await
    }
}

struct Receive {
    source: SourcesIndices,
    request: InboundRequest,
}

impl Ask for Receive {
    type Returned = Result<Received, Rejected>;

    async fn ask(self, store: &mut Store<Guest>, instance: Instance) -> wasmtime::Result<Self::Returned> {
        let Self { source, request } = self;
        let source = source.load(&mut *store, &instance)?;
        let request = wit::InboundRequest {
            method: request.method,
            path: request.path,
            query: request.query,
            headers: request.headers,
            body: request.body,
        };
        store.data().hand_over(request.body.len())?;
        let returned = source
            .cofferdam_connector_source()
            .call_receive(&mut *store, &request)
            .await?;
        Ok(match store.data().returned(returned)? {
            Ok(accepted) => Ok(checked(accepted).map_err(BadReturn)?),
            Err(rejection) => Err(Rejected {
                code: rejection.code.map(|code| one_line(&code, CODE_BYTES_MAX)),
                message: one_line(&rejection.message, MESSAGE_BYTES_MAX),
            }),
        })
    }
}

fn checked(accepted: wit::Accepted) -> Result<Received, String> {
    let reply = match accepted.reply {
        None => None,
        Some(reply) if !(200..300).contains(&reply.status) => {
            return Err(format!("the reply's status is {}; it must be 200 to 299", reply.status));
        }
        Some(reply) if reply.body.len() > REPLY_BYTES_MAX => {
            return Err(format!(
                "the reply has {} bytes; {REPLY_BYTES_MAX} are allowed",
                reply.body.len()
            ));
        }
        Some(reply) => Some(Reply {
            status: reply.status,
            content_type: reply.content_type,
            body: reply.body,
        }),
    };
    Ok(Received {
        drafts: accepted.events.into_iter().map(convert::draft).collect(),
        reply,
    })
}
