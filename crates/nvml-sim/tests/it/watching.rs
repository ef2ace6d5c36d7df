//! `nvml-sim watch`: a line for each change, as it happens.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use serde_json::Value;

use crate::sim::{node, nvml_sim};

struct Watcher {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watcher {
    /// Starts to watch; its first line says that nothing is missed from here on.
    fn start(dir: &Path, output: &str) -> Watcher {
        let mut command = nvml_sim(dir);
        command.args(["watch", "--output", output]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watcher = Watcher { child, lines };
        watcher.next();
        watcher
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_tells_each_change_with_what_was_before() {
    let (_dir, folder) = node("dgx-a100");
    let uuid = folder.node().unwrap().gpus[3].uuid.clone();
    folder.set("3", "temperature", "80").unwrap();
    let mut watcher = Watcher::start(folder.dir(), "json");
    let mut next = || serde_json::from_str::<Value>(&watcher.next()).unwrap();
    folder.set("3", "temperature", "91").unwrap();
    let line = next();
    assert_eq!(line["generation"], 2);
    let expected = serde_json::json!([{
        "path": format!("/overrides/{uuid}/temperature"), "before": 80, "after": 91,
    }]);
    assert_eq!(line["changes"], expected);
    folder.set("3", "temperature", "").unwrap();
    assert_eq!(next()["changes"][0]["after"], Value::Null);
}

#[test]
fn watch_speaks_of_gpus_by_index_to_people() {
    let (_dir, folder) = node("dgx-a100");
    let mut watcher = Watcher::start(folder.dir(), "table");
    folder.inject_xid("5", 48, None, None).unwrap();
    let lines = [watcher.next(), watcher.next()].join("\n");
    assert!(lines.contains("\"gpu\":\"GPU 5\"") && lines.contains("48"), "{lines}");
}
