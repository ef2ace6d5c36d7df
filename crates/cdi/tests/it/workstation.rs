//! The spec of a machine that has everything: a display, graphics, daemons, companions of GPUs, hooks.

use cdi::builder::{ALL, build};
use cdi::{Spec, Version};

use crate::fixture::{nothing_kept, workstation};
use crate::full_gpus::assert_golden;

#[test]
fn spec_of_a_workstation_with_hooks_is_the_golden_document() {
    let (inventory, host) = workstation();
    let spec = build(&inventory, &nothing_kept(), &host).unwrap().spec;
    assert_golden("workstation-hooks.json", &spec);
    assert_eq!(Spec::parse(spec.to_json().unwrap().as_bytes()).unwrap(), spec);
}

#[test]
fn display_that_is_closed_to_others_needs_no_newer_format() {
    let (inventory, host) = workstation();
    assert_eq!(build(&inventory, &nothing_kept(), &host).unwrap().spec.cdi_version, Version::V0_3_0);
}

#[test]
fn companions_are_devices_of_their_own_and_in_no_other() {
    let (inventory, mut host) = workstation();
    let spec = build(&inventory, &nothing_kept(), &host).unwrap().spec;
    let names: Vec<_> = spec.devices.iter().map(|device| device.name.as_str()).collect();
    let gpu = inventory.gpus[0].uuid.as_str();
    assert_eq!(names, [gpu, ALL, "gds", "gdrcopy", "mofed", "imex-channel0"]);
    host.companions = Default::default();
    let spec = build(&inventory, &nothing_kept(), &host).unwrap().spec;
    assert_eq!(spec.devices.iter().map(|device| device.name.as_str()).collect::<Vec<_>>(), [gpu, ALL]);
}

#[test]
fn spec_without_a_hook_program_runs_nothing() {
    let (inventory, mut host) = workstation();
    host.hook = None;
    let spec = build(&inventory, &nothing_kept(), &host).unwrap().spec;
    let hooks = spec.devices.iter().map(|device| device.container_edits.hooks.len()).sum::<usize>();
    assert_eq!(hooks + spec.container_edits.hooks.len(), 0);
}

#[test]
fn hooks_of_the_larger_program_stand_one_level_below() {
    let (inventory, mut host) = workstation();
    host.hook = Some("/usr/bin/nvidia-ctk".parse().unwrap());
    let spec = build(&inventory, &nothing_kept(), &host).unwrap().spec;
    assert_eq!(spec.container_edits.hooks[0].args[..3], ["nvidia-ctk", "hook", "enable-cuda-compat"]);
}
