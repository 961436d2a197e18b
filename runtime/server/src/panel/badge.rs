//! States as a word, a sign and a colour. The colour is never alone: the word says it all.

use cofferdam_domain::DeliveryState;

use crate::admin::views::Health;
use crate::timeline::StepKind;

/// What a state means for the person who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Under way, or waiting for its time.
    Waiting,
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Bad,
    /// Nothing to say.
    Quiet,
}

impl Tone {
    /// The class in the style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Waiting => "waiting",
            Self::Warning => "warning",
            Self::Bad => "bad",
            Self::Quiet => "quiet",
        }
    }

    /// A sign that differs in shape, for those who do not tell the colours apart.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Good => "●",
            Self::Waiting => "◔",
            Self::Warning => "▲",
            Self::Bad => "■",
            Self::Quiet => "○",
        }
    }

    /// Whether a person has something to do.
    pub(super) const fn asks_for_somebody(self) -> bool {
        match self {
            Self::Warning | Self::Bad => true,
            Self::Good | Self::Waiting | Self::Quiet => false,
        }
    }
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) tone: Tone,
    pub(super) word: &'static str,
}

impl From<Health> for Badge {
    fn from(health: Health) -> Self {
        let tone = match health {
            Health::Ok => Tone::Good,
            Health::BackingOff => Tone::Waiting,
            Health::BreakerOpen | Health::Attention | Health::Changed => Tone::Warning,
            Health::Parked | Health::NoConnector => Tone::Bad,
            Health::Off => Tone::Quiet,
        };
        Self {
            tone,
            word: health.as_str(),
        }
    }
}

impl From<&DeliveryState> for Badge {
    fn from(state: &DeliveryState) -> Self {
        let tone = match state {
            DeliveryState::Pending { .. } | DeliveryState::Leased { .. } => Tone::Waiting,
            DeliveryState::Delivered { .. } => Tone::Good,
            DeliveryState::Dead { .. } => Tone::Bad,
            DeliveryState::Discarded { .. } => Tone::Quiet,
        };
        Self {
            tone,
            word: state.as_str(),
        }
    }
}

impl From<StepKind> for Badge {
    fn from(kind: StepKind) -> Self {
        let tone = match kind {
            StepKind::Accepted | StepKind::Delivered => Tone::Good,
            StepKind::Retry => Tone::Warning,
            StepKind::Parked | StepKind::Dead => Tone::Bad,
            StepKind::Interrupted => Tone::Waiting,
            StepKind::Owed
            | StepKind::Attempt
            | StepKind::Request
            | StepKind::Note
            | StepKind::Replayed
            | StepKind::Discarded => Tone::Quiet,
        };
        Self {
            tone,
            word: kind.as_str(),
        }
    }
}
