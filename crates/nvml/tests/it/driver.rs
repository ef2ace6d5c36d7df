//! Finding and losing the driver itself.

use std::sync::Arc;
use std::time::Duration;

use nvml::{Code, GpuAt, Library, Nvml, NvmlError, RoleState};
use nvml_sim::Effect;

use crate::node::{Node, block_on, eventually, gap, gone, pid_of};

crate::tests![
    missing_library_is_no_driver_with_the_reason_until_it_appears,
    file_that_is_no_library_is_no_driver_with_the_loaders_words,
    library_named_without_its_folder_is_refused,
    driver_not_loaded_at_init_is_no_driver_and_names_the_call,
    init_failing_otherwise_is_an_error_with_its_code,
    library_that_lost_its_driver_is_loaded_anew_by_the_next_call,
    shutdown_ends_the_worker_and_later_calls_fail,
    program_that_is_no_worker_is_an_error_and_not_a_hang,
    library_and_kernel_of_different_versions_are_told_apart_from_no_driver,
    driver_that_refuses_us_says_what_to_do,
    library_alone_does_not_make_its_folder_a_search_path,
    released_workers_are_gone_and_the_next_call_starts_another,
    gpus_that_are_left_alone_are_touched_by_nothing,
    suspicion_of_a_gpu_ends_with_its_driver,
    suspicion_of_a_watched_gpu_ends_with_its_driver,
];

fn missing_library_is_no_driver_with_the_reason_until_it_appears() {
    let node = Node::of("t4");
    node.uninstall();
    let nvml = node.nvml();
    for _ in 0..3 {
        let error = block_on(nvml.inventory()).unwrap_err();
        assert_eq!(error, NvmlError::NoDriver { reason: format!("no {}", node.library().display()) });
    }
    assert_eq!(nvml.status().borrow().queries.starts, 0);
    node.install();
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 1);
}

fn file_that_is_no_library_is_no_driver_with_the_loaders_words() {
    let node = Node::of("t4");
    std::fs::write(node.library(), "no ELF file, but long enough to be taken for one; ".repeat(100)).unwrap();
    match block_on(node.nvml().inventory()).unwrap_err() {
        NvmlError::NoDriver { reason } => {
            assert!(reason.contains("cannot load") && reason.contains("invalid ELF header"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

fn library_named_without_its_folder_is_refused() {
    let node = Node::of("t4");
    let nvml = Nvml::start(node.config(), Arc::new(|| Ok(Library::alone("libnvidia-ml.so.1")))).unwrap();
    let error = block_on(nvml.inventory()).unwrap_err().to_string();
    assert!(error.contains("not named by its full path"), "{error}");
}

fn driver_not_loaded_at_init_is_no_driver_and_names_the_call() {
    let node = Node::of("t4");
    node.fault("nvmlInit_v2", Effect::Return(9), None);
    let nvml = node.nvml();
    match block_on(nvml.inventory()).unwrap_err() {
        NvmlError::NoDriver { reason } => assert!(reason.starts_with("nvmlInit_v2 failed: "), "{reason}"),
        other => panic!("{other:?}"),
    }
    node.state.clear_faults(None).unwrap();
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 1);
}

fn init_failing_otherwise_is_an_error_with_its_code() {
    let node = Node::of("t4");
    node.fault("nvmlInit_v2", Effect::Return(27), None);
    let error = block_on(node.nvml().inventory()).unwrap_err();
    assert_eq!(error, NvmlError::Call { call: "nvmlInit_v2".into(), code: Code::NotReady });
    assert_eq!(error.to_string(), "nvmlInit_v2 failed: the system is not ready (code 27)");
}

fn library_that_lost_its_driver_is_loaded_anew_by_the_next_call() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    block_on(nvml.inventory()).unwrap();
    node.fault("nvmlDeviceGetUUID", Effect::Return(1), Some(1));
    let error = block_on(nvml.inventory()).unwrap_err();
    assert_eq!(error, NvmlError::Call { call: "nvmlDeviceGetUUID".into(), code: Code::Uninitialized });
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 1);
    assert_eq!(nvml.status().borrow().queries.starts, 2);
}

fn shutdown_ends_the_worker_and_later_calls_fail() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    block_on(nvml.inventory()).unwrap();
    let pid = pid_of(&nvml.status().borrow().queries.state);
    block_on(nvml.shutdown());
    assert_eq!(nvml.status().borrow().queries.state, RoleState::Closed);
    gone(pid);
    assert_eq!(block_on(nvml.inventory()).unwrap_err(), NvmlError::Closed);
}

fn program_that_is_no_worker_is_an_error_and_not_a_hang() {
    let node = Node::of("t4");
    let mut config = node.config();
    config.program = "/bin/true".into();
    let nvml = node.nvml_with(config.clone());
    assert!(matches!(block_on(nvml.inventory()).unwrap_err(), NvmlError::Crashed { .. }));
    config.program = "/nowhere/at-all".into();
    let nvml = node.nvml_with(config);
    let error = block_on(nvml.inventory()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/at-all: No such file"), "{error}");
    // A good one still works.
    eventually(|| block_on(node.nvml().inventory()));
}

fn library_and_kernel_of_different_versions_are_told_apart_from_no_driver() {
    let node = Node::of("t4");
    node.fault("nvmlInit_v2", Effect::Return(18), None);
    let error = block_on(node.nvml().inventory()).unwrap_err();
    assert_eq!(error, NvmlError::VersionMismatch { call: "nvmlInit_v2".into() });
    assert!(error.to_string().contains("reload the kernel modules or reboot the node"), "{error}");
}

fn driver_that_refuses_us_says_what_to_do() {
    let node = Node::of("t4");
    node.fault("nvmlInit_v2", Effect::Return(4), None);
    let error = block_on(node.nvml().inventory()).unwrap_err();
    assert_eq!(error, NvmlError::NoPermission { call: "nvmlInit_v2".into() });
    assert!(error.to_string().contains("privileged"), "{error}");
}

/// The search path that a worker got.
fn search_path(nvml: &Nvml) -> Option<String> {
    block_on(nvml.inventory()).unwrap();
    let pid = pid_of(&nvml.status().borrow().queries.state);
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut variables = environment.split('\0');
    variables.find_map(|variable| variable.strip_prefix("LD_LIBRARY_PATH=").map(str::to_owned))
}

fn library_alone_does_not_make_its_folder_a_search_path() {
    let node = Node::of("t4");
    let library = node.library();
    let folder = library.parent().unwrap().to_str().unwrap().to_owned();
    assert_eq!(search_path(&node.nvml()), Some(folder));
    let alone = move || Ok(Library::alone(&library));
    assert_eq!(search_path(&Nvml::start(node.config(), Arc::new(alone)).unwrap()), None);
}

fn released_workers_are_gone_and_the_next_call_starts_another() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    block_on(nvml.inventory()).unwrap();
    let pid = pid_of(&nvml.status().borrow().queries.state);
    block_on(nvml.release()).unwrap();
    gone(pid);
    assert_eq!(nvml.status().borrow().queries.state, RoleState::Absent);
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 1);
    block_on(nvml.shutdown());
    assert_eq!(block_on(nvml.release()).unwrap_err(), NvmlError::Closed);
}

/// A client that does not ask a suspect again within a test.
fn resentful_nvml(node: &Node) -> Nvml {
    let mut config = node.config();
    config.deadlines.query = Duration::from_secs(3600);
    node.nvml_with(config)
}

fn suspicion_of_a_gpu_ends_with_its_driver() {
    let node = Node::of("dgx-a100");
    let nvml = resentful_nvml(&node);
    let suspect_one = || {
        node.fault_of_gpu(2, "nvmlDeviceGetMemoryInfo", Effect::Crash);
        assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 7);
        node.state.clear_faults(None).unwrap();
        assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 7);
        block_on(nvml.release()).unwrap();
    };
    suspect_one();
    node.uninstall();
    assert!(matches!(block_on(nvml.inventory()).unwrap_err(), NvmlError::NoDriver { .. }));
    node.install();
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
    suspect_one();
    node.fault("nvmlInit_v2", Effect::Return(18), Some(1));
    assert!(matches!(block_on(nvml.inventory()).unwrap_err(), NvmlError::VersionMismatch { .. }));
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
}

fn suspicion_of_a_watched_gpu_ends_with_its_driver() {
    let node = Node::of("dgx-a100");
    node.fault_of_gpu(6, "nvmlDeviceRegisterEvents", Effect::Crash);
    let nvml = resentful_nvml(&node);
    let mut events = nvml.events();
    assert!(gap(&mut events).contains("died in nvmlDeviceRegisterEvents"));
    assert!(gap(&mut events).starts_with("watching 7 of 8 GPUs from now on; "));
    node.state.clear_faults(None).unwrap();
    node.fault("nvmlInit_v2", Effect::Return(18), Some(1));
    block_on(nvml.release()).unwrap();
    assert!(gap(&mut events).contains("was ended to release the GPUs"));
    assert!(gap(&mut events).contains("different versions"));
    assert_eq!(gap(&mut events), "watching 8 of 8 GPUs from now on");
}

// Fails where a GPU is asked for by its index: there the lost one stands.
fn gpus_that_are_left_alone_are_touched_by_nothing() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    let all = block_on(nvml.inventory()).unwrap().gpus;
    let place = |index: usize| GpuAt { index: all[index].index, pci: *all[index].pci.value().unwrap() };
    nvml.confine(Some(vec![place(1), place(6)]));
    block_on(nvml.release()).unwrap();
    for other in [0, 2, 3, 4, 5, 7] {
        node.fault_of_gpu(other, "nvmlDevice*", Effect::Crash);
    }
    let seen = block_on(nvml.inventory()).unwrap();
    assert_eq!(seen.gpus, [all[1].clone(), all[6].clone()]);
    let probes = block_on(nvml.probe()).unwrap();
    assert!(probes.iter().all(|probe| probe.failure.is_none()), "{probes:?}");
    assert_eq!(probes.iter().map(|probe| probe.index).collect::<Vec<_>>(), [1, 6]);
    let mut events = nvml.events();
    assert_eq!(gap(&mut events), "watching 2 of 2 GPUs from now on");
    drop(events);
    node.state.clear_faults(None).unwrap();
    nvml.confine(None);
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
}
