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

/// How detailed a comparison is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Values of facts and settings, and codes of readings.
    Values,
    /// Which functions and fields answer, and the codes of the others.
    Shape,
}

/// All differences. Of readings only the code counts, and a function that one of the libraries lacks is not compared.
pub fn compare(one: &Walk, other: &Walk) -> Vec<Difference> {
    differences(one, other, Detail::Values)
}

/// The differences in what answers at all: functions and field values, and the codes of those that do not. A field that
/// is not told has the answer nothing.
pub fn shape(one: &Walk, other: &Walk) -> Vec<Difference> {
    differences(one, other, Detail::Shape)
}

fn differences(one: &Walk, other: &Walk, detail: Detail) -> Vec<Difference> {
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
            if is_missing(one) || is_missing(other) {
                continue;
            }
            if detail == Detail::Shape {
                differences.extend(shape_of(&of, &call, one, other));
            } else if !is_same(&call, one, other) {
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

/// All that a walk asked about, with its name.
pub fn sections(walk: &Walk) -> Vec<(String, &Answers)> {
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

/// The code of an answer that is none.
fn code(answer: Option<&Value>) -> Option<&str> {
    answer.and_then(code_of)
}

/// Whether one of the libraries has no such function, which says nothing about the other's answer.
fn is_missing(answer: Option<&Value>) -> bool {
    code(answer) == Some("missing")
}

/// What differs in the shape of one answer.
fn shape_of(of: &str, call: &str, one: Option<&Value>, other: Option<&Value>) -> Vec<Difference> {
    let difference = |call: String, one: Option<&Value>, other: Option<&Value>| {
        let (one, other) = (one.cloned(), other.cloned());
        Difference { of: of.to_owned(), call, one, other }
    };
    if code(one) != code(other) || one.is_some() != other.is_some() {
        return vec![difference(call.to_owned(), one, other)];
    }
    let (FIELDS, Some(mine), Some(theirs)) =
        (call, one.and_then(Value::as_object), other.and_then(Value::as_object))
    else {
        return Vec::new();
    };
    let differing = union(mine.keys(), theirs.keys()).into_iter().filter(|field| {
        let (mine, theirs) = (mine.get(field), theirs.get(field));
        mine.is_some() != theirs.is_some() || code(mine) != code(theirs)
    });
    differing
        .map(|field| difference(format!("{call}, field {field}"), mine.get(&field), theirs.get(&field)))
        .collect()
}

/// The function whose answer is many fields, each of which may be there or not.
const FIELDS: &str = "nvmlDeviceGetFieldValues";

fn is_same(call: &str, one: Option<&Value>, other: Option<&Value>) -> bool {
    if one == other {
        return true;
    }
    let name = call.split('(').next().unwrap_or_default();
    let is_reading = table::find(name).is_some_and(|getter| getter.steadiness == Steadiness::Volatile);
    // Before its first sample a reading is not found.
    let told = |answer| code(answer).filter(|code| *code != "NOT_FOUND");
    is_reading && one.is_some() == other.is_some() && told(one) == told(other)
}
