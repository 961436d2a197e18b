//! The steps and the time of one evaluation, and the functions by which a prepared expression pays for them.
//!
//! Their names begin with `@`, which no expression can spell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cel::common::types::{CelBool, CelBytes, CelInt, CelList, CelMap, CelString};
use cel::common::value::{CowVal, Val};
use cel::{Context, ExecutionError, FunctionContext};
use regex::Regex;

/// Takes a step, or as many as its argument says: true, or the evaluation ends.
pub(super) const STEP: &str = "@step";

/// Its argument, unless that is too large. Takes a step too.
pub(super) const BOUNDED: &str = "@bounded";

/// Its argument, once the steps that reading it takes are paid.
pub(super) const READ: &str = "@read";

/// Its argument, once the steps that copying it takes are paid.
pub(super) const COPIED: &str = "@copied";

/// Whether its first argument matches the pattern of this number.
pub(super) const MATCHES: &str = "@matches";

/// Longest text that an expression may put together, in bytes.
const TEXT_BYTES_MAX: usize = 512 * 1024;

/// Longest list that an expression may put together, in elements.
const LIST_MAX: usize = 32 * 1024;

/// Longest text that a pattern is tried on, in bytes. With the bound on a pattern's size this bounds its time.
pub(super) const MATCHED_BYTES_MAX: usize = 4 * 1024;

/// Values that are read for the price of a step.
const READ_PER_STEP: usize = 8;

/// Values that are copied for the price of a step.
const COPIED_PER_STEP: usize = 2;

/// Bytes of text that count as one value.
const TEXT_BYTES_PER_VALUE: usize = 128;

/// Bytes of text on which a pattern of weight 1 is tried for the price of a step.
const MATCHED_PER_STEP: usize = 16;

/// A compiled pattern.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) regex: Regex,
    /// How much slower than the smallest patterns it may be on a text that is made for it.
    pub(super) weight: usize,
}

/// Which bound was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overrun {
    /// Too many steps.
    Steps,
    /// Too much time.
    Time,
    /// Too large a value was put together.
    Value,
    /// A text is too long for a pattern.
    Text,
    /// The body is too large to be parsed.
    Body,
    /// It was over its bound a moment ago and is not asked now.
    Resting,
    /// The interpreter failed.
    Panic,
}

impl Overrun {
    /// For people.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "it takes too many steps",
            Self::Time => "it takes too long",
            Self::Value => "it puts together too large a value",
            Self::Text => "a text is too long for matches()",
            Self::Body => "the body is too large for a filter to read",
            Self::Resting => "it was over its bound a moment ago",
            Self::Panic => "the interpreter failed",
        }
    }
}

/// What one evaluation may still use.
pub(super) struct Meter {
    steps: AtomicU32,
    until: Instant,
    overrun: OnceLock<Overrun>,
}

impl Meter {
    pub(super) fn new(steps: u32, time: Duration) -> Self {
        Self {
            steps: AtomicU32::new(steps),
            until: Instant::now() + time,
            overrun: OnceLock::new(),
        }
    }

    /// Which bound was met first, if any.
    pub(super) fn overrun(&self) -> Option<Overrun> {
        self.overrun.get().copied()
    }

    /// A step: work that does not depend on how large something is.
    fn step(&self) -> Result<(), ExecutionError> {
        self.pay(1)
    }

    fn pay(&self, steps: usize) -> Result<(), ExecutionError> {
        // Once over, always over: an operator that swallows the error must not let the rest go on.
        if self.overrun.get().is_some() {
            return Err(over());
        }
        let left = self.steps.load(Ordering::Relaxed);
        let Some(left) = u32::try_from(steps).ok().and_then(|steps| left.checked_sub(steps)) else {
            return self.stop(Overrun::Steps);
        };
        self.steps.store(left, Ordering::Relaxed);
        if Instant::now() > self.until {
            return self.stop(Overrun::Time);
        }
        Ok(())
    }

    /// Pays for work on a value, of which so many are done for one step. Counting ends where the steps do.
    fn pay_for(&self, value: &dyn Val, per_step: usize) -> Result<(), ExecutionError> {
        let left = usize::try_from(self.steps.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let mut room = left.saturating_mul(per_step);
        let before = room;
        if !weigh(value, &mut room) {
            return self.stop(Overrun::Steps);
        }
        self.pay((before - room).div_ceil(per_step))
    }

    fn stop<T>(&self, overrun: Overrun) -> Result<T, ExecutionError> {
        // The first bound is the one that is told.
        let _ = self.overrun.set(overrun);
        Err(over())
    }
}

/// Takes the values in this one off the room, itself among them; false if there is too little.
fn weigh(value: &dyn Val, room: &mut usize) -> bool {
    let mut take = |count: usize| match room.checked_sub(count) {
        Some(left) => {
            *room = left;
            true
        }
        None => false,
    };
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return take(1 + text.inner().len() / TEXT_BYTES_PER_VALUE);
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return take(1 + bytes.inner().len() / TEXT_BYTES_PER_VALUE);
    }
    if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        return take(1) && list.inner().iter().all(|element| weigh(element.as_ref(), room));
    }
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        // A key costs as much as a value.
        return take(1 + map.inner().len()) && map.inner().values().all(|value| weigh(value.as_ref(), room));
    }
    take(1)
}

fn over() -> ExecutionError {
    ExecutionError::function_error(STEP, "over its bound")
}

type Function = Box<
    dyn for<'context, 'call> Fn(
            &mut FunctionContext<'context, 'call>,
        ) -> Result<CowVal<'context, 'call>, ExecutionError>
        + Send
        + Sync,
>;

/// Gives a context the functions that prepared expressions call.
pub(super) fn install(context: &mut Context<'_, '_>, meter: &Arc<Meter>, patterns: &Arc<[Pattern]>) {
    let steps = Arc::clone(meter);
    let step: Function = Box::new(move |call| {
        let count = call.args.first().and_then(|count| count.downcast_ref::<CelInt>());
        let count = count.map_or(1, |count| usize::try_from(*count.inner()).unwrap_or(usize::MAX));
        steps.pay(count)?;
        Ok(CowVal::owned(CelBool::from(true)))
    });
    let sizes = Arc::clone(meter);
    let bounded: Function = Box::new(move |call| {
        let value = call.args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
        sizes.step()?;
        if is_too_large(&value) {
            return sizes.stop(Overrun::Value);
        }
        Ok(value)
    });
    let weighing = |per_step: usize| -> Function {
        let meter = Arc::clone(meter);
        Box::new(move |call| {
            let value = call.args.pop().ok_or_else(ExecutionError::missing_argument_or_target)?;
            meter.pay_for(value.as_ref(), per_step)?;
            Ok(value)
        })
    };
    let (read, copied) = (weighing(READ_PER_STEP), weighing(COPIED_PER_STEP));
    let (texts, patterns) = (Arc::clone(meter), Arc::clone(patterns));
    let matches: Function = Box::new(move |call| {
        let [value, number] = call.args.as_slice() else {
            return Err(ExecutionError::missing_argument_or_target());
        };
        let pattern = number
            .downcast_ref::<CelInt>()
            .and_then(|number| patterns.get(usize::try_from(*number.inner()).ok()?))
            .ok_or_else(ExecutionError::missing_argument_or_target)?;
        let Some(text) = value.downcast_ref::<CelString<'_>>() else {
            return Err(ExecutionError::no_such_overload(
                "matches",
                vec![value.get_type().name().to_owned()],
            ));
        };
        if text.inner().len() > MATCHED_BYTES_MAX {
            return texts.stop(Overrun::Text);
        }
        texts.pay(text.inner().len() * pattern.weight / MATCHED_PER_STEP)?;
        Ok(CowVal::owned(CelBool::from(pattern.regex.is_match(text.inner()))))
    });
    for (name, function) in [
        (STEP, step),
        (BOUNDED, bounded),
        (READ, read),
        (COPIED, copied),
        (MATCHES, matches),
    ] {
        // It fails for names that the environment has already, which these cannot be.
        let _ = context.add_function(name, function);
    }
}

fn is_too_large(value: &CowVal<'_, '_>) -> bool {
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        return text.inner().len() > TEXT_BYTES_MAX;
    }
    if let Some(bytes) = value.downcast_ref::<CelBytes<'_>>() {
        return bytes.inner().len() > TEXT_BYTES_MAX;
    }
    let elements = value.as_sizer().map_or(0, |sized| *sized.size().inner());
    usize::try_from(elements).unwrap_or(usize::MAX) > LIST_MAX
}
