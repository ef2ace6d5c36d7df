//! Expectations: which answer of a function is right on which kind of GPU. It knows the file that says so, and no
//! function's meaning.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// A MIG device, of which only lines count that name it.
const MIG: &str = "mig";
/// Functions that take a device's handle.
const OF_DEVICES: &str = "nvmlDevice";

/// A file of expectations.
pub struct Table {
    lines: Vec<Line>,
}

struct Line {
    pattern: String,
    rest: Expectation,
    subjects: Vec<(String, Expectation)>,
}

type Expectation = Vec<Term>;

enum Term {
    Value,
    Text,
    List,
    Struct,
    Range(i64, i64),
    Fact(String),
    Error(String),
}

/// What is known of a GPU from elsewhere.
pub struct Facts(Value);

impl Facts {
    /// Those of the node and of its GPU `index`, as `nvml-sim show` tells them.
    pub fn of(shown: &Value, index: usize) -> Facts {
        let gpus = shown["gpus"].as_array().expect("GPUs");
        let gpu = &gpus[index];
        Facts(serde_json::json!({
            "driver": shown["driverVersion"],
            "gpus": gpus.len(),
            "index": gpu["index"],
            "minor": gpu["minor"],
            "name": gpu["model"]["name"],
            "vbios": gpu["model"]["vbios"],
        }))
    }

    /// The GPU's name.
    pub fn name(&self) -> &str {
        self.0["name"].as_str().unwrap_or_default()
    }
}

impl Table {
    /// Reads a file.
    pub fn read(path: &Path) -> Table {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Table { lines: lines.map(Line::parse).collect() }
    }

    /// Whether a call's answer is right for a subject; else what is wrong.
    pub fn check(&self, call: &str, subject: &str, answer: &Value, facts: &Facts) -> Result<(), String> {
        if let Some(exception) = answer.get("exception") {
            return Err(format!("{exception}"));
        }
        let mut fitting: Vec<&Line> = self.lines.iter().filter(|line| line.fits(call)).collect();
        fitting.sort_by_key(|line| line.weight());
        let expected = fitting.iter().rev().find_map(|line| line.of(call, subject));
        let expected = expected.ok_or("nothing is expected of it: write a line")?;
        if expected.iter().any(|term| term.holds(answer, facts)) { Ok(()) } else { Err(answer.to_string()) }
    }

    /// The patterns that fit none of the calls.
    pub fn unused<'a>(&self, calls: impl Iterator<Item = &'a String> + Clone) -> BTreeSet<&str> {
        let unused = self.lines.iter().filter(|line| !calls.clone().any(|call| line.fits(call)));
        unused.map(|line| line.pattern.as_str()).collect()
    }
}

impl Line {
    fn parse(text: &str) -> Line {
        let wrong = || panic!("not `getter : expectation # document`: {text}");
        let (pattern, rest) = text.split_once(" : ").unwrap_or_else(wrong);
        let (expected, document) = rest.split_once(" # ").unwrap_or_else(wrong);
        assert!(!document.trim().is_empty(), "no document: {text}");
        let mut parts = expected.split(", ").map(str::trim);
        let rest = parse(parts.next().unwrap_or_default());
        let subjects = parts.map(|part| {
            let (subject, of_it) = part.split_once('=').unwrap_or_else(wrong);
            (subject.to_owned(), parse(of_it))
        });
        Line { pattern: pattern.trim().to_owned(), rest, subjects: subjects.collect() }
    }

    /// A pattern without arguments is for all of them.
    fn fits(&self, call: &str) -> bool {
        let name = call.split('(').next().unwrap_or(call);
        matches(&self.pattern, if self.pattern.contains('(') { call } else { name })
    }

    /// The more letters, the closer; arguments count most.
    fn weight(&self) -> usize {
        let closeness = if self.pattern.contains('*') { 0 } else { 1000 };
        self.pattern.len() + closeness + if self.pattern.contains('(') { 2000 } else { 0 }
    }

    fn of(&self, call: &str, subject: &str) -> Option<&Expectation> {
        // `mixed-t4` is a t4 that stands on another node.
        let model = subject.rsplit('-').next().unwrap_or(subject);
        let of = |wanted: &str| self.subjects.iter().find(|(name, _)| name == wanted);
        let named = of(subject).or_else(|| of(model)).map(|(_, expected)| expected);
        let by_name_alone = subject == MIG && call.starts_with(OF_DEVICES);
        named.or(if by_name_alone { None } else { Some(&self.rest) })
    }
}

/// Whether a text fits a pattern with stars.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len()).any(|skipped| tail.get(skipped..).is_some_and(|tail| matches(rest, tail)))
        }),
    }
}

fn parse(text: &str) -> Expectation {
    text.split('/').map(Term::parse).collect()
}

impl Term {
    fn parse(text: &str) -> Term {
        if let Some((low, high)) = text.split_once("..") {
            let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{text} is no number"));
            return Term::Range(number(low), number(high));
        }
        match text {
            "value" => Term::Value,
            "text" => Term::Text,
            "list" => Term::List,
            "struct" => Term::Struct,
            fact if fact.starts_with('=') => Term::Fact(fact[1..].to_owned()),
            error => Term::Error(error.to_owned()),
        }
    }

    fn holds(&self, answer: &Value, facts: &Facts) -> bool {
        let value = answer.get("value");
        match self {
            Term::Value => value.is_some(),
            Term::Text => value.and_then(Value::as_str).is_some_and(|text| !text.is_empty()),
            Term::List => value.is_some_and(Value::is_array),
            Term::Struct => value.is_some_and(Value::is_object),
            Term::Range(low, high) => {
                value.and_then(Value::as_i64).is_some_and(|number| (*low..=*high).contains(&number))
            }
            Term::Fact(name) => value.is_some_and(|value| *value == facts.0[name] && !value.is_null()),
            // NVML_ERROR_NOT_SUPPORTED is NotSupported.
            Term::Error(name) => answer["error"].as_str().is_some_and(|error| {
                let words = error.trim_start_matches("NVML_ERROR_").to_lowercase();
                words.replace('_', "") == name.to_lowercase()
            }),
        }
    }
}
