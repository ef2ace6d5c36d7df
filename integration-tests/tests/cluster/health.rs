//! GPUs that fail under running pods and become well again: the pods run on, what can be had follows, and neither a
//! restart of the plugin nor one of the kubelet makes a sick GPU well.

use serde_json::Value;

use crate::daemon::PLUGIN;
use crate::driver::Restored;
use crate::node::{Node, lock_own, repeats, text};
use crate::pod::{Order, Pod, gpu_nodes};
use crate::restarts::{Held, takes_the_rest};
use crate::watch::watched;
use crate::{plugin, simulation};

// Fails at the first wait if observe.rs drops XIDs, and at the last if the ledger does not `prove`.
#[test]
fn f23_f27_gpus_that_fail_beside_and_under_a_pod_are_withdrawn_and_come_back_after_their_repair() {
    let Some(node) = lock_own("health loss and recovery") else { return };
    let _restored = Restored(&node);
    let (pod, before) = Held::create(&node);
    let (held, free) = held_and_free(&node, &pod);
    let sick = text(&held["uuid"]);

    watched(&node, || {
        for _ in 0..repeats(1, 20) {
            strike(&node, &held, &["xid", &of(&held), "95"]);
            node.wait_for_gpus(8, 7).unwrap();
            pod.wait_for_health(&sick, "Unhealthy").unwrap();
            // The scheduler takes what the pod holds from what is healthy, the sick one too: one fewer than are free.
            runs_on(&node, 5, &held);
            strike(&node, &free, &["lose", &of(&free), "--xid"]);
            node.wait_for_gpus(8, 6).unwrap();
            // As many pods as there is room for: none is rejected.
            for _ in 0..repeats(3, 50) {
                runs_on(&node, 4, &free);
            }
            before.assert_undisturbed(&pod);

            node.truth.mends_all();
            simulation::tell(&node, &["reset", &of(&held)]).unwrap();
            simulation::tell(&node, &["return", &of(&free)]).unwrap();
            node.wait_for_gpus(8, 8).unwrap();
            pod.wait_for_health(&sick, "Healthy").unwrap();
            takes_the_rest(&node);
        }
    });
    before.assert_undisturbed(&pod);
}

// Fails if serve.rs begins with an empty ledger: the driver itself forgets this XID at once.
#[test]
fn f41_sick_gpu_stays_sick_over_restarts_of_plugin_and_kubelet() {
    let Some(node) = lock_own("sick GPU over restarts") else { return };
    let _restored = Restored(&node);
    let (pod, before) = Held::create(&node);
    let (_, free) = held_and_free(&node, &pod);
    watched(&node, || {
        strike(&node, &free, &["xid", &of(&free), "95", "--no-recovery-action"]);
        node.wait_for_gpus(8, 7).unwrap();
        for round in 0..repeats(1, 20) {
            if round > 0 {
                // A container that has died often waits longer and longer before it is started anew; a new pod does not.
                plugin::replace(&node).unwrap();
            }
            let registrations = node.registrations().unwrap();
            let plugin_pod = PLUGIN.wait_until_running(&node).unwrap();
            PLUGIN.kill(&node, &plugin_pod).unwrap();
            node.wait_for_registration_after(registrations).unwrap();
            node.wait_for_fresh_gpus(8, 7).unwrap();
            runs_on(&node, 5, &free);
            node.restart_kubelet().unwrap();
            node.wait_for_registration_after(0).unwrap();
            node.wait_for_fresh_gpus(8, 7).unwrap();
            runs_on(&node, 5, &free);
        }
    });
    before.assert_undisturbed(&pod);
}

/// Breaks a GPU, and says so.
fn strike(node: &Node, gpu: &Value, fault: &[&str]) {
    simulation::tell(node, fault).unwrap();
    node.truth.breaks(&text(&gpu["uuid"]));
}

/// A GPU that the pod holds, and one that it does not.
fn held_and_free(node: &Node, pod: &Pod<'_>) -> (Value, Value) {
    let given = pod.given().unwrap();
    let (held, free): (Vec<Value>, Vec<Value>) =
        simulation::gpus(node).unwrap().into_iter().partition(|gpu| given.contains(&text(&gpu["uuid"])));
    (held[0].clone(), free[0].clone())
}

/// The flag that names a GPU to `nvml-sim`.
fn of(gpu: &Value) -> String {
    format!("--gpu={}", text(&gpu["uuid"]))
}

/// A pod with so many GPUs runs to its end, and has not this one.
fn runs_on(node: &Node, gpus: usize, not: &Value) {
    let pod = Pod::create(node, &Order { name: "rest", gpus, ..Order::default() }).unwrap();
    pod.wait_for("Succeeded").unwrap();
    let nodes = gpu_nodes(&pod.report().unwrap());
    assert_eq!(nodes.len(), gpus, "{nodes:?}");
    assert!(!nodes.contains(&format!("nvidia{}", not["minor"])), "{nodes:?}, sick: {not}");
}
