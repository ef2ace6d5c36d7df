//! nvidia-ml-py, on which many tools are built: its whole getter surface, asked call by call, on several nodes, and held
//! to what `tests/truth/expected/getters.txt` expects.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::expect::{Facts, Table};
use crate::node::Node;
use integration_tests::fetch::{self, finish};

/// One object of a node that is asked everything.
struct Subject {
    /// As the expectations call it.
    name: &'static str,
    /// Its GPU, and its MIG device if it is one.
    gpu: usize,
    mig: Option<usize>,
}

const fn gpu(name: &'static str, gpu: usize) -> Subject {
    Subject { name, gpu, mig: None }
}

#[test]
fn every_getter_on_a_t4_answers_as_documented() {
    check(&Node::preset("t4"), &[gpu("t4", 0)]);
}

#[test]
fn every_getter_on_a_dgx_a100_answers_as_documented() {
    check(&Node::preset("dgx-a100"), &[gpu("a100", 0), gpu("a100", 7)]);
}

#[test]
fn every_getter_on_a_dgx_h100_with_mig_answers_as_documented() {
    let node = Node::preset("dgx-h100");
    node.tell(&["mig", "mode", "--gpu", "0", "on"]);
    node.tell(&["mig", "create", "--gpu", "0", "3g.40gb", "1g.10gb"]);
    check(&node, &[gpu("h100", 1), gpu("h100m", 0), Subject { name: "mig", gpu: 0, mig: Some(0) }]);
}

#[test]
fn every_getter_on_a_node_with_different_gpus_answers_as_documented() {
    let yaml = "driver: {version: 580.95.05, cuda: \"13.0\"}\nseed: mixed\ngpus:\n\
        - {model: T4, pci: \"0000:01:00.0\", numa: 0, pcie: 0/0/0/0}\n\
        - {model: A100-SXM4-40GB, pci: \"0000:02:00.0\", numa: 0, pcie: 0/0/0/1}\n\
        - {model: H100-SXM5-80GB, pci: \"0000:03:00.0\", numa: 0, pcie: 0/0/0/2}\ncpus: {0: 0-7}\n";
    check(&Node::yaml(yaml), &[gpu("mixed-t4", 0), gpu("mixed-a100", 1), gpu("mixed-h100", 2)]);
}

/// Codes that no getter gives on a node that is well: the library is there, whole, and fits the caller.
const NEVER: &[&str] = &[
    "NVML_ERROR_UNINITIALIZED",
    "NVML_ERROR_DRIVER_NOT_LOADED",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_GPU_IS_LOST",
    "NVML_ERROR_ARGUMENT_VERSION_MISMATCH",
    "NVML_ERROR_UNKNOWN",
];

#[test]
fn every_getter_on_each_preset_comes_back() {
    for preset in nvml_sim::presets::NODES {
        let node = Node::preset(preset.name);
        let answers = ask(&node, &gpu("first", 0));
        let is_wrong = |answer: &Value| {
            let error = answer["error"].as_str().unwrap_or_default();
            answer.get("exception").is_some() || NEVER.contains(&error)
        };
        let wrong: Vec<_> = answers.iter().filter(|(_, answer)| is_wrong(answer)).collect();
        assert!(wrong.is_empty(), "{}: {wrong:#?}", preset.name);
    }
}

/// Asks all, and fails with all that is not as expected.
fn check(node: &Node, subjects: &[Subject]) {
    let table = Table::read(&fetch::package().join("tests/truth/expected/getters.txt"));
    let shown = node.shown();
    let mut wrong = Vec::new();
    for subject in subjects {
        let facts = Facts::of(&shown, subject.gpu);
        let answers = ask(node, subject);
        let (mut values, mut refused) = (0, 0);
        for (call, answer) in &answers {
            match answer.get("value") {
                Some(_) => values += 1,
                None => refused += 1,
            }
            if let Err(problem) = table.check(call, subject.name, answer, &facts) {
                wrong.push(format!("{} {call}: {problem}", subject.name));
            }
        }
        println!("{} ({}): {values} calls answered, {refused} refused", subject.name, facts.name());
        assert!(values > 40, "{}: most calls fail", subject.name);
        let unused = table.unused(answers.keys());
        assert!(unused.is_empty(), "expectations for functions that are not asked: {unused:#?}");
    }
    assert!(wrong.is_empty(), "{} answers are not as expected:\n{}", wrong.len(), wrong.join("\n"));
}

fn ask(node: &Node, subject: &Subject) -> BTreeMap<String, Value> {
    let script = fetch::package().join("python/sweep.py");
    let mig = subject.mig.map_or("-".to_owned(), |index| index.to_string());
    let output = node
        .command(fetch::python())
        .arg(script)
        .args([&subject.gpu.to_string(), &mig])
        .output()
        .expect("start nvml-sim");
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().rev().take(8).collect::<Vec<_>>().join("\n");
    assert!(output.status.success(), "{}: {}, after:\n{last}", subject.name, output.status);
    let answers: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).expect("JSON of sweep.py");
    assert!(answers.len() > 400, "{}: only {} calls were made", subject.name, answers.len());
    answers
}

#[test]
fn python_module_finds_every_function_that_it_knows() {
    let node = Node::preset("t4");
    let code = "import pynvml, re\npynvml.nvmlInit()\n\
        text = open(pynvml.__file__).read()\n\
        for name in sorted(set(re.findall(r'_nvmlGetFunctionPointer\\(\"(nvml\\w+)\"\\)', text))):\n\
        \x20   try:\n        pynvml._nvmlGetFunctionPointer(name)\n\
        \x20   except pynvml.NVMLError as error:\n        print(name, error)\n";
    let output = finish(node.command(fetch::python()).args(["-c", code]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "", "functions that the library lacks");
}
