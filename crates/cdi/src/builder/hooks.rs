//! Calls of NVIDIA's program for hooks, which somebody else installs. Its commands and their arguments: NVIDIA's
//! container toolkit 1.18.

use std::collections::BTreeSet;

use node_host::{DriverFiles, HostPath};

use crate::spec::Hook;

/// When: in the container's file system, before the container sees it.
const WHEN: &str = "createContainer";

/// An image's newer CUDA may take the place of the driver's; the loader's cache knows the mounted libraries; and programs
/// of the driver do not try to make device nodes.
pub(super) fn of_driver(program: &HostPath, driver: &DriverFiles, folders: &[String]) -> Vec<Hook> {
    let version = format!("--host-driver-version={}", driver.version);
    let folders = folders.iter().flat_map(|folder| ["--folder".to_owned(), folder.clone()]);
    vec![
        hook(program, "enable-cuda-compat", [version]),
        hook(program, "update-ldcache", folders),
        hook(program, "disable-device-node-modification", []),
    ]
}

/// One call that makes links, each of target and name; none where there is nothing to link.
pub(super) fn links(program: &HostPath, links: &BTreeSet<(String, String)>) -> Vec<Hook> {
    if links.is_empty() {
        return Vec::new();
    }
    let links = links.iter().flat_map(|(target, name)| ["--link".to_owned(), format!("{target}::{name}")]);
    vec![hook(program, "create-symlinks", links)]
}

fn hook(program: &HostPath, command: &str, arguments: impl IntoIterator<Item = String>) -> Hook {
    let own_name = program.as_str().rsplit('/').next().unwrap_or_default();
    // `nvidia-ctk` has the same commands one level below.
    let begin =
        if own_name == "nvidia-ctk" { vec![own_name, "hook", command] } else { vec![own_name, command] };
    Hook {
        hook_name: WHEN.to_owned(),
        path: program.clone(),
        args: begin.into_iter().map(str::to_owned).chain(arguments).collect(),
        env: vec!["NVIDIA_CTK_DEBUG=false".to_owned()],
        timeout: None,
    }
}
