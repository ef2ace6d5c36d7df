//! What GPUs there are.

use gpu_model::{GpuFailure, MigMode, Reading};
use nvml_sim::Effect;

use crate::node::{Node, block_on};

crate::tests![
    t4_node_lists_its_gpu,
    dgx_a100_lists_eight_gpus_within_64_calls,
    lost_gpu_is_a_failure_and_the_others_are_complete,
    reading_that_fails_keeps_call_and_code_and_costs_nothing_else,
    cuda_version_that_cannot_be_told_costs_no_gpu,
];

fn t4_node_lists_its_gpu() {
    let node = Node::of("t4");
    let seen = block_on(node.nvml().inventory()).unwrap();
    let declared = node.state.node().unwrap();
    assert!(seen.failures.is_empty(), "{:?}", seen.failures);
    let [gpu] = seen.gpus.as_slice() else { panic!("{seen:?}") };
    assert_eq!(gpu.uuid.as_str(), declared.gpus[0].uuid);
    assert_eq!(gpu.product, Reading::Value("Tesla T4".into()));
    assert_eq!(gpu.compute_capability, Reading::Value((7, 5)));
    assert_eq!(gpu.memory_bytes.value().map(|bytes| bytes >> 30), Some(15));
    assert_eq!(gpu.minor, Reading::Value(0));
    assert_eq!(gpu.mig_mode, Reading::NotSupported);
    assert!(gpu.pci.value().is_some(), "{gpu:?}");
    assert!(seen.driver.nvml.ends_with(&seen.driver.driver), "{:?}", seen.driver);
    assert!(seen.driver.cuda.value().is_some_and(|(major, _)| *major >= 12), "{:?}", seen.driver);
}

fn dgx_a100_lists_eight_gpus_within_64_calls() {
    let node = Node::of("dgx-a100");
    let log = node.state.dir().join("calls");
    let mut config = node.config();
    config.extra_env.push(("NVML_SIM_CALL_LOG".into(), log.clone().into()));
    let nvml = node.nvml_with(config);
    let seen = block_on(nvml.inventory()).unwrap();
    assert_eq!(seen.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    for gpu in &seen.gpus {
        assert_eq!(gpu.compute_capability, Reading::Value((8, 0)), "{gpu:?}");
        assert_eq!(gpu.mig_mode, Reading::Value(MigMode { current: false, pending: false }), "{gpu:?}");
    }
    // Counted by the library itself: initialisation and what the wrapper does on its own included.
    let files = std::fs::read_dir(log).unwrap().map(|file| file.unwrap().path());
    let calls: Vec<String> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let count = calls.concat().lines().count();
    assert!(count <= 64, "{count} calls: {calls:?}");
    let counted = nvml.status().borrow().queries.calls;
    assert!(counted > 8 && counted <= 64, "{counted}");
}

fn lost_gpu_is_a_failure_and_the_others_are_complete() {
    let node = Node::of("dgx-a100");
    node.state.lose("3", None).unwrap();
    let seen = block_on(node.nvml().inventory()).unwrap();
    let [GpuFailure { index: 3, code: 15, .. }] = seen.failures.as_slice() else {
        panic!("{:?}", seen.failures)
    };
    assert_eq!(seen.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [0, 1, 2, 4, 5, 6, 7]);
    assert!(seen.gpus.iter().all(|gpu| gpu.memory_bytes.value().is_some()), "{seen:?}");
}

fn reading_that_fails_keeps_call_and_code_and_costs_nothing_else() {
    let node = Node::of("t4");
    node.fault("nvmlDeviceGetName", Effect::Return(23), None);
    let seen = block_on(node.nvml().inventory()).unwrap();
    assert_eq!(seen.gpus[0].product, Reading::Failed { call: "nvmlDeviceGetName".into(), code: 23 });
    assert!(seen.gpus[0].memory_bytes.value().is_some(), "{seen:?}");
}

fn cuda_version_that_cannot_be_told_costs_no_gpu() {
    let node = Node::of("t4");
    // LIBRARY_NOT_FOUND: NVML asks libcuda for the version.
    node.fault("nvmlSystemGetCudaDriverVersion_v2", Effect::Return(12), None);
    let seen = block_on(node.nvml().inventory()).unwrap();
    assert_eq!(seen.gpus.len(), 1);
    assert_eq!(
        seen.driver.cuda,
        Reading::Failed { call: "nvmlSystemGetCudaDriverVersion_v2".into(), code: 12 }
    );
}
