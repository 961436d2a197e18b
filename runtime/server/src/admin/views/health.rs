//! How a connection is doing: one word for lists and badges, and a sentence for who looks closer.
//!
//! It goes by what holds the lane now, as the lane's core decides it: a breaker that has been turned off, or a wait that is
//! over, says nothing. What needs a person comes before what ends by itself.

use cofferdam_domain::connection::{BreakerPolicy, Connection};
use cofferdam_domain::lane::Tripped;
use cofferdam_domain::lane::breaker::{Gate, gate};
use cofferdam_domain::retry::RETRY_AFTER_MAX;
use cofferdam_domain::{LaneState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::dispatch::granted;
use crate::plugins::views as versions;
use crate::plugins::{Hold, Waiting, Why};

/// What a version asks for more is told up to so much; all of it is beside, in what the connection runs.
const DIFFERENCE_SHOWN: usize = 4;

/// How a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing to do.
    Ok,
    /// It waits for a time that an upstream asked for.
    BackingOff,
    /// Its destination does not work: it is left alone, and then asked by one attempt.
    BreakerOpen,
    /// It goes on, and an admin should look.
    Attention,
    /// Nothing is tried until somebody acts.
    Parked,
    /// It is turned off.
    Off,
    /// Its connector is not loaded.
    NoConnector,
    /// None of its connector's versions may run for it.
    Changed,
}

impl Health {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Ok,
        Self::BackingOff,
        Self::BreakerOpen,
        Self::Attention,
        Self::Parked,
        Self::Off,
        Self::NoConnector,
        Self::Changed,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::BackingOff => "backing off",
            Self::BreakerOpen => "breaker open",
            Self::Attention => "attention",
            Self::Parked => "parked",
            Self::Off => "off",
            Self::NoConnector => "no connector",
            Self::Changed => "connector changed",
        }
    }
}

/// The health, and why, unless all is well.
pub(super) fn health(app: &App, connection: &Connection, lane: &LaneState, now: Timestamp) -> (Health, Option<String>) {
    if let Err(hold) = granted(app, connection) {
        let health = match hold {
            Hold::NotLoaded | Hold::Loading => Health::NoConnector,
            Hold::Changed(_) => Health::Changed,
        };
        return (health, Some(format!("connector {}: {hold}", connection.spec.connector)));
    }
    if !connection.enabled {
        return (Health::Off, Some("turned off; its deliveries wait".to_owned()));
    }
    if let Some((health, reason)) = trouble(lane, connection.spec.policy.breaker, now) {
        return (health, Some(reason));
    }
    if let unset @ [_, ..] = unset_credentials(app, connection).as_slice() {
        return (Health::Attention, Some(format!("not set yet: {}", unset.join(", "))));
    }
    match versions::waiting(app, connection).filter(|waiting| waiting.why != Why::Refused) {
        None => (Health::Ok, None),
        Some(waiting) => (Health::Attention, Some(another_runs(&waiting))),
    }
}

/// An earlier version runs, and somebody should decide about the present one.
fn another_runs(waiting: &Waiting) -> String {
    let (shown, left_out) = waiting
        .difference
        .split_at(waiting.difference.len().min(DIFFERENCE_SHOWN));
    let more = match (shown, left_out.len()) {
        ([], _) => String::new(),
        (shown, 0) => format!(" ({})", shown.join("; ")),
        (shown, others) => format!(" ({}; and {others} more)", shown.join("; ")),
    };
    let (version, digest, why) = (&waiting.version, waiting.digest.short(), waiting.why.in_words());
    format!("version {version} ({digest}) of its connector {why}{more}; an earlier one runs")
}

/// What stands against the lane; none if nothing does.
fn trouble(lane: &LaneState, policy: BreakerPolicy, now: Timestamp) -> Option<(Health, String)> {
    if let Some(note) = &lane.parked {
        let reason = format!("{} since {}: {}", note.class, note.since, note.reason);
        return Some((Health::Parked, reason));
    }
    // The lane takes a wait longer than any that can be asked for as one by another clock, and goes on.
    let back_off = lane
        .back_off_until
        .filter(|until| *until > now && until.since(now) <= RETRY_AFTER_MAX);
    let probe_at = match gate(lane, policy, now) {
        Gate::Closed => None,
        Gate::Open(until) => Some(Some(until).max(back_off)),
        Gate::HalfOpen => Some(back_off),
    };
    if let (Some(tripped), Some(probe_at)) = (&lane.tripped, probe_at) {
        return Some((Health::BreakerOpen, open(tripped, probe_at)));
    }
    if let Some(until) = back_off {
        return Some((Health::BackingOff, format!("asked to wait until {until}")));
    }
    let note = lane.flagged.as_ref()?;
    let reason = format!("{} since {}: {}", note.class, note.since, note.reason);
    Some((Health::Attention, reason))
}

/// Since when, how often in a row, what happens next, and why.
fn open(tripped: &Tripped, probe_at: Option<Timestamp>) -> String {
    let times = match tripped.trips {
        0 | 1 => String::new(),
        trips => format!(", opened {trips} times in a row"),
    };
    let next = match probe_at {
        Some(at) => format!("one delivery probes it at {at}"),
        None => "the next delivery probes it".to_owned(),
    };
    format!("open since {}{times}; {next}: {}", tripped.since, tripped.reason)
}

/// Credentials that the connection names and the vault does not have.
fn unset_credentials(app: &App, connection: &Connection) -> Vec<String> {
    let mut unset: Vec<String> = connection
        .spec
        .credentials()
        // A vault that cannot be read is not the connection's trouble; the next attempt says so.
        .filter(|name| {
            !app.vault
                .exists(&connection.workspace, &connection.spec.name, name)
                .unwrap_or(true)
        })
        .map(|name| format!("credential {name}"))
        .collect();
    unset.sort();
    unset.dedup();
    unset
}

#[cfg(test)]
mod tests {
    use cofferdam_domain::FailureClass;
    use cofferdam_domain::lane::Note;

    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        open_ms: 10_000,
        open_max_ms: 60_000,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000_000 + seconds * 1_000)
    }

    fn tripped(trips: u32, until: u64) -> LaneState {
        LaneState {
            tripped: Some(Tripped {
                since: at(0),
                until: at(until),
                trips,
                reason: "the upstream answered 503".into(),
            }),
            ..LaneState::default()
        }
    }

    fn note(reason: &str) -> Option<Note> {
        Some(Note {
            class: FailureClass::Auth,
            reason: reason.into(),
            since: at(0),
        })
    }

    #[test]
    fn an_open_breaker_says_since_when_how_often_what_is_next_and_why() {
        let backs_off = |state: LaneState, until| LaneState {
            back_off_until: Some(at(until)),
            ..state
        };
        for (state, reason) in [
            (
                tripped(1, 10),
                "open since 2001-09-09T01:46:40.000Z; one delivery probes it at 2001-09-09T01:46:50.000Z: the upstream \
                 answered 503",
            ),
            (
                tripped(3, 40),
                "open since 2001-09-09T01:46:40.000Z, opened 3 times in a row; one delivery probes it at \
                 2001-09-09T01:47:20.000Z: the upstream answered 503",
            ),
            // The probe itself waits for what the upstream asked for.
            (
                backs_off(tripped(1, 10), 20),
                "open since 2001-09-09T01:46:40.000Z; one delivery probes it at 2001-09-09T01:47:00.000Z: the upstream \
                 answered 503",
            ),
            (
                tripped(2, 5),
                "open since 2001-09-09T01:46:40.000Z, opened 2 times in a row; the next delivery probes it: the upstream \
                 answered 503",
            ),
        ] {
            let expected = Some((Health::BreakerOpen, reason.to_owned()));
            assert_eq!(trouble(&state, POLICY, at(5)), expected, "{state:?}");
        }
    }

    #[test]
    fn what_no_longer_holds_the_lane_says_nothing() {
        let off = BreakerPolicy { failures: 0, ..POLICY };
        let backs_off = |until| LaneState {
            back_off_until: Some(until),
            ..LaneState::default()
        };
        let day = 24 * 3_600;
        for (state, policy, expected) in [
            (LaneState::default(), POLICY, None),
            (tripped(1, 10), off, None),
            (tripped(1, 10), POLICY, Some(Health::BreakerOpen)),
            (backs_off(at(5)), POLICY, None),
            (backs_off(at(6)), POLICY, Some(Health::BackingOff)),
            (backs_off(at(5 + day)), POLICY, Some(Health::BackingOff)),
            (backs_off(at(6 + day)), POLICY, None),
        ] {
            let told = trouble(&state, policy, at(5)).map(|(health, _)| health);
            assert_eq!(told, expected, "{state:?} {policy:?}");
        }
    }

    #[test]
    fn what_needs_a_person_comes_before_what_ends_by_itself_and_that_before_a_flag() {
        let everything = LaneState {
            parked: note("parked"),
            back_off_until: Some(at(6)),
            flagged: note("flagged"),
            ..tripped(1, 10)
        };
        let parked = LaneState {
            parked: None,
            ..everything.clone()
        };
        let broken = LaneState {
            tripped: None,
            ..parked.clone()
        };
        let waits = LaneState {
            back_off_until: None,
            ..broken.clone()
        };
        let told = [everything, parked, broken, waits].map(|state| trouble(&state, POLICY, at(5)).unwrap().0);
        let expected = [
            Health::Parked,
            Health::BreakerOpen,
            Health::BackingOff,
            Health::Attention,
        ];
        assert_eq!(told, expected);
    }
}
