//! Says what goes on while it goes on, and remembers what was said.

use super::checks::Checks;
use crate::output::Output;
use crate::paint::Paint;
use crate::render::printable;

/// Text for people as it happens; nothing for programs, which get a summary at the end.
pub(super) struct Narrator {
    output: Output,
    checks: Checks,
    said: String,
    steps: usize,
}

impl Narrator {
    pub(super) fn new(output: Output) -> Self {
        Self {
            output,
            checks: Checks::default(),
            said: String::new(),
            steps: 0,
        }
    }

    /// A line, or several.
    pub(super) fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.said.push_str(text);
        self.said.push('\n');
        if self.output.is_json() {
            Ok(())
        } else {
            self.output.line(text)
        }
    }

    /// Begins a numbered step.
    pub(super) fn step(&mut self, title: &str) -> anyhow::Result<()> {
        self.steps += 1;
        let title = self.paint().bold(&format!("{}. {title}", self.steps));
        self.say(&format!("\n{title}"))
    }

    /// Something to know that is no claim.
    pub(super) fn note(&mut self, text: &str) -> anyhow::Result<()> {
        let text = self.paint().dim(&printable(text));
        self.say(&format!("   · {text}"))
    }

    /// A claim and whether it holds. `seen` is what was found, for whoever looks into a failure.
    pub(super) fn check(&mut self, id: &'static str, claim: &str, holds: bool, seen: &str) -> anyhow::Result<()> {
        self.checks.add(id, claim, holds, seen);
        let paint = self.paint();
        let (mark, seen) = if holds {
            (paint.good("✓"), paint.dim(&printable(seen)))
        } else {
            (paint.bad("✗"), printable(seen).into_owned())
        };
        let gap = if seen.is_empty() { "" } else { "  " };
        self.say(&format!("   {mark} {claim}{gap}{seen}"))
    }

    pub(super) fn checks(&self) -> &Checks {
        &self.checks
    }

    pub(super) fn paint(&self) -> Paint {
        self.output.paint()
    }

    /// Everything that was said so far.
    pub(super) fn said(&self) -> &str {
        &self.said
    }
}
