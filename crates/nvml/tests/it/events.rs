//! The stream of critical events.

use std::time::Duration;

use nvml::{Event, RoleState};
use nvml_sim::Effect;

use crate::node::{Node, block_on, gap};

crate::tests![
    stream_begins_with_a_gap_and_brings_an_xid_with_its_instances,
    xid_of_a_whole_gpu_has_no_instances,
    change_of_the_partitioning_is_an_event,
    gpu_that_cannot_be_registered_does_not_cost_the_others_their_watch,
    gpu_that_returns_is_watched_again,
    set_without_a_gpu_is_not_waited_on,
    worker_that_crashes_while_it_waits_is_a_gap_and_the_watch_stands_again,
    wait_that_fails_is_a_gap_and_the_watch_stands_again,
    driver_that_is_missing_is_one_gap_and_another_when_it_appears,
    stream_that_is_dropped_ends_its_worker,
    queries_are_answered_while_the_event_worker_hangs,
    wait_that_hangs_is_a_gap_that_names_it,
    gpu_that_hangs_when_registered_is_left_out_of_the_next_watch,
    gpu_lost_while_it_is_watched_leaves_the_others_watched,
    second_stream_says_that_it_waits_and_begins_when_the_first_is_dropped,
    stream_ends_after_the_shutdown,
];

fn stream_begins_with_a_gap_and_brings_an_xid_with_its_instances() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    let mut events = nvml.events();
    assert_eq!(gap(&mut events), "watching 8 of 8 GPUs from now on");
    node.state.inject_xid("4", 94, Some(3), Some(1)).unwrap();
    let expected = Event::Xid {
        gpu: node.uuid(4).parse().unwrap(),
        xid: 94,
        gpu_instance: Some(3),
        compute_instance: Some(1),
    };
    assert_eq!(block_on(events.next()), Some(expected));
}

fn xid(node: &Node, gpu: usize, xid: u64) -> Event {
    Event::Xid { gpu: node.uuid(gpu).parse().unwrap(), xid, gpu_instance: None, compute_instance: None }
}

fn change_of_the_partitioning_is_an_event() {
    let node = Node::of("dgx-h100");
    let nvml = node.nvml();
    let mut events = nvml.events();
    gap(&mut events);
    node.state.set_mig_mode("2", true).unwrap().unwrap();
    assert_eq!(block_on(events.next()), Some(Event::MigChange { gpu: node.uuid(2).parse().unwrap() }));
    let make = |mig: &mut nvml_sim::MigState, gpu: &nvml_sim::Gpu| mig.create(gpu, 19, None);
    node.state.change_mig("2", make).unwrap();
    assert_eq!(block_on(events.next()), Some(Event::MigChange { gpu: node.uuid(2).parse().unwrap() }));
}

fn xid_of_a_whole_gpu_has_no_instances() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    let mut events = nvml.events();
    gap(&mut events);
    for number in [13, 79] {
        node.state.inject_xid("0", number, None, None).unwrap();
        assert_eq!(block_on(events.next()), Some(xid(&node, 0, number)));
    }
}

fn gpu_that_cannot_be_registered_does_not_cost_the_others_their_watch() {
    let node = Node::of("dgx-a100");
    node.fault("nvmlDeviceRegisterEvents", Effect::Return(3), Some(1));
    let nvml = node.nvml();
    let mut events = nvml.events();
    let reason = gap(&mut events);
    assert!(reason.starts_with("watching 7 of 8 GPUs from now on; "), "{reason}");
    assert!(reason.contains("GPU 0 is not watched: nvmlDeviceRegisterEvents"), "{reason}");
    node.state.inject_xid("1", 48, None, None).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 1, 48)));
}

fn gpu_that_returns_is_watched_again() {
    let node = Node::of("dgx-a100");
    node.state.lose("6", None).unwrap();
    let nvml = node.nvml();
    let mut events = nvml.events();
    assert!(gap(&mut events).contains("watching 7 of 8 GPUs"));
    node.state.give_back("6").unwrap();
    assert_eq!(gap(&mut events), "watching 8 of 8 GPUs from now on");
    node.state.inject_xid("6", 31, None, None).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 6, 31)));
}

fn set_without_a_gpu_is_not_waited_on() {
    let node = Node::of("t4");
    node.fault("nvmlDeviceRegisterEvents", Effect::Return(999), Some(1));
    // A wait would be seen.
    node.fault("nvmlEventSetWait_v2", Effect::Crash, None);
    let nvml = node.nvml();
    let mut events = nvml.events();
    assert!(gap(&mut events).starts_with("watching 0 of 1 GPUs from now on; "));
    assert_eq!(gap(&mut events), "watching 1 of 1 GPUs from now on");
    assert!(gap(&mut events).contains("nvmlEventSetWait_v2"));
}

fn worker_that_crashes_while_it_waits_is_a_gap_and_the_watch_stands_again() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    let mut events = nvml.events();
    node.fault("nvmlEventSetWait_v2", Effect::Crash, Some(1));
    assert!(gap(&mut events).contains("watching 1 of 1 GPUs from now on"));
    let reason = gap(&mut events);
    assert!(reason.contains("nvmlEventSetWait_v2") && reason.contains("SIGSEGV"), "{reason}");
    assert!(gap(&mut events).contains("watching 1 of 1 GPUs from now on"));
    node.state.inject_xid("0", 48, None, None).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 0, 48)));
}

fn wait_that_fails_is_a_gap_and_the_watch_stands_again() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    let mut events = nvml.events();
    node.fault("nvmlEventSetWait_v2", Effect::Return(999), Some(1));
    gap(&mut events);
    let reason = gap(&mut events);
    assert!(reason.contains("nvmlEventSetWait_v2") && reason.contains("999"), "{reason}");
    assert!(gap(&mut events).contains("watching 1 of 1 GPUs from now on"));
    assert_eq!(nvml.status().borrow().events.starts, 1);
    node.state.inject_xid("0", 48, None, None).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 0, 48)));
}

fn driver_that_is_missing_is_one_gap_and_another_when_it_appears() {
    let node = Node::of("t4");
    node.uninstall();
    let nvml = node.nvml();
    let mut events = nvml.events();
    assert!(gap(&mut events).contains("no NVIDIA driver: no "));
    node.install();
    assert_eq!(gap(&mut events), "watching 1 of 1 GPUs from now on");
}

fn stream_that_is_dropped_ends_its_worker() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    let mut events = nvml.events();
    gap(&mut events);
    drop(events);
    block_on(async {
        nvml.status().wait_for(|status| status.events.state == RoleState::Absent).await.unwrap();
    });
    assert_eq!(gap(&mut nvml.events()), "watching 1 of 1 GPUs from now on");
}

fn queries_are_answered_while_the_event_worker_hangs() {
    let node = Node::of("t4");
    node.fault("nvmlEventSetCreate", Effect::Hang, None);
    let mut config = node.config();
    config.deadlines.query = Duration::from_secs(3600);
    let nvml = node.nvml_with(config);
    let hangs =
        |state: &RoleState| matches!(state, RoleState::Slow { call, .. } if call == "nvmlEventSetCreate");
    block_on(async {
        let mut events = nvml.events();
        let asking = async {
            nvml.status().wait_for(|status| hangs(&status.events.state)).await.unwrap();
            let trouble = nvml.status().borrow().trouble().unwrap();
            assert!(
                trouble.starts_with("the NVML worker for events: in nvmlEventSetCreate for "),
                "{trouble}"
            );
            assert_eq!(nvml.inventory().await.unwrap().gpus.len(), 1);
            assert!(hangs(&nvml.status().borrow().events.state));
        };
        tokio::select! {
            event = events.next() => panic!("{event:?}"),
            () = asking => {}
        }
    });
}

fn wait_that_hangs_is_a_gap_that_names_it() {
    let node = Node::of("t4");
    let nvml = node.impatient_nvml();
    let mut events = nvml.events();
    assert_eq!(gap(&mut events), "watching 1 of 1 GPUs from now on");
    node.fault("nvmlEventSetWait_v2", Effect::Hang, None);
    assert_eq!(gap(&mut events), "nvmlEventSetWait_v2 did not return within 3.2s");
    node.state.clear_faults(None).unwrap();
    assert_eq!(gap(&mut events), "watching 1 of 1 GPUs from now on");
}

fn gpu_that_hangs_when_registered_is_left_out_of_the_next_watch() {
    let node = Node::of("dgx-a100");
    node.fault_of_gpu(6, "nvmlDeviceRegisterEvents", Effect::Hang);
    let mut config = node.config();
    config.deadlines.query = Duration::from_secs(2);
    let nvml = node.nvml_with(config);
    let mut events = nvml.events();
    assert_eq!(gap(&mut events), "nvmlDeviceRegisterEvents did not return within 2s");
    let reason = gap(&mut events);
    let missing = "GPU 6 is not watched: nvmlDeviceRegisterEvents failed: the call did not return in time";
    assert_eq!(reason, format!("watching 7 of 8 GPUs from now on; {missing}"));
    node.state.inject_xid("1", 48, None, None).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 1, 48)));
    // It answers again, and so it is watched again.
    node.state.clear_faults(None).unwrap();
    assert_eq!(gap(&mut events), "watching 8 of 8 GPUs from now on");
}

fn gpu_lost_while_it_is_watched_leaves_the_others_watched() {
    let node = Node::of("dgx-a100");
    let nvml = node.nvml();
    let mut events = nvml.events();
    gap(&mut events);
    node.state.lose("3", Some(79)).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 3, 79)));
    assert!(gap(&mut events).starts_with("nvmlEventSetWait_v2 failed: the GPU is lost"));
    assert!(gap(&mut events).starts_with("watching 7 of 8 GPUs from now on"));
    node.state.inject_xid("1", 48, None, None).unwrap();
    assert_eq!(block_on(events.next()), Some(xid(&node, 1, 48)));
}

fn second_stream_says_that_it_waits_and_begins_when_the_first_is_dropped() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    let mut first = nvml.events();
    gap(&mut first);
    let mut second = nvml.events();
    assert!(gap(&mut second).starts_with("another stream has the events"));
    drop(first);
    assert_eq!(gap(&mut second), "watching 1 of 1 GPUs from now on");
}

fn stream_ends_after_the_shutdown() {
    let node = Node::of("t4");
    let nvml = node.nvml();
    let mut events = nvml.events();
    gap(&mut events);
    block_on(nvml.shutdown());
    assert_eq!(block_on(events.next()), None);
    assert_eq!(block_on(events.next()), None);
}
