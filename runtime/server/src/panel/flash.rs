//! What a page says once about the change that led to it. A closed set of codes, so that a link cannot put words into the
//! panel's mouth.

use serde::Deserialize;

use super::badge::Tone;

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flash {
    TurnedOn,
    TurnedOff,
    Released,
    Replayed,
    Discarded,
    Cancelled,
    Deleted,
    SecretSet,
    SecretRotated,
    Granted,
    Refused,
    RolledBack,
    RollbackEnded,
    NotDead,
    SignedOut,
    SessionEnded,
}

/// The part of a query that every page reads. A code that nobody knows is not worth an error.
#[derive(Debug, Default, Deserialize)]
pub(super) struct FlashQuery {
    #[serde(default)]
    flash: Option<String>,
}

impl FlashQuery {
    pub(super) fn get(&self) -> Option<Flash> {
        self.flash.as_deref().and_then(Flash::by_code)
    }
}

impl Flash {
    const ALL: [Self; 16] = [
        Self::TurnedOn,
        Self::TurnedOff,
        Self::Released,
        Self::Replayed,
        Self::Discarded,
        Self::Cancelled,
        Self::Deleted,
        Self::SecretSet,
        Self::SecretRotated,
        Self::Granted,
        Self::Refused,
        Self::RolledBack,
        Self::RollbackEnded,
        Self::NotDead,
        Self::SignedOut,
        Self::SessionEnded,
    ];

    fn by_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|flash| flash.code() == code)
    }

    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::TurnedOn => "turned-on",
            Self::TurnedOff => "turned-off",
            Self::Released => "released",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
            Self::Cancelled => "cancelled",
            Self::Deleted => "deleted",
            Self::SecretSet => "secret-set",
            Self::SecretRotated => "secret-rotated",
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::RolledBack => "rolled-back",
            Self::RollbackEnded => "rollback-ended",
            Self::NotDead => "not-dead",
            Self::SignedOut => "signed-out",
            Self::SessionEnded => "session-ended",
        }
    }

    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::TurnedOn => "Turned on. What has waited is delivered now.",
            Self::TurnedOff => "Turned off. New deliveries wait until it is turned on again.",
            Self::Released => "Released. What has waited is tried now.",
            Self::Replayed => "Replayed. A new series of attempts has begun under the same idempotency key.",
            Self::Discarded => "Discarded. It will not be tried again.",
            Self::Cancelled => "Cancelled. What it has changed stays changed; nothing more is.",
            Self::Deleted => "Deleted, with its credentials. What waited for it becomes dead letters.",
            Self::SecretSet => "Set. It is used from now on, and any value before it stopped at once.",
            Self::SecretRotated => {
                "Rotated. Requests carry the new value; the old one is accepted for a while. Change it at the provider now."
            }
            Self::Granted => "Granted. This version runs from the next attempt on.",
            Self::Refused => "Refused. This version does not run for the connection.",
            Self::RolledBack => {
                "Rolled back. It runs from the next attempt on, for connections that were granted it or that it asks no more of."
            }
            Self::RollbackEnded => "The rollback has ended. What the file holds runs again.",
            Self::NotDead => "Nothing was changed: it is no longer a dead letter. Somebody else may have been faster.",
            Self::SignedOut => "Signed out.",
            Self::SessionEnded => "Nothing was changed: your session had ended. Sign in and try again.",
        }
    }

    pub(super) const fn tone(self) -> Tone {
        match self {
            Self::TurnedOn
            | Self::TurnedOff
            | Self::Released
            | Self::Replayed
            | Self::Discarded
            | Self::Cancelled
            | Self::Deleted
            | Self::SecretSet
            | Self::SecretRotated
            | Self::Granted
            | Self::Refused
            | Self::RolledBack
            | Self::RollbackEnded
            | Self::SignedOut => Tone::Good,
            Self::NotDead | Self::SessionEnded => Tone::Warning,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_say_anything() {
        for flash in Flash::ALL {
            assert_eq!(Flash::by_code(flash.code()), Some(flash));
        }
        for unknown in ["", "Turned-On", "your password is wanted"] {
            assert_eq!(Flash::by_code(unknown), None, "{unknown}");
        }
    }
}
