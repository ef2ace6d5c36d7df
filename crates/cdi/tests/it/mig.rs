//! The spec of MIG devices, and names that stay resolvable after what they named is gone.

use cdi::Spec;
use cdi::builder::{ALL, Kept, MANAGEMENT, build};
use gpu_model::{MigFailure, Reading};

use crate::fixture::{capability, kept, node, nothing_kept, part, partitioned, partitioned_host};
use crate::full_gpus::assert_golden;

/// The nodes that a device of a spec brings by itself.
fn paths(spec: &Spec, name: &str) -> Vec<String> {
    let device = spec.devices.iter().find(|device| device.name == name);
    let nodes = &device.unwrap().container_edits.device_nodes;
    nodes.iter().map(|node| node.path.clone()).collect()
}

fn cap(instance: u32, compute: Option<u32>) -> String {
    format!("/dev/nvidia-caps/nvidia-cap{}", capability(0, instance, compute))
}

#[test]
fn spec_of_a_partitioned_gpu_is_the_golden_document() {
    let built = build(&partitioned(), &nothing_kept(), &partitioned_host()).unwrap();
    assert!(built.left_out.is_empty() && built.mig_left_out.is_empty(), "{built:?}");
    assert_golden("mig-mixed.json", &built.spec);
    assert_eq!(Spec::parse(built.spec.to_json().unwrap().as_bytes()).unwrap(), built.spec);
}

#[test]
fn mig_device_has_its_gpu_and_its_two_capabilities_and_no_other_node() {
    let inventory = partitioned();
    let spec = build(&inventory, &nothing_kept(), &partitioned_host()).unwrap().spec;
    for (device, caps) in inventory.gpus[0].mig_devices.iter().zip([(2, 0), (2, 1), (7, 0)]) {
        let expected = ["/dev/nvidia0".to_owned(), cap(caps.0, None), cap(caps.0, Some(caps.1))];
        assert_eq!(paths(&spec, device.uuid.as_str()), expected);
    }
    assert_eq!(paths(&spec, inventory.gpus[1].uuid.as_str()), ["/dev/nvidia1"]);
}

#[test]
fn partitioned_gpu_as_a_whole_has_all_its_parts_and_so_has_all() {
    let inventory = partitioned();
    let spec = build(&inventory, &nothing_kept(), &partitioned_host()).unwrap().spec;
    let caps = [cap(2, None), cap(2, Some(0)), cap(2, Some(1)), cap(7, None), cap(7, Some(0))];
    let with =
        |gpus: &[&str]| gpus.iter().map(|gpu| (*gpu).to_owned()).chain(caps.clone()).collect::<Vec<_>>();
    assert_eq!(paths(&spec, inventory.gpus[0].uuid.as_str()), with(&["/dev/nvidia0"]));
    assert_eq!(paths(&spec, ALL), with(&["/dev/nvidia0", "/dev/nvidia1"]));
}

#[test]
fn management_has_every_gpu_listed_or_not_and_every_capability_where_it_is_wanted() {
    let mut inventory = partitioned();
    inventory.gpus.truncate(1);
    let mut host = partitioned_host();
    host.nodes.capabilities.insert(0, node("/dev", "nvidia-caps/nvidia-cap1", 237, 1));
    host.nodes.usable.retain(|node| node.gpu_minor().is_none_or(|minor| minor < 2));
    let device = |spec: &Spec| spec.devices.iter().any(|device| device.name == MANAGEMENT);
    assert!(!device(&build(&inventory, &nothing_kept(), &host).unwrap().spec));
    host.management = true;
    let spec = build(&inventory, &nothing_kept(), &host).unwrap().spec;
    let caps = [cap(2, None), cap(2, Some(0)), cap(2, Some(1)), cap(7, None), cap(7, Some(0))];
    let nodes = ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia-caps/nvidia-cap1"].map(str::to_owned);
    assert_eq!(paths(&spec, MANAGEMENT), nodes.into_iter().chain(caps).collect::<Vec<_>>());
}

#[test]
fn mig_device_without_a_capability_is_left_out_with_the_reason_and_the_others_stay() {
    let inventory = partitioned();
    let mut host = partitioned_host();
    let number = capability(0, 2, Some(1));
    host.nodes.capabilities.retain(|node| node.capability() != Some(number));
    let built = build(&inventory, &nothing_kept(), &host).unwrap();
    let device = &inventory.gpus[0].mig_devices[1].uuid;
    let why = format!("/dev/nvidia-caps/nvidia-cap{number} does not exist");
    assert_eq!(built.mig_left_out.into_iter().collect::<Vec<_>>(), [(device.clone(), why)]);
    assert_eq!(built.spec.devices.len(), 2 + 2 + 1);
    host.mig_minors = Default::default();
    let built = build(&inventory, &nothing_kept(), &host).unwrap();
    let reasons: Vec<_> = built.mig_left_out.into_values().collect();
    assert_eq!(reasons[0], "/proc/driver/nvidia-caps/mig-minors has no number of gpu0/gi2");
}

#[test]
fn gpu_without_a_node_leaves_its_mig_devices_out_too() {
    let mut inventory = partitioned();
    inventory.gpus[0].minor = Reading::NotSupported;
    let built = build(&inventory, &nothing_kept(), &partitioned_host()).unwrap();
    assert_eq!((built.left_out.len(), built.mig_left_out.len()), (1, 3));
}

#[test]
fn name_of_a_mig_device_that_is_gone_resolves_and_gives_no_instance_of_others() {
    let last = partitioned().gpus;
    let mut inventory = partitioned();
    // Another device has taken the place, and so its capabilities.
    inventory.gpus[0].mig_devices = vec![part(0, 7, "1g.10gb", 7, 0)];
    let spec = build(&inventory, &kept(&last), &partitioned_host()).unwrap().spec;
    for gone in &last[0].mig_devices {
        assert_eq!(paths(&spec, gone.uuid.as_str()), [] as [String; 0]);
    }
    // A runtime refuses a device without any edit.
    assert_eq!(Spec::parse(spec.to_json().unwrap().as_bytes()).unwrap(), spec);
}

#[test]
fn mig_device_that_cannot_be_read_for_now_keeps_its_nodes() {
    let last = partitioned().gpus;
    let mut inventory = partitioned();
    let unread = inventory.gpus[0].mig_devices.remove(0);
    let call = "nvmlDeviceGetUUID".to_owned();
    inventory.gpus[0].mig_failures = vec![MigFailure { index: Some(0), call, code: 999 }];
    let spec = build(&inventory, &kept(&last), &partitioned_host()).unwrap().spec;
    let expected = ["/dev/nvidia0".to_owned(), cap(2, None), cap(2, Some(0))];
    assert_eq!(paths(&spec, unread.uuid.as_str()), expected);
    // Unless its place is another's by now.
    inventory.gpus[0].mig_devices.push(part(0, 7, "1c.3g.40gb", 2, 0));
    let spec = build(&inventory, &kept(&last), &partitioned_host()).unwrap().spec;
    assert_eq!(paths(&spec, unread.uuid.as_str()), [] as [String; 0]);
}

#[test]
fn gpu_that_is_gone_keeps_its_node_until_another_has_its_number() {
    let last = partitioned().gpus;
    let mut inventory = partitioned();
    inventory.gpus.remove(1);
    let gone = last[1].uuid.as_str();
    let spec = build(&inventory, &kept(&last), &partitioned_host()).unwrap().spec;
    assert_eq!(paths(&spec, gone), ["/dev/nvidia1"]);
    assert!(!paths(&spec, ALL).contains(&"/dev/nvidia1".to_owned()));
    inventory.gpus[0].minor = Reading::Value(1);
    let spec = build(&inventory, &kept(&last), &partitioned_host()).unwrap().spec;
    assert_eq!(paths(&spec, gone), [] as [String; 0]);
}

#[test]
fn name_of_which_nothing_is_known_resolves_unless_it_is_a_listed_device_without_a_node() {
    let mut inventory = partitioned();
    inventory.gpus[0].minor = Reading::NotSupported;
    let unknown = ["GPU-aaaaaaaa-0000-4000-8000-000000000000", "MIG-aaaaaaaa-0000-4000-8000-000000000000"];
    let listed = [inventory.gpus[0].uuid.to_string(), inventory.gpus[0].mig_devices[0].uuid.to_string()];
    let names = unknown.map(str::to_owned).into_iter().chain(listed.clone()).chain(["no name".to_owned()]);
    let names = names.collect();
    let spec = build(&inventory, &Kept { gpus: &[], names: &names }, &partitioned_host()).unwrap().spec;
    for name in unknown {
        assert_eq!(paths(&spec, name), [] as [String; 0]);
    }
    let is_there = |name: &String| spec.devices.iter().any(|device| device.name == *name);
    assert!(!listed.iter().any(is_there));
    assert_eq!(Spec::parse(spec.to_json().unwrap().as_bytes()).unwrap(), spec);
}
