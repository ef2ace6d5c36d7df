//! Bad input: a corpus that tests replay, and inputs made of it. Targets are functions of bytes.
//!
//! `make test` replays a crate's `corpus/` and some thousand inputs made of it, the same each time; `make fuzz` goes on for
//! minutes with others. An input that fails is written to `target/fuzz`: put it into the corpus with the repair.
//!
//! For tests of any crate: it knows nothing of what the targets read.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "for tests: one that cannot go on fails, and says how far it came"
)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// What takes any bytes and must not fail.
pub type Target = fn(&[u8]);

/// How long to go on: with this variable for so many minutes, else for [`INPUTS`].
const MINUTES: &str = "GANTRY_FUZZ_MINUTES";

/// From which number the inputs follow; 1 without it.
const SEED: &str = "GANTRY_FUZZ_SEED";

/// Inputs made in `make test`, for each target.
const INPUTS: u64 = 3_000;

/// A folder of inputs, and who takes them.
#[derive(Clone, Copy, Debug)]
pub struct Corpus<'a> {
    /// The package whose `corpus/` it is in, as `CARGO_MANIFEST_DIR` has it.
    pub package: &'a str,
    /// Its name there.
    pub name: &'a str,
    /// Pieces over which the target's like stumbles.
    pub pieces: &'a [&'a [u8]],
}

impl Corpus<'_> {
    /// Replays the corpus, and strikes with inputs made of it for as long as is wanted.
    ///
    /// # Panics
    /// When the target does; the input is written to a file first, which is told.
    pub fn strike(&self, target: Target) {
        self.strike_times(INPUTS, target);
    }

    /// The same with so many inputs in `make test`, for a target that takes long for each.
    ///
    /// # Panics
    /// As [`Corpus::strike`].
    pub fn strike_times(&self, inputs_made: u64, mut target: impl FnMut(&[u8])) {
        let seeds = self.seeds();
        assert!(!seeds.is_empty(), "{self:?}");
        seeds.iter().for_each(|seed| self.strike_with(&mut target, seed));
        let number = |variable| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
        let minutes = number(MINUTES).map(|minutes| Duration::from_secs(minutes * 60));
        let mut dice = Rng::with_seed(number(SEED).unwrap_or(1).max(1));
        let (begin, mut inputs) = (Instant::now(), 0);
        while minutes.map_or(inputs < inputs_made, |minutes| begin.elapsed() < minutes) {
            self.strike_with(&mut target, &self.made(&mut dice, &seeds));
            inputs += 1;
        }
        println!("{}: {} seeds, {inputs} inputs made of them", self.name, seeds.len());
    }

    /// The inputs that there are, by name.
    fn seeds(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(self.package).join("corpus").join(self.name);
        let mut files: Vec<PathBuf> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read(file).unwrap()).collect()
    }

    /// Runs a target; an input that it fails on is kept.
    fn strike_with(&self, target: &mut impl FnMut(&[u8]), input: &[u8]) {
        if let Err(failure) = catch_unwind(AssertUnwindSafe(|| target(input))) {
            let folder = Path::new(self.package).join("../../target/fuzz");
            fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("{}-{:016x}", self.name, hash(input)));
            fs::write(&file, input).unwrap();
            println!("{} fails on {}", self.name, file.display());
            resume_unwind(failure);
        }
    }

    /// Another input made of those that there are.
    fn made(&self, dice: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = seeds[dice.usize(..seeds.len())].clone();
        for _ in 0..=dice.usize(..6) {
            let at = dice.usize(..input.len() + 1);
            let end = (at + dice.usize(..24)).min(input.len());
            match dice.usize(..5) {
                0 => drop(input.drain(at..end)),
                1 => {
                    let piece = self.pieces[dice.usize(..self.pieces.len())];
                    drop(input.splice(at..at, piece.iter().copied()));
                }
                2 => {
                    let twice = input[at..end].to_vec();
                    input.splice(at..at, twice);
                }
                3 => {
                    let other = &seeds[dice.usize(..seeds.len())];
                    let from = dice.usize(..other.len() + 1);
                    input.truncate(at);
                    input.extend_from_slice(&other[from..]);
                }
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << dice.usize(..8);
                    }
                }
            }
        }
        input
    }
}

fn hash(input: &[u8]) -> u64 {
    input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
