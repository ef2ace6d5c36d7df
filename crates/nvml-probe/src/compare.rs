//! Two walks held against each other: what a recording of hardware and a simulation of it must both answer. It knows
//! which readings differ from moment to moment, not which of two answers is right.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::call::code_of;
use crate::table::{self, Steadiness};
use crate::walk::{Answers, Walk};

/// An answer that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Of what: `node`, `GPU 0`, `GPU 0 MIG device 1` and so on.
    pub of: String,
    /// Function and arguments.
    pub call: String,
    /// What the first walk has; nothing where it has none.
    pub one: Option<Value>,
    /// What the second one has.
    pub other: Option<Value>,
}

/// All differences. Of readings only the code counts, and a function that one of the libraries lacks is not compared.
pub fn compare(one: &Walk, other: &Walk) -> Vec<Difference> {
    let (one, other) = (sections(one), sections(other));
    let mut differences = Vec::new();
    for of in union(one.iter().map(|(of, _)| of), other.iter().map(|(of, _)| of)) {
        let find = |sections: &[(String, &Answers)]| {
            sections.iter().find(|(known, _)| *known == of).map(|(_, answers)| (*answers).clone())
        };
        let (mine, theirs) = (find(&one), find(&other));
        if mine.is_some() != theirs.is_some() {
            let there = |answers: &Option<Answers>| answers.as_ref().map(|_| Value::Bool(true));
            let call = "is there".to_owned();
            differences.push(Difference { of, call, one: there(&mine), other: there(&theirs) });
            continue;
        }
        let (mine, theirs) = (mine.unwrap_or_default(), theirs.unwrap_or_default());
        for call in union(mine.keys(), theirs.keys()) {
            let (one, other) = (mine.get(&call), theirs.get(&call));
            if !is_same(&call, one, other) {
                let (one, other) = (one.cloned(), other.cloned());
                differences.push(Difference { of: of.clone(), call, one, other });
            }
        }
    }
    differences
}

fn union<'a>(
    one: impl Iterator<Item = &'a String>,
    other: impl Iterator<Item = &'a String>,
) -> BTreeSet<String> {
    one.chain(other).cloned().collect()
}

fn sections(walk: &Walk) -> Vec<(String, &Answers)> {
    let mut sections = vec![("node".to_owned(), &walk.system)];
    for (index, gpu) in walk.gpus.iter().enumerate() {
        sections.push((format!("GPU {index}"), &gpu.answers));
        let devices = gpu.mig_devices.iter();
        sections.extend(devices.map(|(mig, answers)| (format!("GPU {index} MIG device {mig}"), answers)));
        for (id, instance) in &gpu.gpu_instances {
            let of = format!("GPU {index} GPU instance {id}");
            let compute = instance.compute_instances.iter();
            sections.extend(compute.map(|(id, answers)| (format!("{of} compute instance {id}"), answers)));
            sections.push((of, &instance.answers));
        }
    }
    sections
}

fn is_same(call: &str, one: Option<&Value>, other: Option<&Value>) -> bool {
    let code = |answer: Option<&Value>| answer.and_then(code_of).map(str::to_owned);
    let (code_one, code_other) = (code(one), code(other));
    let is_missing = |code: &Option<String>| code.as_deref() == Some("missing");
    if one == other || is_missing(&code_one) || is_missing(&code_other) {
        return true;
    }
    let name = call.split('(').next().unwrap_or_default();
    let is_reading = table::find(name).is_some_and(|getter| getter.steadiness == Steadiness::Volatile);
    // Before its first sample a reading is not found.
    let told = |code: Option<String>| code.filter(|code| code != "NOT_FOUND");
    is_reading && one.is_some() == other.is_some() && told(code_one) == told(code_other)
}
