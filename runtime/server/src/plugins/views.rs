//! What the API and the panel show of versions.

use cofferdam_domain::grant::Asks;
use cofferdam_domain::{Connection, ConnectionName, ConnectorName, Descriptor, Digest, Timestamp, WorkspaceName};
use cofferdam_host::LoadProblem;
use serde::{Deserialize, Serialize};

use super::choice::{Waiting, Why, choose, difference, may};
use super::decisions::clipped;
use super::record::{Held, ShelfRecord, VersionRecord};
use super::standing::Quarantined;
use super::{Catalogue, Shelf};
use crate::app::App;

/// Where a version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// It runs, for those who may run it.
    Current,
    /// It is what the file holds, and somebody has rolled back from it.
    HeldBack,
    /// It can be rolled back to.
    Kept,
    /// It cannot be run.
    Unusable,
}

/// A version of a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionView {
    /// Which.
    pub digest: Digest,
    /// As its descriptor says.
    pub version: String,
    /// Size of the component.
    pub bytes: u64,
    /// When it was taken up first.
    pub first_seen: Timestamp,
    /// The name of the file that it came in last.
    pub file: String,
    /// Where it stands.
    pub state: VersionState,
    /// Why it cannot be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The trusted key that has signed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    /// Connections that run it.
    pub connections: Vec<ConnectionName>,
    /// All that it asks for, each as a sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<String>,
}

/// A connector with every version that is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectorVersions {
    /// Its name.
    pub name: ConnectorName,
    /// The file that provides it; none once that has gone.
    pub file: Option<String>,
    /// The version that runs, for those who may run it.
    pub current: Option<Digest>,
    /// What its file holds, or held before it became unusable.
    pub offered: Option<Digest>,
    /// Somebody has rolled back.
    pub held: Option<Held>,
    /// Of the current version, once it is loaded.
    pub descriptor: Option<Descriptor>,
    /// The latest offered first.
    pub versions: Vec<VersionView>,
    /// Files that say its name, or did, and are not in use.
    pub problems: Vec<LoadProblem>,
}

/// Which version of its connector a connection runs, and which it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunsView {
    /// What runs.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// As its descriptor says.
    #[serde(default)]
    pub version: Option<String>,
    /// The current version, if that is not what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// Versions that kept faulting for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quarantined: Vec<Quarantined>,
}

/// A version of its connector, as somebody has to know it who decides about it for a connection.
#[derive(Clone, Debug)]
pub(crate) struct VersionFor {
    pub(crate) connector: ConnectorName,
    pub(crate) version: VersionView,
    /// Why it does not run; none if it may.
    pub(crate) why: Option<Why>,
    /// What it asks for beyond what was granted.
    pub(crate) difference: Vec<String>,
}

/// A version for a connection; none if it is not kept.
pub(crate) fn version_for(app: &App, connection: &Connection, digest: Digest) -> Option<VersionFor> {
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(&connection.spec.connector)?;
    let version = shelf.record.version(digest)?;
    let standing = app.plugins.standings.of(connection);
    Some(VersionFor {
        connector: shelf.record.name.clone(),
        version: view(shelf, version),
        why: may(
            &shelf.record,
            version,
            connection,
            &standing,
            app.plugins.config.updates,
        )
        .err(),
        difference: clipped(difference(&shelf.record, version, connection)),
    })
}

/// What a connection runs.
pub(crate) fn runs(app: &App, connection: &Connection) -> RunsView {
    let catalogue = app.plugins.catalogue();
    let standing = app.plugins.standings.of(connection);
    let quarantined = standing.quarantined.clone();
    let Some(shelf) = catalogue.get(&connection.spec.connector) else {
        return RunsView {
            quarantined,
            ..RunsView::default()
        };
    };
    let choice = choose(&shelf.record, connection, &standing, app.plugins.config.updates);
    let version = choice.runs.and_then(|digest| shelf.record.version(digest));
    RunsView {
        digest: choice.runs,
        version: version.map(|version| version.version.clone()),
        waiting: choice
            .waiting
            .and_then(|waiting| waiting_of(&shelf.record, connection, waiting)),
        quarantined,
    }
}

/// The current version of a connection's connector, if that is not what runs.
pub(crate) fn waiting(app: &App, connection: &Connection) -> Option<Waiting> {
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(&connection.spec.connector)?;
    let standing = app.plugins.standings.of(connection);
    let choice = choose(&shelf.record, connection, &standing, app.plugins.config.updates);
    waiting_of(&shelf.record, connection, choice.waiting?)
}

fn waiting_of(shelf: &ShelfRecord, connection: &Connection, (digest, why): (Digest, Why)) -> Option<Waiting> {
    let version = shelf.version(digest)?;
    Some(Waiting {
        digest,
        version: version.version.clone(),
        why,
        difference: clipped(difference(shelf, version, connection)),
    })
}

/// The versions of a connector, as this workspace may see them.
pub(crate) fn versions(app: &App, workspace: &WorkspaceName, shelf: &Shelf) -> Vec<VersionView> {
    let plugins = &app.plugins;
    let connections = app.connections.of(workspace);
    let of_this = connections
        .iter()
        .filter(|connection| connection.spec.connector == shelf.record.name);
    let runs: Vec<_> = of_this
        .map(|connection| {
            let standing = plugins.standings.of(connection);
            let choice = choose(&shelf.record, connection, &standing, plugins.config.updates);
            (connection.spec.name.clone(), choice.runs)
        })
        .collect();
    let versions = shelf.record.versions.iter();
    versions
        .map(|version| VersionView {
            connections: runs
                .iter()
                .filter(|(_, runs)| *runs == Some(version.digest))
                .map(|(name, _)| name.clone())
                .collect(),
            ..view(shelf, version)
        })
        .collect()
}

/// A connector with all its versions; none if there is none of this name.
pub(crate) fn connector(app: &App, workspace: &WorkspaceName, name: &ConnectorName) -> Option<ConnectorVersions> {
    let catalogue = app.plugins.catalogue();
    let shelf = catalogue.get(name)?;
    Some(of_shelf(app, workspace, &catalogue, shelf))
}

/// Connectors whose file has gone, or whose current version is not loaded.
pub(crate) fn absent(app: &App, workspace: &WorkspaceName) -> Vec<ConnectorVersions> {
    let catalogue = app.plugins.catalogue();
    let shelves = catalogue.shelves().filter(|shelf| shelf.current().is_none());
    shelves
        .map(|shelf| of_shelf(app, workspace, &catalogue, shelf))
        .collect()
}

fn of_shelf(app: &App, workspace: &WorkspaceName, catalogue: &Catalogue, shelf: &Shelf) -> ConnectorVersions {
    let record = &shelf.record;
    ConnectorVersions {
        name: record.name.clone(),
        file: record.file.clone(),
        current: record.current(),
        offered: record.offered,
        held: record.held.clone(),
        descriptor: shelf.current().map(|connector| connector.descriptor.clone()),
        versions: versions(app, workspace, shelf),
        problems: catalogue.problems_of(app.plugins.dir(), &record.name, record.file.as_deref()),
    }
}

fn view(shelf: &Shelf, version: &VersionRecord) -> VersionView {
    let (digest, record) = (version.digest, &shelf.record);
    let state = if version.unusable.is_some() {
        VersionState::Unusable
    } else if record.current() == Some(digest) {
        VersionState::Current
    } else if record.held.is_some() && record.offered == Some(digest) {
        VersionState::HeldBack
    } else {
        VersionState::Kept
    };
    VersionView {
        digest,
        version: version.version.clone(),
        bytes: version.bytes,
        first_seen: version.first_seen,
        file: version.file.clone(),
        state,
        reason: version.unusable.clone(),
        signer: version.signer.clone(),
        connections: Vec::new(),
        asks: clipped(version.asks.beyond(&Asks::default())),
    }
}
