//! Random bytes, and a connector that is cut off or has a bit turned.

use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::super::extent::Extent;
use super::{BadFile, Expected, Made};

/// Random files of each kind.
const RANDOM: usize = 5;

/// What a component begins with.
const PREAMBLE: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];

/// What cuts may be: too short to be anything, broken off in a section, or whole up to one and without what makes a connector.
const CUT: &[&str] = &[
    "is not WebAssembly",
    "does not compile",
    "does not export",
    "exports none of",
];

pub(super) fn files(seed: u64, extent: Extent, connector: &[u8]) -> Vec<BadFile> {
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut files = vec![BadFile::refused("empty", Vec::new(), &["is not WebAssembly"])];
    for nth in 0..RANDOM {
        let mut bytes = vec![0; 1 << (2 * nth + 4)];
        rng.fill_bytes(&mut bytes);
        files.push(BadFile::refused(
            format!("random-{nth}"),
            bytes.clone(),
            &["is not WebAssembly"],
        ));
        bytes.splice(..0, PREAMBLE);
        files.push(BadFile::refused(
            format!("random-behind-preamble-{nth}"),
            bytes,
            &["does not compile"],
        ));
    }
    for nth in 0..extent.cuts {
        let length = connector.len() * nth / extent.cuts;
        files.push(BadFile::refused(
            format!("cut-at-{length}"),
            connector[..length].to_vec(),
            CUT,
        ));
    }
    for _ in 0..extent.flips {
        let (at, bit) = (rng.random_range(0..connector.len()), rng.random_range(0..8));
        let mut bytes = connector.to_vec();
        bytes[at] ^= 1 << bit;
        files.push(BadFile::new(
            format!("flipped-{at}-{bit}"),
            Made::Bytes(bytes),
            Expected::Either,
        ));
    }
    files
}
