//! A driver that hangs, crashes, or is slow.

use std::time::{Duration, Instant};

use nvml::{NvmlError, RoleState};
use nvml_sim::Effect;

use crate::node::{DEADLINE, Node, block_on, eventually};

crate::tests![
    function_that_hangs_is_stuck_by_name_and_answers_after_it_is_cleared,
    init_that_hangs_is_stuck_by_name,
    function_that_crashes_costs_one_call_and_is_named,
    driver_slow_in_every_call_is_waited_for,
    shutdown_during_a_hang_does_not_wait_for_it,
];

fn function_that_hangs_is_stuck_by_name_and_answers_after_it_is_cleared() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.fault("nvmlDeviceGetName", Effect::Hang, None);
    let error = block_on(nvml.inventory()).unwrap_err();
    assert_eq!(error, NvmlError::Stuck { call: "nvmlDeviceGetName".into(), after: DEADLINE });
    // Another operation does not need that function.
    assert_eq!(eventually(|| block_on(nvml.probe())).len(), 8);
    node.state.clear_faults(None).unwrap();
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
}

fn init_that_hangs_is_stuck_by_name() {
    let node = Node::of("t4");
    node.fault("nvmlInit_v2", Effect::Hang, None);
    let mut config = node.config();
    config.deadlines.init = DEADLINE;
    let library = node.library();
    let nvml = nvml::Nvml::start(config, std::sync::Arc::new(move || Ok(library.clone()))).unwrap();
    let error = block_on(nvml.inventory()).unwrap_err();
    assert_eq!(error, NvmlError::Stuck { call: "nvmlInit_v2".into(), after: DEADLINE });
}

fn function_that_crashes_costs_one_call_and_is_named() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    node.fault("nvmlDeviceGetMemoryInfo", Effect::Crash, Some(1));
    let error = block_on(nvml.inventory()).unwrap_err();
    let expected =
        NvmlError::Crashed { call: "nvmlDeviceGetMemoryInfo".into(), how: "signal 11 (SIGSEGV)".into() };
    assert_eq!(error, expected);
    assert_eq!(block_on(nvml.inventory()).unwrap().gpus.len(), 8);
}

fn driver_slow_in_every_call_is_waited_for() {
    let node = Node::of("dgx-a100");
    node.state.set_latency(None, Some("40ms".parse().unwrap())).unwrap();
    let begun = Instant::now();
    assert_eq!(block_on(node.nvml().inventory()).unwrap().gpus.len(), 8);
    assert!(begun.elapsed() > 2 * DEADLINE, "not slow enough to prove anything: {:?}", begun.elapsed());
}

fn shutdown_during_a_hang_does_not_wait_for_it() {
    let node = Node::of("t4");
    node.fault("nvmlDeviceGetName", Effect::Hang, None);
    let mut config = node.config();
    config.deadlines.query = Duration::from_secs(3600);
    let library = node.library();
    let nvml = nvml::Nvml::start(config, std::sync::Arc::new(move || Ok(library.clone()))).unwrap();
    let answer = block_on(async {
        let asking = nvml.inventory();
        let stopping = async {
            let is_slow = |state: &RoleState| matches!(state, RoleState::Slow { call, .. } if call == "nvmlDeviceGetName");
            nvml.status().wait_for(|status| is_slow(&status.queries.state)).await.unwrap();
            nvml.shutdown().await;
        };
        tokio::join!(asking, stopping).0
    });
    assert_eq!(answer.unwrap_err(), NvmlError::Closed);
}
