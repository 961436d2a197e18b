//! One filter: compiled once, asked for each event, bounded in size, depth, steps and time.
//!
//! The interpreter knows no bounds, so they are put into the expression itself when it is compiled: every call, every element
//! of a list and every turn of a loop is preceded by a step of a [`Meter`], which fails once steps or time are used up
//! (`prepare.rs`). Work that grows with its values is paid for by their size before it is done.

mod fault;
mod meter;
mod prepare;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use cel::common::ast::IdedExpr;
use cel::common::types::CelBool;
use cel::parser::Parser;
use cel::{Context, Env, Value};

use super::sight::Sight;
use meter::{Meter, Pattern};

pub use fault::FilterFault;
pub(crate) use meter::Overrun;

/// Longest filter, in bytes.
pub(crate) const FILTER_BYTES_MAX: usize = 4096;

/// Deepest nesting of an expression, as it is parsed and as a tree.
pub(crate) const FILTER_DEPTH_MAX: usize = 64;

/// Steps of one evaluation: calls, elements and turns of loops, and more of them for work on large values. That a filter is
/// over this bound depends on the filter and the event alone, not on what else the machine does.
pub(crate) const FILTER_STEPS_MAX: u32 = 50_000;

/// Time of one evaluation, looked at with each step: for what the prices of steps do not foresee. Far above what they allow,
/// so that a filter is not cut off because the machine is busy.
pub(crate) const FILTER_TIME_MAX: Duration = Duration::from_millis(500);

/// A filter that was over its bound of steps or time is not asked again for so long, and what it would be asked about is
/// owed: a hostile filter gets a few hundredths of a core, not one for each event.
const REST: Duration = Duration::from_secs(1);

/// Stack of the thread that compiles. The parser recurses by the nesting of the text, within its own bound.
const COMPILE_STACK_BYTES: usize = 32 * 1024 * 1024;

/// Nesting at which the parser gives up.
const PARSER_DEPTH_MAX: u16 = 48;

/// The functions and operators of the CEL specification, without macros (the parser expands those) and without optionals.
static ENVIRONMENT: LazyLock<Arc<Env>> =
    LazyLock::new(|| Arc::new(Env::default().with_optional_support(false).with_stdlib()));

/// A compiled filter.
pub struct Filter {
    source: String,
    expression: IdedExpr,
    patterns: Arc<[Pattern]>,
    reads_data: bool,
    /// When it was last over its bound, in milliseconds since [`Filter::made`], plus one; 0 for never.
    overran_ms: AtomicU64,
    made: Instant,
}

/// What a filter says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is true of it.
    Wanted,
    /// It is false of it.
    Unwanted,
    /// It cannot be said, and why: the event is not owed.
    Failed(String),
    /// A bound was met before it could be said: the event is owed.
    Overrun(Overrun),
}

impl Filter {
    /// Compiles an expression. Takes some milliseconds of CPU time at most.
    pub fn compile(source: &str) -> Result<Self, FilterFault> {
        if source.len() > FILTER_BYTES_MAX {
            let problem = format!("it is {} bytes long; {FILTER_BYTES_MAX} are allowed", source.len());
            return Err(FilterFault::whole(problem));
        }
        let text = source.to_owned();
        // On a thread of its own: a text that is nested deeply takes stack while it is parsed, walked and dropped.
        let compiled = std::thread::Builder::new()
            .name("filter-compile".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn(move || parse(&text))
            .map_err(|error| FilterFault::whole(format!("there is no thread to compile it on: {error}")))?
            .join();
        let prepared = compiled.map_err(|_| FilterFault::whole("the parser cannot read it"))??;
        Ok(Self {
            source: source.to_owned(),
            expression: prepared.expression,
            patterns: prepared.patterns.into(),
            reads_data: prepared.reads_data,
            overran_ms: AtomicU64::new(0),
            made: Instant::now(),
        })
    }

    /// As it was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it says of this event. It may take some milliseconds of CPU time, so it is not for the executor's threads.
    pub(crate) fn ask(&self, sight: &Sight<'_>) -> Verdict {
        let now = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        let overran = self.overran_ms.load(Ordering::Relaxed);
        if overran > 0 && now.saturating_sub(overran - 1) < u64::try_from(REST.as_millis()).unwrap_or(u64::MAX) {
            return Verdict::Overrun(Overrun::Resting);
        }
        let verdict = self.evaluate(sight, FILTER_TIME_MAX);
        if matches!(
            verdict,
            Verdict::Overrun(Overrun::Steps | Overrun::Time | Overrun::Value | Overrun::Panic)
        ) {
            self.overran_ms.store(now.saturating_add(1), Ordering::Relaxed);
        }
        verdict
    }

    /// As [`Filter::ask`], whatever happened before.
    pub(crate) fn evaluate(&self, sight: &Sight<'_>, time: Duration) -> Verdict {
        if self.reads_data && sight.data().is_none() {
            return Verdict::Overrun(Overrun::Body);
        }
        let meter = Arc::new(Meter::new(FILTER_STEPS_MAX, time));
        let run = || {
            let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
            meter::install(&mut context, &meter, &self.patterns);
            context.set_variable_resolver(sight);
            let value = Value::resolve_val(&self.expression, &context);
            value.map(|value| match value.downcast_ref::<CelBool>() {
                Some(answer) => Ok(*answer.inner()),
                None => Err(value.get_type().name().to_owned()),
            })
        };
        // The interpreter is not ours; a panic in it must not cost more than this answer.
        let Ok(outcome) = catch_unwind(AssertUnwindSafe(run)) else {
            return Verdict::Overrun(Overrun::Panic);
        };
        // Asked before the outcome: `expensive || true` is true although its first half was cut off.
        if let Some(overrun) = meter.overrun() {
            return Verdict::Overrun(overrun);
        }
        match outcome {
            Ok(Ok(true)) => Verdict::Wanted,
            Ok(Ok(false)) => Verdict::Unwanted,
            Ok(Err(kind)) => Verdict::Failed(format!("it is neither true nor false but of type {kind}")),
            Err(error) => Verdict::Failed(fault::told(&error)),
        }
    }
}

fn parse(text: &str) -> Result<prepare::Prepared, FilterFault> {
    let parser = Parser::new().max_recursion_depth(PARSER_DEPTH_MAX);
    let (expression, places) = parser
        .parse_with_source_info(text)
        .map_err(|errors| FilterFault::of_parser(&errors))?;
    prepare::prepare(expression, &places)
}

impl fmt::Debug for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Filter").field(&self.source).finish()
    }
}

#[cfg(test)]
mod tests;
