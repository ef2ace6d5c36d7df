//! What a library's answers must have to do with each other, on any node: GPUs are found again by what they are called,
//! amounts add up, two ways to ask the same thing agree, counters rise. Each rule is a pure function over walks, so that
//! it holds for those of real GPUs from elsewhere too. NVML's header is the source of each; no rule knows a model.

mod amounts;
mod counters;
mod identity;
mod mig;
mod neighbours;

use serde::Serialize;
use serde_json::Value;

use crate::compare::compare;
use crate::walk::{Answers, Walk};

/// A rule over several walks of the same node, taken one after another.
#[derive(Debug)]
pub struct Rule {
    /// One word or two.
    pub name: &'static str,
    /// What it demands.
    pub demands: &'static str,
    holds: fn(&[Walk], &mut Findings),
}

/// All rules.
pub static RULES: &[Rule] = &[
    Rule { name: "walls", demands: "answers stay within the memory that they were given", holds: walls },
    Rule {
        name: "steady",
        demands: "facts and settings are the same when they are asked again",
        holds: steady,
    },
    Rule {
        name: "identities",
        demands: "a GPU is found again by index, UUID, serial number and PCI address, and no two are called the same",
        holds: identity::identities,
    },
    Rule {
        name: "addresses",
        demands: "all functions tell the same PCI address and ids",
        holds: identity::addresses,
    },
    Rule { name: "memory", demands: "used, free and reserved memory are the total", holds: amounts::memory },
    Rule { name: "power", demands: "power limits are within their constraints", holds: amounts::power },
    Rule { name: "fields", demands: "field values are what the functions say", holds: amounts::fields },
    Rule { name: "counters", demands: "counters and their times do not fall", holds: counters::rise },
    Rule {
        name: "neighbours",
        demands: "nearness, peer access and NVLinks are the same from both ends",
        holds: neighbours::both_ends,
    },
    Rule {
        name: "mig",
        demands: "MIG devices lead to their GPU and instances, which lie in places that their profiles have, and not over each other",
        holds: mig::instances,
    },
];

/// What a rule found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many answers it could look at.
    pub seen: usize,
    /// What is wrong.
    pub problems: Vec<String>,
}

impl Findings {
    /// Demands something of what was told.
    fn demand(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        self.seen += 1;
        if !holds {
            self.problems.push(problem());
        }
    }

    /// Demands that two answers are the same, where both were told.
    fn same<T: PartialEq + std::fmt::Debug>(
        &mut self,
        of: &str,
        one: (&str, Option<T>),
        other: (&str, Option<T>),
    ) {
        if let (Some(mine), Some(theirs)) = (&one.1, &other.1) {
            self.demand(mine == theirs, || {
                format!("{of}: {} says {mine:?}, {} says {theirs:?}", one.0, other.0)
            });
        }
    }
}

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// The rule's name.
    pub name: &'static str,
    /// What it demands.
    pub demands: &'static str,
    /// How many answers were looked at; with none there was nothing of that kind on the node.
    pub seen: usize,
    /// What is wrong.
    pub problems: Vec<String>,
}

/// Applies all rules.
pub fn check(walks: &[Walk]) -> Vec<Check> {
    let apply = |rule: &Rule| {
        let mut findings = Findings::default();
        (rule.holds)(walks, &mut findings);
        let Findings { seen, problems } = findings;
        Check { name: rule.name, demands: rule.demands, seen, problems }
    };
    RULES.iter().map(apply).collect()
}

fn walls(walks: &[Walk], findings: &mut Findings) {
    for walk in walks {
        findings.seen += 1;
        findings
            .problems
            .extend(walk.trespasses.iter().map(|call| format!("{call} wrote outside of its memory")));
    }
}

fn steady(walks: &[Walk], findings: &mut Findings) {
    for pair in walks.windows(2) {
        let [one, other] = pair else { continue };
        findings.seen += 1;
        let differences = compare(one, other).into_iter();
        findings.problems.extend(differences.map(|difference| {
            let say =
                |answer: Option<Value>| answer.map_or("nothing".to_owned(), |answer| answer.to_string());
            let (one, other) = (say(difference.one), say(difference.other));
            format!("{}: {} gives {one} and then {other}", difference.of, difference.call)
        }));
    }
}

/// A number in a call's answer: the answer itself, or a part of it.
fn number(answers: &Answers, call: &str, part: Option<&str>) -> Option<u64> {
    let answer = answers.get(call)?;
    match part {
        Some(part) => answer.get(part)?.as_u64(),
        None => answer.as_u64(),
    }
}

/// A text that is an answer, or a part of one.
fn text<'a>(answers: &'a Answers, call: &str, part: Option<&str>) -> Option<&'a str> {
    let answer = answers.get(call)?;
    let text = match part {
        Some(part) => answer.get(part)?.as_str(),
        None => answer.as_str(),
    };
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
