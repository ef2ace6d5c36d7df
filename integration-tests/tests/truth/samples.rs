//! The config files that NVIDIA's documentation shows, read from its module: our device plugin takes each of them, in both
//! faces, and offers what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::node::Node;
use integration_tests::fetch::module_of;

/// Texts of fenced blocks that are config files, each with where it stands. A block that shows the schema has placeholders
/// in angle brackets, and is none.
fn samples(module: &Path) -> Vec<(String, String)> {
    let mut files = vec![module.join("README.md")];
    let mut folders = vec![module.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "md") {
                files.push(entry);
            }
        }
    }
    files.iter().flat_map(|file| blocks(file)).collect()
}

fn blocks(file: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // The line that it begins in, and its text.
    let mut block: Option<(usize, String)> = None;
    for (number, line) in fs::read_to_string(file).unwrap().lines().enumerate() {
        if !line.trim_start().starts_with("```") {
            if let Some((_, text)) = &mut block {
                *text += &format!("{line}\n");
            }
            continue;
        }
        block = match block.take() {
            None => Some((number + 2, String::new())),
            Some((at, text)) => {
                let name = format!("{}:{at}", file.file_name().unwrap().to_string_lossy());
                found.extend(config_in(&text).map(|config| (name, config)));
                None
            }
        };
    }
    found
}

/// From its version to its end, or to that of a shell's here-document; the dots by which a text is cut short left out.
fn config_in(block: &str) -> Option<String> {
    let lines = block.lines().skip_while(|line| *line != "version: v1").take_while(|line| *line != "EOF");
    let text: String = lines.filter(|line| line.trim() != "...").map(|line| format!("{line}\n")).collect();
    (!text.is_empty() && !text.contains('<')).then_some(text)
}

fn explain(node: &Node, file: &Path, face: &[&str]) -> Output {
    let program: PathBuf = sim_node::find("gpu-device-plugin").unwrap_or_else(|error| panic!("{error}"));
    let mut command: Command = node.command(program);
    let run_dir = format!("--run-dir={}", node.dir().join("run").display());
    let driver = format!("--driver-root={}", node.root().display());
    let host = format!("--host-root={}", node.root().display());
    command.args([&*host, &*run_dir]).args(face).arg("explain");
    if face.is_empty() {
        command.arg(driver);
    }
    command.arg("--config").arg(file).output().unwrap()
}

#[test]
fn device_plugin_takes_each_config_that_nvidia_shows() {
    let module = module_of("device-plugin", "github.com/NVIDIA/k8s-device-plugin");
    let samples = samples(&module);
    assert!(samples.len() >= 6, "{samples:?}");
    let node = Node::preset("dgx-a100");
    node.lay_root();
    let file = node.dir().join("config.yaml");
    let mut kinds = [0; 3];
    for (place, text) in &samples {
        fs::write(&file, text).unwrap();
        let is_mps = text.contains("mps:");
        for face in [&[][..], &["--compat"]] {
            let output = explain(&node, &file, face);
            let said = String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr);
            let about = format!("{place} {face:?}:\n{text}\n{said}");
            if is_mps && face.is_empty() {
                assert_eq!(output.status.code(), Some(2), "{about}");
                assert!(said.contains("sharing.mps") && said.contains("MPS is not supported"), "{about}");
                kinds[0] += 1;
                continue;
            }
            assert!(output.status.success(), "{about}");
            let resource = match (is_mps, text.contains("renameByDefault: true")) {
                // What it shares by MPS it offers whole.
                (true, _) => "nvidia.com/gpu: 8 ids",
                (false, true) => "nvidia.com/gpu.shared: 80 ids",
                (false, false) if text.contains("replicas: 10") => "nvidia.com/gpu: 80 ids",
                (false, false) => "nvidia.com/gpu: 8 ids",
            };
            assert!(said.contains(resource), "{resource} is missing from {about}");
            kinds[1] += usize::from(text.contains("timeSlicing"));
            kinds[2] += usize::from(text.contains("migStrategy"));
        }
        println!("{place}: taken");
    }
    assert!(kinds.iter().all(|count| *count > 0), "MPS, time-slicing and flags: {kinds:?}");
}
