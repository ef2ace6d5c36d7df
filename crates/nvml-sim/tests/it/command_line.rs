//! The `nvml-sim` command: what it answers, and its exit codes.

use std::fs;
use std::path::Path;

use nvml_sim::{Clock, Code, SETTINGS, StateFolder, presets};

use crate::sim::{node, nvml_sim, said};

/// Runs a command that must fail, and gives exit code and message.
fn failed(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let output = nvml_sim(dir).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// 2026-01-01, by the node's clock.
const NOW_US: u64 = 1_767_225_600_000_000;

#[test]
fn show_as_json_is_the_golden_node() {
    let (_dir, folder) = node("t4");
    folder.update(|state| state.clock = Clock::Frozen(NOW_US)).unwrap();
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/t4.json"));
    let shown = said(&nvml_sim(folder.dir()).args(["show", "--output", "json"]).output().unwrap());
    golden::assert_golden(golden, &shown);
}

#[test]
fn presets_are_listed_with_what_tells_them_apart() {
    let listed = said(&nvml_sim(Path::new("/")).arg("presets").output().unwrap());
    let golden = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/presets.txt"));
    golden::assert_golden(golden, &listed);
    for preset in presets::NODES.iter().chain(presets::GPUS) {
        assert!(listed.lines().any(|line| line.split(' ').next() == Some(preset.name)), "{}", preset.name);
    }
}

#[test]
fn show_tells_what_was_done_to_a_node() {
    let (_dir, folder) = node("dgx-a100");
    for arguments in [
        &["reload", "--driver-version", "590.12.3"][..],
        &["lose", "--gpu", "3", "--xid"],
        &["set", "--gpu", "0000:07:00.0", "temperature=91"],
        &["set", "--gpu", "1", "persistence-mode=off"],
        &["process", "add", "--gpu", "2", "--name", "trainer", "--memory", "1GiB", "--pid", "4711"],
        &["set", "latency=0.1ms", "latency.nvmlDeviceGetNvLink*=5ms"],
        &["lose", "--gpu", "4", "--mode", "off-bus", "--at", "2090-01-31T12:00:00Z", "--xid"],
        &["xid", "--gpu", "6", "48", "--after", "9"],
        &["lose", "--gpu", "7", "--mode", "off-bus"],
        &["set", "--gpu", "5", "latency=uniform(1ms, 2ms)", "latency.nvmlDeviceGetN*=1s", "latency-seed=4"],
        &["fault", "return", "nvmlDeviceGetName", "gpu-is-lost", "--times", "2", "--after", "1"],
        &["fault", "hang", "nvmlDeviceGetMemoryInfo*", "--gpu", "0000:47:00.0"],
        &[
            "fault",
            "crash",
            "nvmlInit*",
            "--probability",
            "5%",
            "--seed",
            "7",
            "--at",
            "2090-01-31T12:00:00Z",
        ],
    ] {
        said(&nvml_sim(folder.dir()).args(arguments).output().unwrap());
    }
    let shown = said(&nvml_sim(folder.dir()).arg("show").output().unwrap());
    for part in [
        "lost, XID 79",
        "readings set",
        "modes set",
        "latency: 100us per call",
        "nvmlDeviceGetNvLink*: 5ms",
        "GPU 5: uniform(1ms, 2ms)",
        "GPU 5, nvmlDeviceGetN*: 1s",
        "nvmlDeviceGetName returns GPU_IS_LOST (15): the next 2 calls after 1 more",
        "nvmlDeviceGetMemoryInfo* of GPU 2 hangs: every call",
        "GPU 4: a fall off the bus with XID 79 at 2090-01-31T12:00:00Z",
        "nvmlDevice* of GPU 6 brings XID 48: the next call after 9 more",
        "off the bus\n",
        "4711  compute  1GiB",
        "  trainer\n",
        "1024 / 81920 MiB",
        "driver 590.12.3 (load 2), ",
        "nvmlInit* crashes: every call, with probability 0.05 (seed 7), from 2090-01-31T12:00:00Z",
        "GPU 3  XID 79",
    ] {
        assert!(shown.contains(part), "`{part}` is missing from\n{shown}");
    }
    said(&nvml_sim(folder.dir()).args(["return", "--gpu", "3"]).output().unwrap());
    let shown = said(&nvml_sim(folder.dir()).arg("show").output().unwrap());
    assert!(!shown.contains("lost, "), "{shown}");
}

#[test]
fn help_and_documentation_name_every_key_and_preset() {
    let (_dir, folder) = node("t4");
    // Long lines are wrapped.
    let help = |command| {
        let text = said(&nvml_sim(folder.dir()).args([command, "--help"]).output().unwrap());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let documentation = include_str!("../../../../docs/simulator-faults.md");
    for setting in SETTINGS {
        assert!(help("set").contains(&format!("{}: {}", setting.key, setting.values)), "{}", setting.key);
        assert!(documentation.contains(&format!("`{}`", setting.key)), "{}", setting.key);
    }
    for preset in presets::NODES {
        assert!(help("init").contains(preset.name), "{}", preset.name);
    }
}

#[test]
fn persistence_mode_is_off_until_it_is_given_back() {
    let (_dir, folder) = node("t4");
    let modes = || folder.state().unwrap().modes.values().next().unwrap().persistence_mode;
    assert!(modes());
    folder.set("0", "persistence-mode", "off").unwrap();
    assert!(!modes());
    folder.set("0", "persistence-mode", "").unwrap();
    assert!(modes());
}

#[test]
fn frozen_clock_stands_until_it_is_advanced() {
    let (_dir, folder) = node("t4");
    let clock =
        |arguments: &[&str]| said(&nvml_sim(folder.dir()).arg("clock").args(arguments).output().unwrap());
    let frozen = clock(&["freeze"]);
    assert_eq!(clock(&["show"]), frozen);
    assert_ne!(clock(&["advance", "90s"]), frozen);
    assert!(clock(&["resume"]).starts_with("ahead by"), "it does not go back");
    assert!(clock(&["freeze"]).starts_with("frozen"));
}

#[test]
fn bad_usage_ends_with_2_and_changes_nothing() {
    let (dir, folder) = node("t4");
    let bad = dir.path().join("bad.yaml");
    fs::write(&bad, "gpus: []\nseed: x\ndriver: {version: 1, cuda: \"13.0\", colour: red}\n").unwrap();
    let binary = dir.path().join("binary.yaml");
    fs::write(&binary, b"seed: \xff\xfe\n").unwrap();
    let slow = dir.path().join("slow.yaml");
    let t4 = presets::find(presets::NODES, "t4").unwrap().yaml;
    fs::write(&slow, format!("{t4}latency:\n  functions: {{nvmlDeviceGetNmae: 5ms}}\n")).unwrap();
    let new = dir.path().join("new");
    let new = new.to_str().unwrap();
    let here = folder.dir().to_str().unwrap();
    for (arguments, hint) in [
        (vec!["init", "--file", bad.to_str().unwrap(), new], "driver"),
        (vec!["init", "--preset", "dgx-z9", new], "dgx-a100"),
        (vec!["init", "--preset", "t4", here], "already"),
        (vec!["xid", "--gpu", "1", "79"], "index 0"),
        (vec!["set", "--gpu", "0", "colour=red"], "known keys"),
        (vec!["set", "--gpu", "0", "power=-1"], "watts"),
        (vec!["set", "temperature=3"], "--gpu"),
        (vec!["set", "latency=soon"], "0.1ms"),
        (vec!["set", "--gpu", "0", "temperature=50", "colour=red"], "known keys"),
        (vec!["set", "--gpu", "9", "latency=1ms", "temperature=50"], "index 0"),
        (
            vec!["set", "--gpu", "0", "temperature=50", "memory-used=16GiB"],
            "at most 14902MiB of the GPU's 15GiB",
        ),
        (vec!["fault", "hang", "nvmlNope"], "did you mean `nvml"),
        (vec!["fault", "crash", "nvmlDeviceGetNmae"], "did you mean `nvmlDeviceGetName`"),
        (vec!["fault", "return", "nvmlDeviceGetNvLnk*", "3"], "did you mean `nvmlDeviceGetNvL"),
        (vec!["fault", "return", "nvmlErrorString", "3"], "returns no code"),
        (vec!["fault", "hang", "nvmlDeviceGetName", "--gpu", "3"], "there is one, index 0"),
        (vec!["fault", "clear", "--gpu", "3"], "there is one, index 0"),
        (vec!["fault", "hang", "nvmlInit_v2", "--gpu", "0"], "leave the GPU out"),
        (vec!["fault", "hang", "nvmlDeviceGetHandleByIndex_v2", "--gpu", "0"], "leave the GPU out"),
        (vec!["reload", "--driver-version", "new"], "`new` is no driver version"),
        (vec!["nvlink", "down", "--gpu", "0"], "no NVLink of this"),
        (vec!["set", "latency=1ms", "--at", "9s"], "`latency` is set at once"),
        (vec!["run", "--symbols", "535", "--", "true"], "write 450, 470, 510 or 550"),
        (vec!["fault", "hang", "nvmlInit_v2", "--at", "soon"], "no moment"),
        (vec!["fault", "hang", "nvmlInit_v2", "--probability", "0"], "no probability"),
        (vec!["fault", "hang", "nvmlInit_v2", "--seed", "3"], "add `probability`"),
        (vec!["set", "latency=1ms", "latency.nvmlInit_v3=1ms"], "did you mean `nvmlInit_v2`"),
        (vec!["set", "latency=normal(1ms)"], "with mean and deviation"),
        (vec!["set", "latency-seed=x", "latency=1ms"], "`x` is no seed"),
        (vec!["set", "--gpu", "0", "latency.nvmlInit_v2=1ms"], "leave the GPU out"),
        (vec!["set", "latency.nvmlInit_v3="], "did you mean `nvmlInit_v2`"),
        (vec!["init", "--file", slow.to_str().unwrap(), new], "latency.functions.nvmlDeviceGetNmae: "),
        (vec!["init", "--file", "/no/such/file", new], "cannot read /no/such/file"),
        (vec!["init", "--file", binary.to_str().unwrap(), new], "UTF-8"),
        (vec!["fault", "return", "nvmlInit_v2", "SUCCESS"], "GPU_IS_LOST"),
        (vec!["root", "--library", "/no/such", new], "/no/such is no file; --library names"),
        (vec!["run", "--library", "/no/such", "--", "true"], "/no/such is no file; --library names"),
        (vec!["run", "--root", new, "--", "true"], "`nvml-sim root"),
        (vec!["run", "--root", "/tmp", "--", "true"], "no usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1"),
        (vec!["show", new], "nvml-sim init"),
        (vec!["shwo"], "show"),
    ] {
        let (code, message) = failed(folder.dir(), &arguments);
        assert_eq!(code, 2, "{arguments:?}: {message}");
        assert!(message.contains(hint), "{arguments:?}: {message}");
    }
    assert_eq!(folder.state().unwrap().generation, 0);
    assert!(!Path::new(new).exists());
}

#[test]
fn run_sets_what_a_program_needs_and_keeps_its_exit_code() {
    let (dir, folder) = node("t4");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, "").unwrap();
    let library = library.to_str().unwrap();
    let print = "echo $NVML_SIM_DIR; echo $GANTRY_NVML_LIBRARY; echo $LD_LIBRARY_PATH; exit 7";
    let output =
        nvml_sim(folder.dir()).args(["run", "--library", library, "--", "sh", "-c", print]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = said.lines().collect();
    let state = folder.dir().canonicalize().unwrap();
    assert_eq!(Path::new(lines[0]), state);
    assert_eq!(Path::new(lines[1]), state.join("lib/libnvidia-ml.so.1"));
    assert!(Path::new(lines[1]).exists());
    assert!(lines[2].starts_with(state.join("lib").to_str().unwrap()));
}

#[test]
fn node_file_chooses_the_branch_whose_functions_a_program_finds() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = presets::find(presets::NODES, "t4").unwrap().yaml.replacen(
        "driver:\n",
        "driver:\n  symbols: 470\n",
        1,
    );
    let folder = StateFolder::create(&dir.path().join("node"), Path::new("old.yaml"), &yaml).unwrap();
    // Any program has a table of symbols, of which this one has none of NVML.
    let library = std::env::current_exe().unwrap();
    let found = |words: &[&str]| {
        let mut command = nvml_sim(folder.dir());
        command.env_remove("LD_LIBRARY_PATH").arg("run").arg("--library").arg(&library).args(words);
        said(&command.args(["--", "sh", "-c", "echo $LD_LIBRARY_PATH"]).output().unwrap())
    };
    let own = folder.dir().canonicalize().unwrap();
    assert_eq!(found(&[]), format!("{}\n", own.join("lib-470").display()));
    assert_eq!(found(&["--symbols", "550"]), format!("{}\n", own.join("lib-550").display()));
    let wrong = yaml.replacen("470", "535", 1);
    let error = StateFolder::create(&dir.path().join("other"), Path::new("old.yaml"), &wrong).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("driver.symbols: ") && error.contains("450, 470, 510 or 550"), "{error}");
}

#[test]
fn run_on_a_host_root_names_it_and_its_library() {
    let (dir, folder) = node("t4");
    let library = dir.path().join("stand-in.so");
    fs::write(&library, "").unwrap();
    let host = dir.path().join("host");
    let host = host.to_str().unwrap();
    let root = ["root", host, "--library", library.to_str().unwrap()];
    said(&nvml_sim(folder.dir()).args(root).output().unwrap());
    let print =
        "echo $GANTRY_HOST_ROOT; echo $GANTRY_DRIVER_ROOT; echo $GANTRY_NVML_LIBRARY; echo $LD_LIBRARY_PATH";
    let run = ["run", "--root", host, "--", "sh", "-c", print];
    let printed = said(&nvml_sim(folder.dir()).args(run).env_remove("LD_LIBRARY_PATH").output().unwrap());
    let libraries = format!("{host}/usr/lib/x86_64-linux-gnu");
    let expected = [host, host, &format!("{libraries}/libnvidia-ml.so.1"), &libraries];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn run_on_a_malformed_node_ends_with_2_and_starts_nothing() {
    let (dir, folder) = node("t4");
    let started = dir.path().join("started");
    fs::write(folder.dir().join("node.yaml"), "seed: x\ncolour: red\n").unwrap();
    let touch = ["run", "--library", "/bin/sh", "--", "touch", started.to_str().unwrap()];
    let (code, message) = failed(folder.dir(), &touch);
    assert_eq!(code, 2, "{message}");
    assert!(message.contains("node.yaml:2:1: colour: "), "{message}");
    assert!(!started.exists());
}

#[test]
fn every_return_code_is_found_by_its_name_and_number() {
    for (code, name) in Code::ALL {
        assert_eq!(Code::parse(name), Some(*code));
        assert_eq!(Code::parse(&format!("NVML_ERROR_{name}")), Some(*code));
        assert_eq!(Code::parse(&code.0.to_string()), Some(*code));
    }
    assert_eq!(Code::parse("0"), None);
}

#[test]
fn latency_is_given_back_to_the_node_file_by_gpu_and_by_function() {
    let (dir, _folder) = node("t4");
    let yaml = presets::find(presets::NODES, "t4").unwrap().yaml;
    let yaml = format!("{yaml}latency: {{default: 1ms, gpus: {{0: {{default: 2ms}}}}, seed: 5}}\n");
    let folder = StateFolder::create(&dir.path().join("slow"), Path::new("slow.yaml"), &yaml).unwrap();
    let set = |arguments: &[&str]| {
        said(&nvml_sim(folder.dir()).arg("set").args(arguments).output().unwrap());
        folder.state().unwrap().latency.clone()
    };
    let latency = set(&["--gpu", "0", "latency=3ms", "latency.nvmlDeviceGetName=4ms"]).unwrap();
    let uuid = folder.node().unwrap().gpus[0].uuid.clone();
    assert_eq!(latency.of("nvmlDeviceGetUUID", Some(&uuid)).to_string(), "3ms");
    assert_eq!(latency.of("nvmlDeviceGetName", Some(&uuid)).to_string(), "4ms");
    assert_eq!(latency.of("nvmlDeviceGetName", None).to_string(), "1ms");
    assert_eq!(set(&["latency-seed=6"]).unwrap().seed, 6);
    assert!(set(&["--gpu", "0", "latency="]).is_some(), "the seed is still set");
    assert_eq!(set(&["latency-seed="]), None);
}
