//! An update of the plugin by two instances that overlap.

use std::time::{Duration, Instant};

use test_cluster::Verdict;

use crate::daemon::PLUGIN;
use crate::node::{GPU, lock_own, text, wait};
use crate::plugin;
use crate::pod::{Order, Pod, assert_isolated};
use crate::watch::watched;

/// How long the node is watched. A kubelet reports a change at once, and everything every 10 s.
const WATCHED: Duration = Duration::from_secs(30);

// Fails if an instance takes its socket from the other one's, as one name for all instances would.
#[test]
fn f12_rolling_update_with_surge_leaves_no_gap_and_running_pods_alone() {
    let Some(node) = lock_own("update without a gap") else { return };
    let _with = plugin::deploy_with(&node, &["surge"]).unwrap();
    PLUGIN.wait_until_ready(&node).unwrap();
    node.wait_for_gpus(8, 8).unwrap();
    let pod = Pod::create(&node, &Order { name: "held", gpus: 2, hold: true, ..Order::default() }).unwrap();
    pod.wait_for("Running").unwrap();
    let (own, container) = (assert_isolated(&pod.report().unwrap(), 2), pod.running().unwrap());
    let old = PLUGIN.wait_until_running(&node).unwrap()["metadata"]["uid"].clone();

    watched(&node, || {
        PLUGIN.update(&node).unwrap();
        let start = Instant::now();
        let watched = wait("the new instance alone, and no gap meanwhile", || {
            // A look at an API server that does not answer is none; a gap ends the wait.
            let Ok(amounts) = node.amounts(GPU) else { return Ok(Verdict::Waiting("no answer".to_owned())) };
            if amounts != (8, 8) {
                return Ok(Verdict::Done(Err(format!("{amounts:?} after {:?}", start.elapsed()))));
            }
            let uids = PLUGIN.uids(&node)?;
            let is_over = uids.len() == 1 && uids[0] != text(&old) && start.elapsed() > WATCHED;
            Ok(if is_over { Verdict::Done(Ok(())) } else { Verdict::Waiting(format!("{uids:?}")) })
        });
        watched.unwrap().unwrap();
    });

    let rest = Pod::create(&node, &Order { name: "rest", gpus: 6, ..Order::default() }).unwrap();
    rest.wait_for("Succeeded").unwrap();
    assert_eq!(assert_isolated(&pod.report_anew().unwrap(), 2), own);
    assert_eq!(pod.running().unwrap(), container);
}
