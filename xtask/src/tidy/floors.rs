//! The floors of the workspace: which crate may depend on which, and who may know what.
//!
//! A new crate enters here, with its floor, before it builds.

use super::Problem;
use super::manifests::Manifest;

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
    ("gpu-model", Floor::Rules),
    ("cdi", Floor::Edge),
    ("daemon", Floor::Edge),
    ("kubelet-api", Floor::Edge),
    ("node-contract", Floor::Edge),
    ("node-host", Floor::Edge),
    ("nvml", Floor::Edge),
    ("worker", Floor::Edge),
    ("gpu-device-plugin", Floor::Daemon),
    ("bench", Floor::Test),
    ("demo", Floor::Test),
    ("fake-kubelet", Floor::Test),
    ("golden", Floor::Test),
    ("integration-tests", Floor::Test),
    ("nvml-sim", Floor::Test),
    ("nvml-sim-abi", Floor::Test),
    ("sim-node", Floor::Test),
    ("test-cluster", Floor::Test),
    ("xtask", Floor::Test),
];

/// The allowed edges among the crates of floor 1: (who, whom).
const EDGES_BETWEEN_EDGES: &[(&str, &str)] =
    &[("cdi", "node-host"), ("node-contract", "node-host"), ("nvml", "worker")];

/// Who may depend on a crate that only some may know: (crate, its users, reason).
const RESERVED: &[(&str, &[&str], &str)] = &[
    ("kube", &["node-api"], "only node-api speaks to the Kubernetes API"),
    ("k8s-openapi", &["node-api"], "only node-api speaks to the Kubernetes API"),
    ("nvml-wrapper", &["nvml"], "only nvml knows the binding"),
    ("nvml-wrapper-sys", &["nvml", "nvml-sim-abi"], "only nvml and the simulated library know the C types"),
];

/// External crates that floor 0 may use: values and errors, no I/O.
const PURE: &[&str] = &["serde", "thiserror"];

/// Crates that the simulated driver may never see: it is an oracle only as long as it is independent.
const HIDDEN_FROM_SIMULATOR: &[&str] = &["gpu-model", "nvml"];

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
    let mut problems: Vec<String> =
        manifest.dependencies.keys().filter_map(|dependency| broken(name, floor, dependency)).collect();
    if name.starts_with("nvml-sim") {
        let all = manifest.dependencies.keys().chain(manifest.other_dependencies.keys());
        problems.extend(all.filter(|dependency| HIDDEN_FROM_SIMULATOR.contains(&dependency.as_str())).map(
            |dependency| {
                format!("{name} must not know {dependency}: a shared table would make both wrong together")
            },
        ));
    }
    problems.into_iter().map(|message| Problem::new(&manifest.path, 0, message)).collect()
}

fn floor_of(name: &str) -> Option<Floor> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

fn broken(name: &str, floor: Floor, dependency: &str) -> Option<String> {
    if let Some((_, users, reason)) = RESERVED.iter().find(|(reserved, _, _)| *reserved == dependency)
        && !users.contains(&name)
    {
        return Some(format!("{name} must not depend on {dependency}: {reason}"));
    }
    let below = floor_of(dependency);
    match (floor, below) {
        (Floor::Rules, None) if !PURE.contains(&dependency) => {
            Some(format!("{name} is pure: {dependency} is not in its list of allowed crates"))
        }
        (Floor::Rules, Some(Floor::Edge | Floor::Daemon)) | (Floor::Edge, Some(Floor::Daemon)) => {
            Some(format!("{name} must not depend on {dependency}, which stands above it"))
        }
        (Floor::Edge, Some(Floor::Edge)) if !EDGES_BETWEEN_EDGES.contains(&(name, dependency)) => {
            Some(format!("{name} -> {dependency} is not an allowed edge inside floor 1"))
        }
        (Floor::Daemon, Some(Floor::Daemon)) => {
            Some(format!("{name} must not depend on the daemon {dependency}"))
        }
        (Floor::Rules | Floor::Edge | Floor::Daemon, Some(Floor::Test)) => {
            Some(format!("{name} must not depend on {dependency}: the test floor is for tests"))
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

    fn refuses(name: &str, dependency: &str) {
        let found = messages(name, &format!("[dependencies]\n{dependency}.workspace = true\n"));
        assert_eq!(found.len(), 1, "{name} -> {dependency}: {found:?}");
    }

    #[test]
    fn crate_without_a_floor_is_found() {
        assert!(messages("newcomer", "")[0].contains("has no floor"));
    }

    #[test]
    fn floor_0_with_a_runtime_or_a_crate_above_it_is_found() {
        refuses("gpu-model", "tokio");
        refuses("gpu-model", "node-host");
        assert_eq!(messages("gpu-model", "[dependencies]\nserde.workspace = true\n"), Vec::<String>::new());
    }

    #[test]
    fn floor_1_edge_that_is_not_listed_is_found() {
        refuses("daemon", "nvml");
        assert_eq!(messages("nvml", "[dependencies]\nworker.workspace = true\n"), Vec::<String>::new());
    }

    #[test]
    fn production_that_depends_on_the_test_floor_is_found() {
        refuses("gpu-device-plugin", "sim-node");
        refuses("nvml", "nvml-sim");
        assert_eq!(messages("nvml", "[dev-dependencies]\nnvml-sim.workspace = true\n"), Vec::<String>::new());
    }

    #[test]
    fn binding_or_cluster_client_outside_its_crate_is_found() {
        refuses("gpu-device-plugin", "kube");
        refuses("gpu-device-plugin", "nvml-wrapper");
    }

    #[test]
    fn daemon_inside_a_daemon_is_found() {
        assert!(broken("gpu-device-plugin", Floor::Daemon, "gpu-device-plugin").is_some());
    }

    #[test]
    fn simulator_that_sees_production_even_in_tests_is_found() {
        assert_eq!(messages("nvml-sim", "[dev-dependencies]\ngpu-model.workspace = true\n").len(), 1);
    }
}
