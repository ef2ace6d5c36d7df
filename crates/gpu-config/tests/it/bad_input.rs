//! Bad input: files made to hurt, a corpus that is replayed, and inputs made from it. Targets are functions of bytes.
//!
//! `make test` replays `corpus/` and some thousand inputs made from it, the same each time; `make fuzz` goes on for minutes
//! with others. An input that fails is written to `target/fuzz`: put it into the corpus with the repair.

use std::fmt::{Debug, Display};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use fastrand::Rng;
use gpu_config::{DeviceRef, GpuSelector, Memory, Mode, SleepInterval, read};
use gpu_model::{GpuUuid, MigProfile, MigUuid, PciAddress, ResourceName};

/// What takes any bytes and must not fail.
type Target = fn(&[u8]);

/// Inputs made in `make test`, for each target.
const INPUTS: u64 = 3_000;

/// An error is read by people, and stands in logs and on `/ready`.
const LONGEST_ERROR: usize = 100 * 1000;

/// A config file in both faces. What the strict one takes, the other takes.
fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let [strict, compat] = [Mode::Strict, Mode::Compat].map(|mode| read("config.yaml", text, mode));
    assert!(strict.is_err() || compat.is_ok(), "{compat:?}");
    for error in [strict.err(), compat.err()].into_iter().flatten() {
        let told = error.to_string();
        assert!(told.starts_with("config.yaml is no valid config"), "{told}");
        assert!(told.len() < LONGEST_ERROR, "{} bytes", told.len());
    }
}

/// Ids of devices, names and amounts. What is read prints as what reads the same again.
fn ids(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for line in text.lines() {
        prints_back::<DeviceRef>(line);
        prints_back::<GpuUuid>(line);
        prints_back::<MigUuid>(line);
        prints_back::<MigProfile>(line);
        prints_back::<PciAddress>(line);
        prints_back::<ResourceName>(line);
        let _ = (line.parse::<GpuSelector>().is_ok(), line.parse::<Memory>().is_ok());
        let _ = line.parse::<SleepInterval>().is_ok();
    }
}

fn prints_back<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let printed = value.to_string();
        let again = printed.parse::<T>().unwrap_or_else(|_| panic!("{text:?} prints as {printed:?}"));
        assert_eq!(again, value, "{text:?} as {printed:?}");
    }
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The inputs of a target, by name.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = package().join("corpus").join(name);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// Runs a target; an input that it fails on is kept.
fn strike(name: &str, target: Target, input: &[u8]) {
    if let Err(failure) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let folder = package().join("../../target/fuzz");
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join(format!("{name}-{:016x}", hash(input)));
        fs::write(&file, input).unwrap();
        println!("{name} fails on {}", file.display());
        resume_unwind(failure);
    }
}

fn hash(input: &[u8]) -> u64 {
    input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Pieces that parsers stumble over.
const PIECES: [&str; 26] = [
    "\n",
    "  ",
    "\t",
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "&a ",
    "*a",
    "<<: *a",
    "!!binary ",
    "|\n",
    "\"",
    "\\x00",
    "\0",
    "\u{feff}",
    "é",
    "-1",
    "4294967296",
    "1e999",
    ".nan",
    "~",
    "GPU-",
    "::",
];

/// Another input made of those that there are.
fn made(dice: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[dice.usize(..seeds.len())].clone();
    for _ in 0..=dice.usize(..6) {
        let at = dice.usize(..input.len() + 1);
        let end = (at + dice.usize(..24)).min(input.len());
        match dice.usize(..5) {
            0 => drop(input.drain(at..end)),
            1 => drop(input.splice(at..at, PIECES[dice.usize(..PIECES.len())].bytes())),
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

/// Replays the corpus, and strikes with inputs made from it for as long as is wanted.
fn fuzz(name: &str, target: Target) {
    let seeds = corpus(name);
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| strike(name, target, seed));
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let minutes = number("GANTRY_FUZZ_MINUTES").map(|minutes| Duration::from_secs(minutes * 60));
    let mut dice = Rng::with_seed(number("GANTRY_FUZZ_SEED").unwrap_or(1).max(1));
    let (begin, mut inputs) = (Instant::now(), 0);
    while minutes.map_or(inputs < INPUTS, |minutes| begin.elapsed() < minutes) {
        strike(name, target, &made(&mut dice, &seeds));
        inputs += 1;
    }
    println!("{name}: {} seeds, {inputs} inputs made from them", seeds.len());
}

#[test]
fn corpus_of_configs_and_inputs_made_of_it_do_no_harm() {
    fuzz("config", config);
}

#[test]
fn corpus_of_ids_and_inputs_made_of_it_do_no_harm() {
    fuzz("ids", ids);
}

/// What is said of a text that is refused.
fn refused(text: &str) -> String {
    config(text.as_bytes());
    read("config.yaml", text, Mode::Strict).unwrap_err().to_string()
}

#[test]
fn alias_bomb_is_refused_before_it_bursts() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..30 {
        let last = format!("*a{}", level - 1);
        text += &format!("a{level}: &a{level} [{}]\n", [last.as_str(); 9].join(", "));
    }
    text += "devices: {include: *a29}\n";
    let said = refused(&text);
    assert!(said.len() < 4096, "{} bytes: {}", said.len(), &said[..256]);
}

#[test]
fn depth_beyond_any_config_is_refused() {
    for (open, close) in [("[", "]"), ("{a: ", "}"), ("- ", "")] {
        let text = format!("devices: {{include: \n  {}{}}}", open.repeat(10_000), close.repeat(10_000));
        let said = refused(&text);
        assert!(said.len() < 4096, "{} bytes", said.len());
    }
}

#[test]
fn large_file_is_read_and_what_is_wrong_in_it_is_told_in_bounds() {
    let comment = format!("{}\nversion: v1\n", "# nothing here\n".repeat(1 << 16));
    assert!(read("config.yaml", &comment, Mode::Strict).is_ok());
    let keys: String = (0..20_000).map(|key| format!("key{key}: 1\n")).collect();
    let said = refused(&keys);
    assert!(said.lines().count() < 200 && said.ends_with("and 19900 more"), "{}", &said[said.len() - 256..]);
    let ids = format!("devices: {{include: [{}]}}\n", "GPU-1, ".repeat(50_000));
    assert!(refused(&ids).contains("and 49900 more"));
    let long = format!("version: {}\n", "v".repeat(1 << 20));
    let said = refused(&long);
    assert!(said.contains("unknown version"), "{}", &said[..256]);
}

#[test]
fn numbers_beyond_all_sense_are_refused_with_their_place() {
    for replicas in [
        "2147483648",
        "-9223372036854775808",
        "99999999999999999999",
        "1e999",
        ".nan",
        ".inf",
        "0x7fffffffffffffff",
    ] {
        let text =
            format!("sharing: {{timeSlicing: {{resources: [{{name: gpu, replicas: {replicas}}}]}}}}\n");
        let said = refused(&text);
        assert!(said.contains("replicas"), "{replicas}: {said}");
    }
}

#[test]
fn key_that_stands_twice_is_refused_wherever_it_is() {
    for text in [
        "version: v1\nversion: v1\n",
        "sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2, replicas: 3}]}}",
        "flags: {plugin: {passDeviceSpecs: true, passDeviceSpecs: false}}",
    ] {
        assert!(refused(text).contains("duplicate"), "{text}");
    }
}

#[test]
fn text_that_is_odd_is_taken_or_refused_and_no_more() {
    for text in
        ["\u{feff}version: v1\n", "version: v1\r\n", "\tversion: v1\n", "version: \"v1\\0\"\n", "a\0b: 1\n"]
    {
        config(text.as_bytes());
    }
    assert!(refused("devices: {include: [\"GPU-\\0\"]}").contains("devices.include[0]"));
    let utf16: Vec<u8> = "version: v1\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    config(&utf16);
}
