//! Libraries that answer nonsense, or lack what others have.

use std::path::PathBuf;
use std::sync::Arc;

use gpu_model::{GpuFailure, MigFailure, Reading, failure};
use nvml::{Config, Event, Library, Nvml, NvmlError, RecoveryAction};

use crate::node::{Node, block_on, gap};

crate::tests![
    count_beyond_all_sense_is_garbage,
    uuid_that_is_none_fails_its_gpu_with_a_code_that_is_not_nvmls,
    text_without_an_end_is_read_to_the_end_of_its_buffer,
    functions_that_a_library_lacks_are_not_supported,
    mig_device_with_counts_beyond_all_sense_cannot_be_read,
    recovery_of_an_imex_domain_is_known_by_its_number,
    library_without_event_sets_is_one_gap_and_is_left_alone,
];

/// NVML on the library of `tests/broken`.
pub fn broken(what: &str) -> Nvml {
    let built = std::env::current_exe().unwrap();
    let library = built.parent().unwrap().with_file_name("examples").join("libbroken_nvml.so");
    assert!(library.exists(), "{} is not built: `cargo build -p nvml --examples`", library.display());
    let config = Config { extra_env: vec![("BROKEN".into(), what.into())], ..Config::default() };
    Nvml::start(config, Arc::new(move || Ok(Library::alone(PathBuf::clone(&library))))).unwrap()
}

fn count_beyond_all_sense_is_garbage() {
    let nvml = broken("count");
    let reason = "nvmlDeviceGetCount_v2 counts 257 GPUs".to_owned();
    assert_eq!(block_on(nvml.inventory()).unwrap_err(), NvmlError::Garbage { reason });
}

fn uuid_that_is_none_fails_its_gpu_with_a_code_that_is_not_nvmls() {
    let seen = block_on(broken("uuid").inventory()).unwrap();
    assert!(seen.gpus.is_empty(), "{seen:?}");
    let expected = GpuFailure { index: 0, call: "nvmlDeviceGetUUID".into(), code: failure::SENSELESS };
    assert_eq!(seen.failures, [expected]);
}

fn text_without_an_end_is_read_to_the_end_of_its_buffer() {
    let seen = block_on(broken("no-nul").inventory()).unwrap();
    assert_eq!((seen.driver.driver, seen.driver.nvml), ("x".repeat(96), "x".repeat(96)));
    assert_eq!(seen.gpus[0].product, Reading::Value("x".repeat(128)));
}

fn functions_that_a_library_lacks_are_not_supported() {
    let nvml = broken("");
    let seen = block_on(nvml.inventory()).unwrap();
    let [gpu] = seen.gpus.as_slice() else { panic!("{seen:?}") };
    assert_eq!(gpu.product, Reading::Value("A GPU".into()));
    assert_eq!(gpu.pci, Reading::NotSupported);
    assert_eq!(gpu.memory_bytes, Reading::NotSupported);
    assert_eq!(gpu.mig_mode, Reading::NotSupported);
    assert_eq!(seen.driver.cuda, Reading::NotSupported);
    let topology = block_on(nvml.topology()).unwrap();
    assert!(topology.gpus.values().all(|place| place.nvswitch_links == Reading::NotSupported));
    let probes = block_on(nvml.probe()).unwrap();
    assert!(probes[0].is_well() && probes[0].recovery == Reading::NotSupported, "{probes:?}");
}

fn mig_device_with_counts_beyond_all_sense_cannot_be_read() {
    let seen = block_on(broken("mig").inventory()).unwrap();
    let [gpu] = seen.gpus.as_slice() else { panic!("{seen:?}") };
    let call = "nvmlDeviceGetAttributes_v2".to_owned();
    assert_eq!(gpu.mig_failures, [MigFailure { index: Some(0), call, code: failure::SENSELESS }]);
    assert_eq!(gpu.mig_devices, []);
}

fn recovery_of_an_imex_domain_is_known_by_its_number() {
    let probes = block_on(broken("imex").probe()).unwrap();
    assert_eq!(probes[0].recovery, Reading::Value(RecoveryAction::RecoverImexDomain));
    assert!(!probes[0].is_well());
}

fn library_without_event_sets_is_one_gap_and_is_left_alone() {
    let node = Node::of("t4");
    node.remove_function("nvmlEventSetWait_v2");
    let nvml = node.nvml();
    let mut events = nvml.events();
    let reason = gap(&mut events);
    assert_eq!(reason, "not supported: this driver's library has no event sets");
    let next =
        block_on(async { tokio::time::timeout(std::time::Duration::from_millis(2500), events.next()).await });
    assert!(!matches!(next, Ok(Some(Event::Gap { .. }))), "{next:?}");
    assert_eq!(nvml.status().borrow().events.starts, 1);
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 1);
}
