//! Write a Cofferdam connector in Rust.
//!
//! A connector says what it is ([`Connector`]), does one thing or more ([`Sink`], [`Source`], [`Poller`]), and is handed
//! to the host by one macro ([`connector!`]). Credentials, retries, time limits, tracing and storage are the host's: a
//! connector names an upstream and the host attaches the secret to the request, after the connector's last look at it.
//!
//! ```
//! use cofferdam_sdk::{Attempt, Connector, Descriptor, Event, Failure, Receipt, Request, Sink, Upstream, connector};
//! use serde::Deserialize;
//!
//! struct Tickets;
//!
//! /// What this connector needs of an order.
//! #[derive(Deserialize)]
//! struct Order {
//!     number: u64,
//! }
//!
//! impl Connector for Tickets {
//!     fn describe() -> Descriptor {
//!         Descriptor::new("tickets", env!("CARGO_PKG_VERSION"), "Opens a ticket for every order.")
//!             .upstream(
//!                 Upstream::new("tickets", "Creates tickets.")
//!                     .base_url("https://tickets.example/api")
//!                     .bearer()
//!                     .method("POST")
//!                     .path_prefix("/tickets"),
//!             )
//!             .consumes("com.example.order.*")
//!     }
//! }
//!
//! impl Sink for Tickets {
//!     fn deliver(event: Event, _attempt: Attempt) -> Result<Receipt, Failure> {
//!         let order: Order = event.json()?;
//!         let body = serde_json::json!({ "title": format!("Order {}", order.number) });
//!         let response = Request::post("tickets", "/tickets").json(&body)?.send()?.success()?;
//!         Ok(Receipt::new(format!("{} created", response.status)))
//!     }
//! }
//!
//! connector!(Tickets: Sink);
//! ```
//!
//! Three things that differ from an ordinary program:
//! - A call runs in a fresh instance, unless the admin lets one serve several calls of the same connection; rely on neither.
//!   What must outlive a call goes into [`state`].
//! - There is no clock, no environment and no file: `SystemTime::now()` panics. [`Event::received_at`] and
//!   [`Attempt::deadline`] are what a connector knows of the time.
//! - A panic ends the call as a connector fault; its message goes to the connection's log. Return a [`Failure`] for
//!   everything that can be foreseen.
//!
//! `cargo test` runs on the machine at hand: see [`testing`] for a host to test against.

#[doc(hidden)]
pub mod bindings;

mod connector;
pub mod credentials;
mod descriptor;
mod event;
mod host;
mod http;
mod inbound;
pub mod log;
mod outcome;
mod poller;
pub mod settings;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod time;

pub use bindings::describes::exports::cofferdam::connector::describe::Descriptor;
pub use bindings::describes::exports::cofferdam::connector::describe::InboundRequestScheme as InboundScheme;
pub use bindings::describes::exports::cofferdam::connector::describe::UpstreamRequest as Upstream;
pub use bindings::imports::cofferdam::connector::http::{HttpError, Refusal, Request, Response, SentState};
pub use bindings::imports::cofferdam::connector::types::{
    Attempt, Event, EventDraft, ExpectedConfirmation, Failure, FailureKind, Receipt,
};
pub use bindings::pollers::exports::cofferdam::connector::poller::Page;
pub use bindings::sources::exports::cofferdam::connector::source::{
    Accepted, ImmediateReply, InboundRequest, Rejection,
};
pub use connector::{Connector, Poller, Sink, Source};
