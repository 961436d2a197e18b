//! Whose a name is when several files say it: the file's that came first, and of those that came together the first by name. A
//! file that comes later, whatever it is called, takes nobody's name.

use std::sync::Arc;

use cofferdam_domain::ConnectorName;
use cofferdam_host::Connector;

use super::super::catalogue::{Catalogue, Claim, Shelf};
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
    let has_it = shelf.file != file && shelf.claim < *claim && !tracker.is_missing(&shelf.file);
    if !has_it {
        return Ok(());
    }
    let first = &shelf.file;
    Err(if shelf.connector.digest == connector.digest {
        format!("is the same as {first}, which provides the connector {name}")
    } else {
        format!("{first} already provides the connector {name}; replace that file, or remove it first")
    })
}

/// Puts the connector there; the file that it takes the place of.
pub(super) fn put(
    catalogue: &mut Catalogue,
    name: ConnectorName,
    file: &str,
    claim: Claim,
    connector: Arc<Connector>,
) -> Option<String> {
    let present = catalogue.shelves.get(&name);
    let ousted = present.map(|shelf| shelf.file.clone()).filter(|before| before != file);
    // A file that is replaced stays the one that came first.
    let claim = match present {
        Some(shelf) if ousted.is_none() => shelf.claim.clone(),
        Some(_) | None => claim,
    };
    let file = file.to_owned();
    catalogue.shelves.insert(name, Shelf { file, claim, connector });
    ousted
}
