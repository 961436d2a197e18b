//! The traits an author implements, and the macro that hands them to the host.

use crate::bindings::{describes, pollers, sinks, sources};
use crate::{Accepted, Attempt, Descriptor, Event, Failure, InboundRequest, Page, Receipt, Rejection};

/// What every connector is.
pub trait Connector {
    /// What the connector says about itself. Called once when it is loaded, with every import refusing: it must not
    /// depend on settings, and must be the same at every call.
    fn describe() -> Descriptor;
}

/// Brings events to the outside.
pub trait Sink: Connector {
    /// Delivers one event. It may be called again with the same event after a crash or an ambiguous time-out:
    /// [`Attempt::idempotency_key`] stays the same.
    ///
    /// # Errors
    /// What the host should make of a delivery that did not work; its own record of what left has the last word.
    fn deliver(event: Event, attempt: Attempt) -> Result<Receipt, Failure>;
}

/// Turns incoming requests into events.
pub trait Source: Connector {
    /// Normalises one request, whose signature the host has verified. It must be quick: the sender waits.
    ///
    /// # Errors
    /// Why the request cannot be understood. The host keeps it as a dead letter.
    fn receive(request: InboundRequest) -> Result<Accepted, Rejection>;
}

/// Asks an upstream for news on a schedule.
pub trait Poller: Connector {
    /// Asks once. `cursor` is what the last durable page returned; none at the very first poll.
    ///
    /// # Errors
    /// Why there is no page; the cursor stays where it was.
    fn poll(cursor: Option<String>) -> Result<Page, Failure>;
}

/// Makes a type the connector of this crate: names it, and which of [`Sink`], [`Source`] and [`Poller`] it is. Once per
/// crate, whose `crate-type` is `cdylib`.
///
/// ```
/// # use cofferdam_sdk::*;
/// # struct GitHub;
/// # impl Connector for GitHub { fn describe() -> Descriptor { Descriptor::new("github", "1.0.0", "Events.") } }
/// # impl Source for GitHub { fn receive(_: InboundRequest) -> Result<Accepted, Rejection> { Ok(Accepted::nothing()) } }
/// # impl Poller for GitHub { fn poll(_: Option<String>) -> Result<Page, Failure> { Ok(Page::default()) } }
/// cofferdam_sdk::connector!(GitHub: Source + Poller);
/// ```
#[macro_export]
macro_rules! connector {
    ($connector:ident: $first:ident $(+ $more:ident)*) => {
        $crate::__export!(Connector $connector);
        $crate::__export!($first $connector);
        $($crate::__export!($more $connector);)*
    };
}

/// One export. Elsewhere than in a component there is nothing to export, but the types are checked all the same.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    (Connector $connector:ident) => {
        $crate::__export!(@ $connector Connector describes);
    };
    (Sink $connector:ident) => {
        $crate::__export!(@ $connector Sink sinks);
    };
    (Source $connector:ident) => {
        $crate::__export!(@ $connector Source sources);
    };
    (Poller $connector:ident) => {
        $crate::__export!(@ $connector Poller pollers);
    };
    ($other:ident $connector:ident) => {
        ::core::compile_error!("a connector is any of `Sink`, `Source` and `Poller`");
    };
    (@ $connector:ident $export:ident $world:ident) => {
        const _: () = {
            const fn implements<T: $crate::$export>() {}
            implements::<$connector>();
        };
        #[cfg(target_family = "wasm")]
        $crate::bindings::$world::export!($connector with_types_in $crate::bindings::$world);
    };
}

impl<T: Connector> describes::exports::cofferdam::connector::describe::Guest for T {
    fn describe() -> Descriptor {
        T::describe()
    }
}

impl<T: Sink> sinks::exports::cofferdam::connector::sink::Guest for T {
    fn deliver(event: Event, attempt: Attempt) -> Result<Receipt, Failure> {
        log_panics();
        T::deliver(event, attempt)
    }
}

impl<T: Source> sources::exports::cofferdam::connector::source::Guest for T {
    fn receive(request: InboundRequest) -> Result<Accepted, Rejection> {
        log_panics();
        T::receive(request)
    }
}

impl<T: Poller> pollers::exports::cofferdam::connector::poller::Guest for T {
    fn poll(cursor: Option<String>) -> Result<Page, Failure> {
        log_panics();
        T::poll(cursor)
    }
}

/// Sends a panic's message and place to the log before the trap: without it, the person on call would read
/// `unreachable` and nothing else.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| crate::log::error(&panic.to_string(), &[])));
}
