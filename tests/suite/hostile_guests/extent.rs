//! How much of everything: the cases and the kinds of files are the same in each run, and of what is repeated or random there is
//! less in one cycle, which `cargo xtask test` runs, than in several.

/// Chosen by the number of cycles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The neighbour's events alone before each case and, at least, beside it.
    pub(crate) events: usize,
    /// Seeds of WebAssembly at random for each cycle.
    pub(crate) seeds: u32,
    /// Files that are a connector cut off, and that with one bit turned.
    pub(crate) cuts: usize,
    pub(crate) flips: usize,
    /// Whether files that take the compiler's limits to end are among them, which is minutes.
    pub(crate) files_that_take_long: bool,
}

/// One cycle: about 100 s on 2 cores, of which most goes to calls that use up their processor time.
const SHORT: Extent = Extent {
    events: 10,
    seeds: 12,
    cuts: 12,
    flips: 16,
    files_that_take_long: false,
};

const LONG: Extent = Extent {
    events: 20,
    seeds: 50,
    cuts: 24,
    flips: 48,
    files_that_take_long: true,
};

impl Extent {
    /// Of so many cycles.
    pub(crate) fn of(cycles: u64) -> Self {
        if cycles > 1 { LONG } else { SHORT }
    }
}
