//! The floors of the workspace: which crate may depend on which, and who may know what.
//!
//! A new crate enters here, with its floor, before it builds.

use super::Problem;
use super::manifests::{Dependency, Kind, Manifest};

/// Where a crate stands. Arrows go down only, except for the listed edges inside floor 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    /// Vocabulary and rules: pure.
    Rules,
    /// One outside thing each.
    Edge,
    /// Daemons.
    Daemon,
    /// Simulators, fakes, harnesses and tools.
    Test,
}

/// Every crate and its floor.
const FLOORS: &[(&str, Floor)] = &[
    ("gpu-config", Floor::Rules),
    ("gpu-health", Floor::Rules),
    ("gpu-model", Floor::Rules),
    ("cdi", Floor::Edge),
    ("config-file", Floor::Edge),
    ("daemon", Floor::Edge),
    ("file-watch", Floor::Edge),
    ("kubelet-api", Floor::Edge),
    ("node-api", Floor::Edge),
    ("node-contract", Floor::Edge),
    ("node-driver", Floor::Edge),
    ("node-host", Floor::Edge),
    ("nvml", Floor::Edge),
    ("worker", Floor::Edge),
    ("gpu-device-plugin", Floor::Daemon),
    ("gpu-feature-discovery", Floor::Daemon),
    ("bench", Floor::Test),
    ("clock-shim", Floor::Test),
    ("corpus", Floor::Test),
    ("demo", Floor::Test),
    ("fake-apiserver", Floor::Test),
    ("fake-kubelet", Floor::Test),
    ("golden", Floor::Test),
    ("history", Floor::Test),
    ("integration-tests", Floor::Test),
    ("metrics-page", Floor::Test),
    ("nvml-probe", Floor::Test),
    ("nvml-sim", Floor::Test),
    ("nvml-sim-abi", Floor::Test),
    ("sim-node", Floor::Test),
    ("test-cluster", Floor::Test),
    ("xtask", Floor::Test),
];

/// The allowed edges among the crates of floor 1: (who, whom).
const EDGES_BETWEEN_EDGES: &[(&str, &str)] = &[
    ("cdi", "node-host"),
    ("config-file", "daemon"),
    ("config-file", "file-watch"),
    ("config-file", "node-host"),
    ("file-watch", "daemon"),
    ("file-watch", "node-host"),
    ("node-contract", "node-host"),
    ("node-driver", "daemon"),
    ("node-driver", "node-host"),
    ("node-driver", "nvml"),
    ("nvml", "worker"),
];

/// Who may depend on a crate that only some may know: (crate, its users, reason).
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("kube", &["node-api"], "only node-api speaks to the Kubernetes API"),
    ("k8s-openapi", &["node-api"], "only node-api speaks to the Kubernetes API"),
    (
        "nvml-wrapper",
        &["nvml", "nvml-sim-abi"],
        "only nvml knows the binding, and the simulated library is held to it",
    ),
    (
        "nvml-wrapper-sys",
        &["nvml", "nvml-probe", "nvml-sim-abi"],
        "only nvml, the simulated library and its probe know the C types",
    ),
];

/// External crates that floor 0 may use: values, text and errors, no I/O.
const PURE: &[&str] = &[
    "schemars",
    "serde",
    "serde-saphyr",
    "serde_ignored",
    "serde_json",
    "serde_path_to_error",
    "strsim",
    "thiserror",
];

/// What a crate must not know that its floor would allow: ARCHITECTURE.md's column "must not know". (who, whom, reason)
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("kubelet-api", "gpu-model", "it knows the kubelet's messages, not what they mean"),
    ("worker", "gpu-model", "it knows a child process, no GPU"),
    ("config-file", "gpu-model", "it knows what is in force, not what follows from it"),
    ("daemon", "gpu-model", "every daemon has it, also one without GPUs"),
    ("node-api", "gpu-model", "it knows Nodes and labels, not what GPUs are"),
    ("fake-apiserver", "node-api", "it is to judge the client, as the real API server does"),
    ("fake-kubelet", "gpu-device-plugin", "it is to judge the plugin, as the real kubelet does"),
    ("history", "gpu-device-plugin", "it is to judge the plugin"),
    ("history", "nvml-sim", "what is broken, the test says that breaks it"),
    ("xtask", "tokio", "it is built before everything else, and shall be small"),
];

/// Checks a crate's dependencies against the floors.
pub fn check(manifest: &Manifest) -> Vec<Problem> {
    let name = manifest.name.as_str();
    let Some(floor) = floor_of(name) else {
        return vec![Problem::new(
            &manifest.path,
            0,
            format!("crate {name} has no floor: add it to FLOORS in xtask/src/tidy/floors.rs"),
        )];
    };
    let broken =
        |dependency: &Dependency| known(name, dependency).or_else(|| placed(name, floor, dependency));
    let messages = manifest.dependencies.iter().filter_map(broken);
    messages.map(|message| Problem::new(&manifest.path, 0, message)).collect()
}

/// True for a crate whose code is pure.
pub fn is_pure(name: &str) -> bool {
    floor_of(name) == Some(Floor::Rules)
}

fn floor_of(name: &str) -> Option<Floor> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

/// Rules on who may know what, which hold for tests and build scripts, too.
fn known(name: &str, dependency: &Dependency) -> Option<String> {
    let whom = dependency.name.as_str();
    if let Some((_, users, reason)) = RESERVED.iter().find(|(reserved, _, _)| *reserved == whom)
        && !users.contains(&name)
    {
        return Some(format!("{name} must not depend on {whom}: {reason}"));
    }
    if let Some((_, _, reason)) = FORBIDDEN.iter().find(|(who, what, _)| (*who, *what) == (name, whom)) {
        return Some(format!("{name} must not depend on {whom}: {reason}"));
    }
    // It is an oracle only as long as it is independent.
    let production = matches!(floor_of(whom), Some(Floor::Rules | Floor::Edge | Floor::Daemon));
    (name.starts_with("nvml-sim") && production)
        .then(|| format!("{name} must not know {whom}: a shared table would make both wrong together"))
}

/// Rules on floors. Tests may use what stands above.
fn placed(name: &str, floor: Floor, dependency: &Dependency) -> Option<String> {
    if dependency.kind == Kind::Development {
        return None;
    }
    let whom = dependency.name.as_str();
    match (floor, floor_of(whom)) {
        (Floor::Rules, None) if !PURE.contains(&whom) => {
            Some(format!("{name} is pure: {whom} is not in its list of allowed crates"))
        }
        (Floor::Rules, Some(Floor::Edge | Floor::Daemon)) | (Floor::Edge, Some(Floor::Daemon)) => {
            Some(format!("{name} must not depend on {whom}, which stands above it"))
        }
        (Floor::Edge, Some(Floor::Edge)) if !EDGES_BETWEEN_EDGES.contains(&(name, whom)) => {
            Some(format!("{name} -> {whom} is not an allowed edge inside floor 1"))
        }
        (Floor::Daemon, Some(Floor::Daemon)) => Some(format!("{name} must not depend on the daemon {whom}")),
        (Floor::Rules | Floor::Edge | Floor::Daemon, Some(Floor::Test)) => {
            Some(format!("{name} must not depend on {whom}: the test floor is for tests"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn messages(name: &str, dependencies: &str) -> Vec<String> {
        let text = format!("[package]\nname = '{name}'\n{dependencies}");
        check(&Manifest::parse(Path::new("Cargo.toml"), &text).unwrap())
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    fn in_table(table: &str, name: &str, dependency: &str) -> Vec<String> {
        messages(name, &format!("[{table}]\n{dependency}.workspace = true\n"))
    }

    fn refuses(name: &str, dependency: &str, because: &str) {
        let mut tables = vec!["dependencies", "build-dependencies", "target.'cfg(unix)'.dependencies"];
        if known(name, &Dependency::new(dependency, Kind::Development)).is_some() {
            tables.push("dev-dependencies");
        }
        for table in tables {
            let found = in_table(table, name, dependency);
            assert!(
                found.len() == 1 && found[0].contains(because),
                "{name} -> {dependency} in {table}: wanted one {because:?}, found {found:?}"
            );
        }
    }

    fn allows(table: &str, name: &str, dependency: &str) {
        assert_eq!(in_table(table, name, dependency), Vec::<String>::new(), "{name} -> {dependency}");
    }

    #[test]
    fn crate_without_a_floor_is_found() {
        assert!(messages("newcomer", "")[0].contains("has no floor"));
    }

    #[test]
    fn floor_0_with_a_runtime_or_a_crate_above_it_is_found() {
        refuses("gpu-model", "tokio", "is pure");
        refuses("gpu-model", "node-host", "stands above it");
        refuses("gpu-model", "gpu-device-plugin", "stands above it");
        refuses("gpu-model", "sim-node", "the test floor is for tests");
        allows("dependencies", "gpu-model", "serde");
    }

    #[test]
    fn floor_1_edge_that_is_not_listed_is_found() {
        refuses("daemon", "nvml", "not an allowed edge");
        refuses("nvml", "gpu-device-plugin", "stands above it");
        allows("dependencies", "nvml", "worker");
    }

    #[test]
    fn production_that_depends_on_the_test_floor_is_found() {
        refuses("gpu-device-plugin", "sim-node", "the test floor is for tests");
        refuses("nvml", "nvml-sim", "the test floor is for tests");
        allows("dev-dependencies", "nvml", "nvml-sim");
    }

    #[test]
    fn binding_or_cluster_client_outside_its_crate_is_found_in_tests_too() {
        for reserved in ["kube", "k8s-openapi"] {
            refuses("gpu-device-plugin", reserved, "only node-api");
        }
        for reserved in ["nvml-wrapper", "nvml-wrapper-sys"] {
            refuses("gpu-device-plugin", reserved, "only nvml");
        }
        assert_eq!(in_table("dev-dependencies", "sim-node", "nvml-wrapper").len(), 1);
        allows("dependencies", "nvml-sim-abi", "nvml-wrapper-sys");
    }

    #[test]
    fn crate_that_knows_what_it_must_not_is_found() {
        for (who, whom, reason) in FORBIDDEN {
            refuses(who, whom, reason);
        }
    }

    #[test]
    fn daemon_inside_a_daemon_is_found() {
        refuses("gpu-device-plugin", "gpu-device-plugin", "the daemon");
    }

    #[test]
    fn simulator_that_sees_production_even_in_tests_is_found() {
        for production in ["gpu-model", "nvml", "node-contract", "gpu-device-plugin"] {
            refuses("nvml-sim", production, "a shared table");
            refuses("nvml-sim-abi", production, "a shared table");
        }
        allows("dev-dependencies", "nvml-sim-abi", "nvml-sim");
    }
}
