//! What NVIDIA ships works with our image: its DaemonSets as they are but for the image, started by its container runtime,
//! which gives pods what our plugin names.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use integration_tests::fetch;
use serde_json::{Value, json};

use crate::daemon::PLUGIN;
use crate::driver::Restored;
use crate::node::{Node, lock_own, text};
use crate::pod::{Order, Pod, assert_isolated};
use crate::simulation;
use crate::toolkit::{CLASS, Toolkit};

/// A DaemonSet of NVIDIA's on the node, until it goes out of scope.
struct Theirs<'a> {
    node: &'a Node,
    namespace: String,
    name: String,
}

impl<'a> Theirs<'a> {
    /// Applies one of the files of NVIDIA's plugin, with its image changed.
    ///
    /// Beside that, the container gets what stands for the hardware, and the RuntimeClass, since NVIDIA's runtime isn't the
    /// node's default. The device nodes of the simulated driver are not in the node's /dev, but below its root.
    fn apply(node: &'a Node, file: &Path) -> Result<Self> {
        let file = file.to_string_lossy();
        let mut theirs = node.kubectl.json(&["create", "--dry-run=client", "--filename", &file])?;
        let pod = &mut theirs["spec"]["template"]["spec"];
        pod["runtimeClassName"] = json!(CLASS);
        append(
            &mut pod["volumes"],
            json!({ "name": "simulation", "hostPath": { "path": simulation::FOLDER } }),
        );
        let container = &mut pod["containers"][0];
        container["image"] = json!(PLUGIN.image());
        for (name, value) in [("NVML_SIM_DIR", simulation::STATE), ("NVIDIA_DEV_ROOT", simulation::ROOT)] {
            append(&mut container["env"], json!({ "name": name, "value": value }));
        }
        append(
            &mut container["volumeMounts"],
            json!({ "name": "simulation", "mountPath": simulation::FOLDER }),
        );
        node.kubectl.apply(&theirs.to_string())?;
        let of = |key: &str| text(&theirs["metadata"][key]);
        Ok(Self { node, namespace: format!("--namespace={}", of("namespace")), name: of("name") })
    }

    /// What its program says.
    fn log(&self) -> Result<String> {
        self.node.kubectl.run(&["logs", &self.namespace, &format!("daemonset/{}", self.name)])
    }

    /// Waits for so many GPUs; what its program says is told when they don't come.
    fn wait_for_gpus(&self, capacity: usize, allocatable: usize) -> Result<()> {
        let gpus = self.node.wait_for_gpus(capacity, allocatable);
        gpus.with_context(|| {
            let pods = self.node.kubectl.run(&["describe", "pods", &self.namespace]).unwrap_or_default();
            format!("{}\n{pods}", self.log().unwrap_or_else(|error| error.to_string()))
        })
    }
}

fn append(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    } else {
        *list = json!([item]);
    }
}

impl Drop for Theirs<'_> {
    fn drop(&mut self) {
        let removed =
            self.node.kubectl.delete(&["daemonset", &self.name, &self.namespace, "--cascade=foreground"]);
        if let Err(error) = removed {
            eprintln!("remove {}: {error:#}", self.name);
        }
    }
}

// Fails if the image's program does not go by NVIDIA's name where a pod names no command, if the image does not ask for all
// GPUs (images/Containerfile), or if the compat face looks for the driver on a mounted host alone.
#[test]
fn daemonsets_of_nvidias_plugin_work_with_the_image_changed() {
    let Some(node) = lock_own("DaemonSets of NVIDIA's plugin") else { return };
    let _restored = Restored(&node);
    PLUGIN.remove(&node).unwrap();
    node.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0).unwrap();
    let _toolkit = Toolkit::install(&node).unwrap();
    let files = fetch::module_of("device-plugin", "github.com/NVIDIA/k8s-device-plugin");
    let minors = simulation::minors(&node).unwrap();

    // One without rights, and one that is privileged and passes device nodes: both under NVIDIA's defaults.
    for file in ["nvidia-device-plugin.yml", "nvidia-device-plugin-compat-with-cpumanager.yml"] {
        let theirs = Theirs::apply(&node, &files.join("deployments/static").join(file)).unwrap();
        theirs.wait_for_gpus(8, 8).unwrap();

        let order = Order { gpus: 2, libraries: true, hold: true, runtime: Some(CLASS), ..Order::default() };
        let pod = Pod::create(&node, &order).unwrap();
        pod.wait_for("Running").unwrap();
        let report = pod.report().unwrap();
        let given = pod.given().unwrap();
        let wanted: BTreeSet<String> = given.iter().map(|uuid| format!("nvidia{}", minors[uuid])).collect();
        assert_eq!(assert_isolated(&report, 2), wanted, "{file}");
        assert!(report.libraries.values().all(Option::is_some), "{file}: {report:?}");

        // Health is followed as under our own manifests.
        let sick = minors.iter().find(|(uuid, _)| !given.contains(*uuid)).map(|(_, minor)| *minor).unwrap();
        simulation::tell(&node, &["lose", &format!("--gpu={sick}")]).unwrap();
        theirs.wait_for_gpus(8, 7).unwrap();
        simulation::tell(&node, &["return", &format!("--gpu={sick}")]).unwrap();
        theirs.wait_for_gpus(8, 8).unwrap();

        drop((pod, theirs));
        node.wait_until_gpus("no GPU to be allocatable", |_, allocatable| allocatable == 0).unwrap();
    }
}
