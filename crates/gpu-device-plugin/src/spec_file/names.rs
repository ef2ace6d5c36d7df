//! Names of the spec whose GPU or MIG device is gone: the kubelet may start a container again that was given one, and a
//! name that does not resolve fails it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cdi::Spec;
use gpu_model::{Gpu, GpuUuid, Inventory, MigUuid};
use node_host::LocalPath;

/// Names that are kept at most; the oldest go first. A node has at most a few hundred devices at a time.
const MAX_GONE: usize = 1024;

/// What was there before.
#[derive(Debug, Default)]
pub struct Gone {
    /// The GPUs that were listed, with the MIG devices that may still be there although they could not be read since.
    seen: BTreeMap<GpuUuid, Gpu>,
    /// UUIDs that a spec named; none before that of an earlier process was looked at.
    known: Option<BTreeSet<String>>,
    /// Those of them that are not listed, in the order in which they were missed first.
    names: VecDeque<String>,
}

impl Gone {
    /// Takes a new look at the driver into account.
    pub fn note(&mut self, inventory: &Inventory, dir: &LocalPath) {
        for gpu in &inventory.gpus {
            let before = self.seen.insert(gpu.uuid.clone(), gpu.clone());
            let (Some(before), Some(now)) = (before, self.seen.get_mut(&gpu.uuid)) else { continue };
            if !gpu.mig_failures.is_empty() {
                let listed = |uuid: &MigUuid| gpu.mig_devices.iter().any(|part| part.uuid == *uuid);
                now.mig_devices.extend(before.mig_devices.into_iter().filter(|part| !listed(&part.uuid)));
            }
        }
        let known = self.known.get_or_insert_with(|| left_in(dir));
        let listed: BTreeSet<&str> = inventory.gpus.iter().flat_map(names_of).collect();
        self.names.retain(|name| !listed.contains(name.as_str()));
        let missed: Vec<String> = known
            .iter()
            .filter(|name| !listed.contains(name.as_str()) && !self.names.contains(name))
            .cloned()
            .collect();
        self.names.extend(missed);
        let excess = self.names.len().saturating_sub(MAX_GONE);
        for name in self.names.drain(..excess) {
            known.remove(&name);
        }
    }

    /// A spec was written.
    pub fn written(&mut self, spec: &Spec) {
        // One that lacks a node for a moment stands in no spec, and in the next one again.
        self.known.get_or_insert_default().extend(uuids(spec));
    }

    /// The GPUs as they were when they were last listed.
    pub fn seen(&self) -> impl Iterator<Item = &Gpu> {
        self.seen.values()
    }

    /// The names that must resolve although nothing is known of what they named.
    pub fn names(&self) -> &VecDeque<String> {
        &self.names
    }
}

fn names_of(gpu: &Gpu) -> impl Iterator<Item = &str> {
    std::iter::once(gpu.uuid.as_str()).chain(gpu.mig_devices.iter().map(|part| part.uuid.as_str()))
}

fn uuids(spec: &Spec) -> BTreeSet<String> {
    let names = spec.devices.iter().map(|device| device.name.clone());
    names.filter(|name| name.parse::<GpuUuid>().is_ok() || name.parse::<MigUuid>().is_ok()).collect()
}

/// The names in the spec that an earlier process left. Whatever cannot be read has none.
fn left_in(dir: &LocalPath) -> BTreeSet<String> {
    let read = || {
        let kind = gpu_model::names::CDI_KIND_GPU.parse().ok()?;
        let text = std::fs::read(dir.join(cdi::file_name(&kind))).ok()?;
        Spec::parse(&text).ok()
    };
    read().map(|spec| uuids(&spec)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gpu_model::{DriverVersions, MigDevice, MigFailure, Reading};

    use super::*;
    use crate::state::tests::bare_gpu;

    fn part(number: u32) -> MigDevice {
        MigDevice {
            uuid: format!("MIG-00000000-0000-0000-0000-0000000000{number:02x}").parse().unwrap(),
            index: number,
            gpu_instance: number,
            compute_instance: 0,
            profile: "1g.10gb".parse().unwrap(),
            memory_bytes: Reading::NotSupported,
            attributes: gpu_model::MigAttributes::default(),
        }
    }

    fn inventory(parts: &[u32], unread: &[u32]) -> Inventory {
        let call = || "nvmlDeviceGetUUID".to_owned();
        let failure = |index: &u32| MigFailure { index: Some(*index), call: call(), code: 999 };
        let gpu = Gpu {
            mig_devices: parts.iter().map(|number| part(*number)).collect(),
            mig_failures: unread.iter().map(failure).collect(),
            ..bare_gpu(0)
        };
        let driver =
            DriverVersions { driver: String::new(), nvml: String::new(), cuda: Reading::NotSupported };
        Inventory { driver, gpus: vec![gpu], failures: Vec::new() }
    }

    /// A spec with these names.
    fn spec(names: &[String]) -> Spec {
        let device = |name: &String| format!(r#"{{"name":"{name}","containerEdits":{{"env":["A=b"]}}}}"#);
        let devices = names.iter().map(device).collect::<Vec<_>>().join(",");
        let text = format!(r#"{{"cdiVersion":"0.3.0","kind":"gantry.dev/gpu","devices":[{devices}]}}"#);
        Spec::parse(text.as_bytes()).unwrap()
    }

    fn uuid(number: u32) -> String {
        part(number).uuid.to_string()
    }

    #[test]
    fn name_that_an_earlier_process_wrote_is_kept_until_its_device_is_back() {
        let folder = tempfile::tempdir().unwrap();
        let dir = LocalPath::new(folder.path());
        cdi::write(&dir, &spec(&[uuid(1), uuid(2), "all".to_owned()])).unwrap();
        let mut gone = Gone::default();
        gone.note(&inventory(&[1], &[]), &dir);
        assert_eq!(*gone.names(), [uuid(2)]);
        gone.written(&spec(&[uuid(1)]));
        gone.note(&inventory(&[2], &[]), &dir);
        assert_eq!(*gone.names(), [uuid(1)]);
    }

    #[test]
    fn oldest_names_go_when_there_are_too_many() {
        let folder = tempfile::tempdir().unwrap();
        let dir = LocalPath::new(folder.path());
        let name = |number: usize| format!("MIG-00000000-0000-0000-0000-{number:012x}");
        let mut gone = Gone::default();
        gone.written(&spec(&[name(0)]));
        gone.note(&inventory(&[], &[]), &dir);
        gone.written(&spec(&(1..=MAX_GONE).map(name).collect::<Vec<_>>()));
        gone.note(&inventory(&[], &[]), &dir);
        assert_eq!(gone.names().len(), MAX_GONE);
        assert!(!gone.names().contains(&name(0)));
    }

    #[test]
    fn mig_device_is_remembered_while_its_gpu_cannot_tell_all_of_them() {
        let dir = LocalPath::new("/nonexistent");
        let parts = |gone: &Gone| {
            gone.seen().flat_map(|gpu| &gpu.mig_devices).map(|part| part.index).collect::<Vec<_>>()
        };
        let mut gone = Gone::default();
        gone.note(&inventory(&[1, 2], &[]), &dir);
        gone.note(&inventory(&[2], &[1]), &dir);
        assert_eq!(parts(&gone), [2, 1]);
        gone.note(&inventory(&[2], &[]), &dir);
        assert_eq!(parts(&gone), [2]);
    }
}
