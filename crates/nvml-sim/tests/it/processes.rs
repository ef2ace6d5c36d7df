//! `nvml-sim process`, `reset` of a GPU in use, and `processes` of a node file.

use std::path::Path;

use nvml_sim::{Node, presets};
use serde_json::{Value, json};

use crate::sim::{node, nvml_sim, said};

fn run(dir: &Path, words: &str) -> String {
    said(&nvml_sim(dir).args(words.split(' ')).output().unwrap())
}

fn refused(dir: &Path, words: &str) -> String {
    let output = nvml_sim(dir).args(words.split(' ')).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{words}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn processes_are_added_listed_and_killed() {
    let (_dir, folder) = node("dgx-h100");
    let dir = folder.dir();
    run(dir, "clock freeze");
    assert_eq!(run(dir, "process add --gpu 0 --memory 10GiB --sm 40%"), "10001\n", "the first free pid");
    assert_eq!(run(dir, "process add --gpu 1 --pid 77 --name train --kind graphics"), "77\n");
    assert_eq!(run(dir, "process add --gpu 2 --pid 77 --encoder 5%"), "77\n", "the same process elsewhere");
    run(dir, "mig mode --gpu 3 on");
    run(dir, "mig create --gpu 3 3g.40gb");
    assert_eq!(run(dir, "process add --gpu 3 --gi 2 --memory 1GiB"), "10002\n", "the only compute instance");
    let list: Value = serde_json::from_str(&run(dir, "process list --output json")).unwrap();
    let of = |it: &Value| json!([it["gpu"], it["computeInstance"], it["pid"], it["name"], it["kind"]]);
    let expected = [
        json!([0, null, 10001, "simulated", "compute"]),
        json!([1, null, 77, "train", "graphics"]),
        json!([2, null, 77, "train", "compute"]),
        json!([3, 0, 10002, "simulated", "compute"]),
    ];
    assert_eq!(list.as_array().unwrap().iter().map(of).collect::<Vec<_>>(), expected);
    assert_eq!((&list[0]["memoryBytes"], &list[0]["smPercent"]), (&json!(10_u64 << 30), &json!(40)));
    let table = run(dir, "process list --gpu 3");
    assert!(table.contains("\n3    2   0   10002  compute  1GiB    0%"), "{table}");
    assert!(run(dir, "show").contains("1 process"));
    run(dir, "process kill 77");
    let list: Value = serde_json::from_str(&run(dir, "process list --output json")).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 2, "ended on both GPUs");
}

#[test]
fn what_cannot_run_is_refused_with_the_reason() {
    let (_dir, folder) = node("dgx-h100");
    let dir = folder.dir();
    run(dir, "process add --gpu 0 --pid 5 --name one --memory 70GiB");
    run(dir, "mig mode --gpu 1 on");
    run(dir, "mig create --gpu 1 1g.10gb");
    run(dir, "mig mode --gpu 2 on");
    run(dir, "lose --gpu 3");
    run(dir, "set --gpu 4 compute-mode=prohibited");
    let before = folder.state().unwrap();
    for (words, part) in [
        ("process add --gpu 0 --pid 5", "process 5 runs there already"),
        ("process add --gpu 5 --pid 5 --name two", "process 5 is called `one` already"),
        ("process add --gpu 0 --memory 20GiB", "20GiB are more than the"),
        ("process add --gpu 0 --pid 0", "`0` is no pid"),
        ("process add --gpu 0 --gi 1", "GPU 0 has MIG off; leave the instance out"),
        ("process add --gpu 1", "say on which instance; it has --gi 13 --ci 0"),
        ("process add --gpu 1 --gi 13 --ci 1", "has no such compute instance; it has --gi 13 --ci 0"),
        ("process add --gpu 1 --gi 13 --memory 40GiB", "more than the 9984MiB that are free there"),
        ("process add --gpu 1 --gi 13 --kind graphics", "its instances run no graphics"),
        ("process add --gpu 2", "`nvml-sim mig create` makes one"),
        ("process add --gpu 3", "GPU 3 is lost; `nvml-sim return --gpu 3`"),
        ("process add --gpu 4", "GPU 4 is in compute mode prohibited"),
        ("process add --gpu 9", "there are indexes 0 to 7"),
        ("process add --gpu 0 --sm 140%", "`140%` is not a percentage"),
        ("process kill 6", "there is no process 6"),
        ("reset --gpu 0", "GPU 0 is in use by process 5: end it by `nvml-sim process kill`"),
    ] {
        let said = refused(dir, words);
        assert!(said.contains(part), "{words}: {said}");
    }
    assert_eq!(folder.state().unwrap(), before);
    assert_eq!(
        run(dir, "mig mode --gpu 0 on"),
        "GPU 0: MIG on is pending (IN_USE (19)); end the instances and processes on it, then \
         `nvml-sim reset --gpu 0` makes it current\n"
    );
    run(dir, "reset --gpu 0 --force");
    let state = folder.state().unwrap();
    assert!(state.processes.is_empty(), "the reset ended it");
    assert!(run(dir, "mig list --gpu 0").contains("on"), "and made the pending mode current");
}

#[test]
fn node_file_declares_processes_and_is_held_to_the_same_rules() {
    let of = |lines: &str| {
        let preset = presets::find(presets::NODES, "t4").unwrap();
        Node::parse(Path::new("node.yaml"), &format!("{}processes:\n{lines}", preset.yaml))
    };
    assert_eq!(of("- {gpu: 0, pid: 7, memory: 1GiB, sm: 40}\n").unwrap().processes.len(), 1);
    for (lines, said) in [
        ("- {gpu: 3}\n", "processes[0].gpu: no GPU `3`"),
        ("- {gpu: 0, memory: 8GiB}\n- {gpu: 0, memory: 8GiB}\n", "processes[1].memory: 8GiB are more than"),
        ("- {gpu: 0, sm: 101%}\n", "processes[0].sm: `101%` is not a percentage"),
        ("- {gpu: 0, gi: 1}\n", "processes[0].gi: GPU 0 has MIG off"),
        ("- {gpu: 0, pid: 7}\n- {gpu: 0, pid: 7}\n", "processes[1].pid: process 7 runs there already"),
        ("- {gpu: 0, name: \"\"}\n", "processes[0].name: `` is no name"),
    ] {
        let error = of(lines).unwrap_err().to_string();
        assert!(error.contains(said), "{lines}: {error}");
    }
}
