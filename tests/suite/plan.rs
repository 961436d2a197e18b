//! How many rounds, and with which seeds.

use std::ops::Range;

use clap::Args;

/// The first seed when none is asked for: the short versions are the same in every run.
const FIRST_SEED: u64 = 1;

/// What was asked for.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Plan {
    /// How many cycles, for a suite that works in cycles.
    #[arg(long, conflicts_with = "seeds")]
    pub(crate) cycles: Option<u32>,
    /// How many seeds, for a suite that works in seeds.
    #[arg(long)]
    pub(crate) seeds: Option<u32>,
    /// The first seed. Alone it means one round: the one that failed, once more.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

impl Plan {
    /// The seeds of a suite that works in cycles: one seed each.
    pub(crate) fn cycles(&self, default: u32) -> anyhow::Result<Range<u64>> {
        anyhow::ensure!(self.seeds.is_none(), "this suite works in cycles: use --cycles");
        Ok(self.rounds(self.cycles, default))
    }

    /// The seeds of a suite that works in seeds.
    pub(crate) fn seeds(&self, default: u32) -> anyhow::Result<Range<u64>> {
        anyhow::ensure!(self.cycles.is_none(), "this suite works in seeds: use --seeds");
        Ok(self.rounds(self.seeds, default))
    }

    /// A suite that runs its cases once each.
    pub(crate) fn no_rounds(&self) -> anyhow::Result<()> {
        let asked = self.cycles.is_some() || self.seeds.is_some() || self.seed.is_some();
        anyhow::ensure!(
            !asked,
            "this suite runs each of its cases once: it takes no --cycles, --seeds or --seed"
        );
        Ok(())
    }

    fn rounds(&self, asked: Option<u32>, default: u32) -> Range<u64> {
        let count = asked.unwrap_or(if self.seed.is_some() { 1 } else { default });
        let first = self.seed.unwrap_or(FIRST_SEED);
        first..first.saturating_add(u64::from(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_alone_is_one_round_and_a_count_wins() {
        let plan = |count, seed| Plan {
            cycles: count,
            seeds: None,
            seed,
        };
        for (asked, seeds) in [
            (plan(None, None), 1..31),
            (plan(Some(3), None), 1..4),
            (plan(None, Some(7)), 7..8),
            (plan(Some(2), Some(7)), 7..9),
        ] {
            assert_eq!(asked.cycles(30).unwrap(), seeds, "{asked:?}");
        }
    }

    #[test]
    fn the_other_kind_of_count_is_refused() {
        let plan = Plan {
            seeds: Some(1),
            ..Plan::default()
        };
        assert!(plan.cycles(1).is_err());
    }
}
