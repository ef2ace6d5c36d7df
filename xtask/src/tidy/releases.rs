//! One Kubernetes release: in the cluster of the tests, in the module that our protocol files are compared with, and in
//! the text that says which release they match.

use std::path::Path;

use super::Problem;

/// The test cluster's programs.
pub const CLUSTER: &str = "crates/test-cluster/tools/kubernetes/go.mod";
/// The protocols' comparison.
pub const COMPARISON: &str = "integration-tests/descriptors/go.mod";
/// The protocols' documentation.
pub const PROTOCOLS: &str = "proto/README.md";

/// Checks that all three texts name one release. The Go module k8s.io/kubelet has v0 where Kubernetes has v1.
pub fn check(cluster: &str, comparison: &str, protocols: &str) -> Vec<Problem> {
    let release = word_after(cluster, "k8s.io/kubernetes v1.");
    let Some(release) = release else {
        return vec![Problem::new(Path::new(CLUSTER), 0, "requires no k8s.io/kubernetes v1")];
    };
    let minor = release.split('.').next().unwrap_or_default();
    let names = [
        (COMPARISON, comparison, format!("k8s.io/kubelet v0.{release}")),
        (PROTOCOLS, protocols, format!("`k8s.io/kubelet` v0.{release})")),
        (PROTOCOLS, protocols, format!("**Kubernetes 1.{minor}**")),
    ];
    names
        .into_iter()
        .filter(|(_, text, wanted)| !text.contains(wanted))
        .map(|(path, _, wanted)| {
            Problem::new(Path::new(path), 0, format!("does not name {wanted}, the release of {CLUSTER}"))
        })
        .collect()
}

fn word_after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTERS: &str = "require (\n\tk8s.io/kubernetes v1.37.2 // indirect\n)\n";
    const COMPARED: &str = "require k8s.io/kubelet v0.37.2\n";
    const TOLD: &str = "They match **Kubernetes 1.37** (Go module `k8s.io/kubelet` v0.37.2).\n";

    #[test]
    fn release_that_all_name_passes() {
        assert_eq!(check(CLUSTERS, COMPARED, TOLD), []);
    }

    #[test]
    fn release_that_one_names_differently_is_found_with_its_file() {
        let places = |problems: Vec<Problem>| -> Vec<String> {
            problems.into_iter().map(|problem| problem.path.display().to_string()).collect()
        };
        assert_eq!(places(check(CLUSTERS, &COMPARED.replace("37.2", "37.1"), TOLD)), [COMPARISON]);
        assert_eq!(places(check(CLUSTERS, COMPARED, &TOLD.replace("37.2", "37.20"))), [PROTOCOLS]);
        assert_eq!(places(check(CLUSTERS, COMPARED, &TOLD.replace("1.37*", "1.36*"))), [PROTOCOLS]);
        assert_eq!(places(check(&CLUSTERS.replace("37", "38"), COMPARED, TOLD)).len(), 3);
        assert_eq!(places(check("", COMPARED, TOLD)), [CLUSTER]);
    }
}
