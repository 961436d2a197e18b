//! What the flows and the benchmarks stand on: the real binary as a process, its API, and upstreams with a script.
//!
//! Nothing here sleeps for a time and hopes: everything waits for the thing itself, with a bound.

pub mod api;
pub mod artifacts;
mod cli;
pub mod feed;
pub mod frame;
pub mod minisign;
pub mod oauth2;
pub mod server;
pub mod sign;
pub mod upstream;
pub mod wait;

pub use feed::Feed;
pub use oauth2::{AuthorizationServer, TokenAnswer};
pub use server::{Running, Setup};
pub use upstream::{Answer, Upstream};
