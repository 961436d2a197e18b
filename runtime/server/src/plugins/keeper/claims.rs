//! Whose a name is when several files say it: the file's that came first, and of those that came together the first by name. A
//! file that comes later, whatever it is called, takes nobody's name.

use cofferdam_host::Connector;

use super::super::catalogue::{Catalogue, Claim};
use super::super::tracker::Tracker;

/// Whether the file may provide this connector; else why not.
pub(super) fn check(
    catalogue: &Catalogue,
    tracker: &Tracker,
    file: &str,
    claim: &Claim,
    connector: &Connector,
) -> Result<(), String> {
    let name = &connector.descriptor.name;
    let Some(shelf) = catalogue.get(name) else {
        return Ok(());
    };
    let Some(first) = shelf.record.file.as_deref() else {
        return Ok(());
    };
    if first == file || *claim < shelf.claim || tracker.is_missing(first) {
        return Ok(());
    }
    Err(if shelf.record.offered == Some(connector.digest) {
        format!("is the same as {first}, which provides the connector {name}")
    } else {
        format!("{first} already provides the connector {name}; replace that file, or remove it first")
    })
}
