//! The nouns of Cofferdam and every decision that needs no I/O.
//!
//! Nothing here opens a file or a socket, reads a clock or draws a random number: time and randomness are arguments.
//! Every type that is stored or sent is serialised by serde with additive evolution in mind: fields are only ever added,
//! and an added field has a default.

pub mod attempt;
pub mod budget;
pub mod classify;
pub mod clock;
pub mod connection;
pub mod delivery;
pub mod descriptor;
pub mod event;
pub mod fault;
pub mod grant;
pub mod hash;
pub mod id;
pub mod lane;
pub mod limits;
pub mod retry;
pub mod state;
pub mod subscription;
pub mod time;
pub mod trace;

pub use attempt::{Attempt, Exchange, ExchangeResult, LogLine, Usage};
pub use classify::{CallResult, FailureClass, GuestFailure, GuestFailureKind, Receipt, Verdict};
pub use connection::{Connection, CredentialSlot, InboundGrant, InboundScheme, Policy, UpstreamGrant, UpstreamTls};
pub use delivery::{Delivery, DeliveryKind, DeliveryState, Intervention, InterventionKind, OrderPlace};
pub use descriptor::Descriptor;
pub use event::{Event, EventDraft, NewEvent, Origin};
pub use fault::{Fault, FaultKind};
pub use hash::{Digest, Hashing};
pub use id::{
    ConnectionName, ConnectorName, CorrelationId, CredentialName, DeliveryId, EventId, ShareName, UpstreamName,
    WorkspaceName,
};
pub use lane::{LaneEffect, LaneState};
pub use retry::{Outcome, RetryPolicy};
pub use subscription::TypePattern;
pub use time::Timestamp;
pub use trace::TraceContext;
