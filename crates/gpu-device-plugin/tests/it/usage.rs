//! The command line.

use std::process::{Command, Output, Stdio};

use sim_node::SimNode;

use crate::harness::{bare, gpus};

/// The program with this node's places in its environment.
fn command(node: &SimNode) -> Command {
    let mut command = node.command("gpu-device-plugin").unwrap();
    command
        .env("GANTRY_HOST_ROOT", node.root())
        .env("GANTRY_RUN_DIR", node.run_dir())
        .env("GANTRY_KUBELET_SOCKET", node.plugin_dir().join("kubelet.sock"));
    command
}

fn run(node: &SimNode, arguments: &[&str]) -> Output {
    command(node).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn bad_flags_end_with_2_and_name_flag_value_and_what_would_be_right() {
    let node = bare().build().unwrap();
    for (arguments, expected) in [
        (&["--no-such-flag"][..], &["--no-such-flag"][..]),
        (&["--probe-interval", "often"], &["--probe-interval", "often", "500ms"]),
        (&["--probe-interval", "1ms"], &["--probe-interval", "1ms", "between"]),
        (&["--cdi-proof", "hope"], &["--cdi-proof", "hope", "assume"]),
        (&["--device-list-strategy", "envvar,hope"], &["--device-list-strategy", "hope", "cdi-cri"]),
        (&["--cdi-dir", "relative"], &["--cdi-dir", "relative", "absolute"]),
        (&["--disable-healthchecks", "79,x48"], &["DP_DISABLE_HEALTHCHECKS", "x48", "numbers from 1"]),
        (&["--xid-classes", "79=fatal"], &["--xid-classes", "79=fatal", "critical"]),
        (&["--log-format", "xml"], &["--log-format", "xml", "json"]),
    ] {
        let output = run(&node, arguments);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(expected.iter().all(|part| error.contains(part)), "{arguments:?}: {error}");
    }
    assert_eq!(std::fs::read_dir(node.run_dir()).unwrap().count(), 0, "something was started");
}

#[test]
fn bad_environment_ends_with_2_and_names_flag_and_value() {
    let node = bare().build().unwrap();
    for (variable, value, flag) in [
        ("GANTRY_CDI_DIR", "relative", "--cdi-dir"),
        ("GANTRY_CDI_PROOF", "hope", "--cdi-proof"),
        ("GANTRY_DRIVER_ROOT", "relative", "--driver-root"),
        ("GANTRY_KUBELET_SOCKET", "relative", "--kubelet-socket"),
        ("GANTRY_PROBE_INTERVAL", "often", "--probe-interval"),
    ] {
        let output = command(&node).env(variable, value).arg("devices").output().unwrap();
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{variable}: {error}");
        assert!(error.contains(flag) && error.contains(value), "{variable}: {error}");
    }
}

#[test]
fn variable_that_is_set_to_nothing_says_nothing() {
    let node = bare().build().unwrap();
    let mut command = command(&node);
    for variable in
        ["KUBELET_SOCKET", "CONFIG_FILE", "MIG_STRATEGY", "FAIL_ON_INIT_ERROR", "GANTRY_PROBE_INTERVAL"]
    {
        command.env(variable, "");
    }
    let output =
        command.env_remove("GANTRY_KUBELET_SOCKET").args(["--kubelet-dir=/k", "devices"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
}

#[test]
fn flag_beats_the_environment_and_ours_theirs_and_the_error_names_what_counts() {
    let node = bare().build().unwrap();
    for (environment, flags, expected) in [
        (("GANTRY_KUBELET_SOCKET", "/env.sock"), &["--kubelet-dir=flag"][..], "--kubelet-dir \"flag\""),
        (("KUBELET_SOCKET", "/env.sock"), &["--kubelet-dir=flag"], "--kubelet-dir \"flag\""),
        (("GANTRY_DRIVER_ROOT", "/env"), &["--nvidia-driver-root=flag"], "--nvidia-driver-root \"flag\""),
        (("NVIDIA_DRIVER_ROOT", "env"), &[], "NVIDIA_DRIVER_ROOT (--nvidia-driver-root) \"env\""),
        (("NVIDIA_DRIVER_ROOT", "env"), &["--driver-root=flag"], "--driver-root \"flag\""),
        // `command` sets ours, which is well formed: so is what counts, and the device list is reached.
        (("KUBELET_SOCKET", "env"), &["--output=json"], "gpus"),
    ] {
        let (variable, value) = environment;
        let output = command(&node).env(variable, value).arg("devices").args(flags).output().unwrap();
        let said = text(&output.stderr) + &text(&output.stdout);
        let code = if expected == "gpus" { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(code), "{environment:?} {flags:?}: {said}");
        assert!(said.contains(expected), "{environment:?} {flags:?}: {said}");
    }
}

#[test]
fn reader_that_closes_early_is_no_failure() {
    let node = bare().build().unwrap();
    for arguments in [&["completions", "bash"][..], &["devices"]] {
        let mut child =
            command(&node).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {} {}", output.status, text(&output.stderr));
    }
}

#[test]
fn devices_lists_the_node_as_table_and_as_json() {
    let node = bare().build().unwrap();
    let table = run(&node, &["devices"]);
    assert!(table.status.success(), "{}", text(&table.stderr));
    let table = text(&table.stdout);
    assert!(gpus(&node).iter().all(|gpu| table.contains(gpu)) && table.contains("/dev/nvidia7"), "{table}");

    let json = run(&node, &["devices", "--output", "json"]);
    let inventory: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(inventory["gpus"].as_array().unwrap().len(), 8);
}

#[test]
fn devices_without_a_driver_ends_with_1_and_says_where_it_looked() {
    let node = bare().without_driver().build().unwrap();
    let output = run(&node, &["devices"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("libnvidia-ml.so.1"), "{}", text(&output.stderr));
}

#[test]
fn help_shows_paths_behaviour_and_examples() {
    let node = bare().without_driver().build().unwrap();
    let help = text(&run(&node, &["--help"]).stdout);
    for part in
        ["Paths:", "Behaviour:", "Runtime:", "Examples:", "--cdi-proof", "GANTRY_KUBELET_SOCKET", "9401"]
    {
        assert!(help.contains(part), "{part} is missing:\n{help}");
    }
}

#[test]
fn completions_know_the_flags() {
    let node = bare().without_driver().build().unwrap();
    let output = run(&node, &["completions", "bash"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("--driver-root"));
}

#[test]
fn check_says_of_a_config_file_what_is_wrong_and_where() {
    let node = bare().build().unwrap();
    let file = node.run_dir().join("config.yaml");
    let check = |content: &str, more: &[&str]| {
        std::fs::write(&file, content).unwrap();
        let mut arguments = vec!["check", file.to_str().unwrap()];
        arguments.extend(more);
        let output = run(&node, &arguments);
        (output.status.code(), text(&output.stdout))
    };
    let (code, said) = check("sharing: {timeSlicing: {resources: [{name: gpu, replicas: 2}]}}", &[]);
    assert_eq!((code, said.trim_end().ends_with("is a valid config")), (Some(0), true), "{said}");
    let (code, said) = check("version: v1\nflags:\n  renameByDefault: true\n", &[]);
    assert_eq!(code, Some(2));
    assert!(
        said.contains("error: line 3, flags.renameByDefault: ") && said.contains("timeSlicing"),
        "{said}"
    );
    let (code, said) = check("flags: {colour: red}", &["--compat", "--output", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&told["valid"], &told["warnings"][0]["path"]), (&true.into(), &"flags.colour".into()));
    let output = run(&node, &["check", "/no/such/file"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot read /no/such/file"));
}

#[test]
fn config_is_explained_alike_on_the_node_and_by_its_inventory() {
    let node = bare().build().unwrap();
    let config = node.dir().join("config.yaml");
    std::fs::write(
        &config,
        "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, rename: a.b/c, replicas: 4}]}}\n",
    )
    .unwrap();
    let inventory = node.dir().join("inventory.json");
    std::fs::write(&inventory, run(&node, &["devices", "--output=json"]).stdout).unwrap();
    let config = config.to_str().unwrap();
    let live = run(&node, &["explain", "--config", config]);
    let (told, error) = (text(&live.stdout), text(&live.stderr));
    assert_eq!(live.status.code(), Some(0), "{error}");
    let first = gpus(&node)[0].clone();
    assert!(told.starts_with("a.b/c: 32 ids of 8 devices\n"), "{told}");
    assert!(told.contains(&format!("CDI device  gantry.dev/gpu={first}\n")), "{told}");
    let noted = run(&node, &["explain", "--config", config, "--node", inventory.to_str().unwrap()]);
    assert_eq!(text(&noted.stdout), told, "{}", text(&noted.stderr));
    let refused =
        run(&node, &["explain", "--config", config, "--output=json", "--mig-strategy=mixed", "--compat"]);
    assert_eq!(refused.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(json["resources"][0]["name"], "nvidia.com/gpu");
    std::fs::write(config, "version: v7\n").unwrap();
    assert_eq!(run(&node, &["explain", "--config", config]).status.code(), Some(2));
}
