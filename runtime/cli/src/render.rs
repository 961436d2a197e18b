//! Records as text for people. Pure: nothing here asks a server or writes to a terminal.

mod connector;
mod table;
mod text;
mod timeline;

pub(crate) use connector::connector;
pub(crate) use table::Table;
pub(crate) use text::{moment, plural, printable};
pub(crate) use timeline::timeline;
