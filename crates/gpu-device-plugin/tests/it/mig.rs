//! A node whose GPU is cut in parts, and cut anew while the plugin runs.

use std::path::Path;

use sim_node::SimNode;

use crate::harness::{bare, eventually, start_plugin};

const NODE: &str = r#"
seed: mig
driver: {version: 580.95.05, cuda: "13.0"}
gpus:
  - {model: H100-SXM5-80GB, pci: "0000:07:00.0", numa: 0, pcie: 0/0/0/0, mig-instances: [1g.10gb@0, 3g.40gb@4]}
"#;

/// The device nodes that a container gets by each UUID in the spec, control nodes apart.
fn nodes_by_uuid(node: &SimNode) -> Result<Vec<(String, Vec<String>)>, String> {
    let path = node.cdi_dir().join("gantry.dev-gpu.json");
    let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let spec = cdi::Spec::parse(&text).map_err(|error| error.to_string())?;
    let devices = spec.devices.into_iter().filter(|device| device.name != "all");
    let paths = |device: cdi::Device| {
        let nodes = device.container_edits.device_nodes.into_iter().map(|node| node.path);
        (device.name, nodes.collect())
    };
    Ok(devices.map(paths).collect())
}

/// The MIG devices' UUIDs, by GPU instance.
fn parts(node: &SimNode) -> Vec<(u32, String)> {
    let state = node.driver().state().unwrap();
    let instances = state.mig.gpus.values().flat_map(|gpu| &gpu.instances);
    let uuids =
        instances.flat_map(|(id, instance)| instance.compute.values().map(|part| (*id, part.uuid.clone())));
    uuids.collect()
}

#[test]
fn spec_follows_the_partitioning_and_keeps_the_names_of_parts_that_are_gone() {
    let node = bare().yaml(NODE).build().unwrap();
    let _plugin = start_plugin(&node, &["--probe-interval=1s"]);
    let before = parts(&node);
    let [(2, large), (7, small)] = before.as_slice() else { panic!("{before:?}") };
    let caps_of = |uuid: &str| {
        let spec = nodes_by_uuid(&node)?;
        let device = spec.iter().find(|(name, _)| name == uuid);
        let paths = device.ok_or_else(|| format!("{uuid} is not in {spec:?}"))?.1.clone();
        Ok::<_, String>(paths.into_iter().filter(|path| path.contains("nvidia-caps/")).collect::<Vec<_>>())
    };
    let caps = eventually("both parts in the spec", || Ok::<_, String>([caps_of(large)?, caps_of(small)?]));
    assert!(caps.iter().all(|caps| caps.len() == 2), "{caps:?}");
    let is_there = |path: &String| node.root().join(Path::new(path).strip_prefix("/").unwrap()).exists();
    assert!(caps.iter().flatten().all(is_there), "{caps:?}");

    let split = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| {
        mig.destroy_compute(gpu, 7, 0)?;
        mig.create_compute(gpu, 7, 0, None)?;
        mig.destroy_compute(gpu, 2, 0)?;
        mig.destroy(gpu, 2)?;
        let instance = mig.create(gpu, 14, Some((4, 2)))?;
        mig.create_compute(gpu, instance, 1, None)
    };
    node.driver().change_mig("0", split).unwrap();
    let after = parts(&node);
    let (_, new) = after.iter().find(|(_, uuid)| uuid != small).unwrap();
    eventually("the new part in the spec, and the old one's name", || {
        match (caps_of(new)?, caps_of(large)?) {
            (new, old) if new.len() == 2 && old.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}
