//! Ordered durable records, written in atomic batches.
//!
//! A [`Store`] maps byte keys to byte values in key order. Reads are immediate; writes go through one committer thread
//! that applies many callers' batches as one (group commit) and answers only when they would survive a power loss.
//! Preconditions in a batch are what callers build exactly-once decisions on: see [`Batch`].
//!
//! Beneath it is one of two embedded engines, named by [`Engine`], or a map in memory; what the store promises they keep alike
//! (`conformance`). For a directory that no process has open there are three tools: [`check`], [`salvage`] and [`compact`].
//!
//! It does not know what it stores, does not encrypt and does not expire anything. Who may use which keys is written in
//! [`Keyspace`].

mod batch;
mod check;
mod committer;
mod compact;
mod copy;
mod engine;
mod error;
mod files;
mod keyspace;
mod layout;
mod open;
mod record;
mod salvage;
mod scan;
mod space;
mod store;
mod tool;
mod turns;
mod walk;
mod watermark;
mod writer;

#[cfg(test)]
mod conformance;

pub use batch::{BATCH_BYTES_MAX, Batch};
pub use check::{Checked, KeyspaceCount, check};
pub use compact::{Compacted, compact};
pub use engine::{Engine, NoSuchEngine};
pub use error::{CommitError, OpenError, StoreError};
pub use keyspace::{Key, KeyReader, Keyspace, NotThisKey};
pub use open::OpenOptions;
pub use record::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
pub use salvage::{Salvaged, salvage};
pub use scan::{SCAN_RECORDS_MAX, Scan};
pub use space::free_bytes;
pub use store::{Entry, Store};
pub use tool::{Progress, Step, ToolError};
