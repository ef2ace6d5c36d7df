//! Bad input: files made to hurt, and corpora of configs and ids.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use corpus::{Corpus, Target};
use gpu_config::{DeviceRef, GpuSelector, Memory, Mode, SleepInterval, read};
use gpu_model::{GpuUuid, MigProfile, MigUuid, PciAddress, ResourceName};

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

/// Strikes with the corpus of this name.
fn strike(name: &str, target: Target) {
    let pieces = PIECES.map(str::as_bytes);
    Corpus { package: env!("CARGO_MANIFEST_DIR"), name, pieces: &pieces }.strike(target);
}

#[test]
fn corpus_of_configs_and_inputs_made_of_it_do_no_harm() {
    strike("config", config);
}

#[test]
fn corpus_of_ids_and_inputs_made_of_it_do_no_harm() {
    strike("ids", ids);
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
