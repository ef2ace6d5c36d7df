//! A real kubelet of 1.36, the last that knows a device plugin by its resource alone, and what most nodes run.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use test_cluster::{Cluster, DEFAULT_NAME, KubeletRelease, Verdict};

use crate::daemon::{PLUGIN, container};
use crate::node::{GPU, Node, lock_own, repeats, say, text, wait};
use crate::plugin;
use crate::restarts::{Held, takes_the_rest};
use crate::watch::watched;

/// How the version of a kubelet that confuses instances begins.
const OLDER: &str = "v1.36.";

/// What such a kubelet counts when it takes the end of the older instance for that of the newer one.
const STREAM_LOST: &str = "gantry_device_plugin_registrations_lost_total{cause=\"stream-lost\"";

// Fails if kubelet_socket.rs does not tell a new kubelet.sock from the old one, or a new process registers only when
// kubelet.sock changes.
#[test]
fn f01_f04_kubelet_of_1_36_gives_pods_their_own_gpus_and_gets_them_again_after_restarts() {
    let Some(node) = lock_own("kubelet of 1.36") else { return };
    let _older = Older::switch(&node).unwrap();
    let (pod, before) = Held::create(&node);
    watched(&node, || {
        node.restart_kubelet().unwrap();
        node.wait_for_registration_after(0).unwrap();
        node.wait_for_fresh_gpus(8, 8).unwrap();
        let registrations = node.registrations().unwrap();
        PLUGIN.kill(&node, &PLUGIN.wait_until_running(&node).unwrap()).unwrap();
        node.wait_for_registration_after(registrations).unwrap();
        node.wait_for_fresh_gpus(8, 8).unwrap();
        takes_the_rest(&node);
    });
    before.assert_undisturbed(&pod);
    assert!(version(&node).unwrap().starts_with(OLDER), "another kubelet came in between");
}

// Fails if `Machine::registered` does not take a stream that was lost for the end of the registration.
#[test]
fn k18_f12_rolling_update_with_surge_at_a_kubelet_of_1_36_brings_the_gpus_back_and_leaves_pods_alone() {
    let Some(node) = lock_own("update at a kubelet of 1.36") else { return };
    let _older = Older::switch(&node).unwrap();
    let _with = plugin::deploy_with(&node, &["surge"]).unwrap();
    PLUGIN.wait_until_ready(&node).unwrap();
    node.wait_for_gpus(8, 8).unwrap();
    let (pod, before) = Held::create(&node);
    watched(&node, || {
        for _ in 0..repeats(2, 100) {
            let log = KubeletLog::from_now_on(&node).unwrap();
            let old = PLUGIN.wait_until_running(&node).unwrap();
            PLUGIN.update(&node).unwrap();
            wait("the new instance alone, registered anew", || {
                let uids = PLUGIN.uids(&node)?;
                let is_alone = uids.len() == 1 && uids[0] != text(&old["metadata"]["uid"]);
                let gaps = log.gaps()?;
                Ok(match (is_alone, &*gaps) {
                    (true, [.., Gap::Over(_)]) => Verdict::Done(()),
                    _ => Verdict::Waiting(format!("{uids:?} {gaps:?}")),
                })
            })
            .unwrap();
            node.wait_for_fresh_gpus(8, 8).unwrap();
            say(format!("at a kubelet of 1.36 the GPUs were away: {:?}", log.gaps().unwrap()));
            let new = PLUGIN.wait_until_running(&node).unwrap();
            assert_eq!(container(&new)["restartCount"], 0, "it came back by a restart");
            assert!(PLUGIN.metric(&node, STREAM_LOST).unwrap() >= 1.0, "nothing was lost");
            takes_the_rest(&node);
        }
    });
    before.assert_undisturbed(&pod);
}

/// The node with the older kubelet, until it goes out of scope.
struct Older<'a> {
    node: &'a Node,
}

impl<'a> Older<'a> {
    fn switch(node: &'a Node) -> Result<Self> {
        let older = Self { node };
        run_by(node, KubeletRelease::V1_36)?;
        Ok(older)
    }
}

impl Drop for Older<'_> {
    fn drop(&mut self) {
        if let Err(error) = run_by(self.node, KubeletRelease::Current) {
            eprintln!("the cluster's own kubelet again: {error:#}");
        }
    }
}

/// Has the node's kubelet be of this release, and waits until it says so itself and has the GPUs.
fn run_by(node: &Node, release: KubeletRelease) -> Result<()> {
    let mut cluster = Cluster::find(DEFAULT_NAME)?.context("the test cluster does not run")?;
    cluster.use_kubelet(release)?;
    let is_older = release == KubeletRelease::V1_36;
    wait(format!("the Node object to tell of a kubelet of {release:?}"), || {
        Ok(match version(node)? {
            version if version.starts_with(OLDER) == is_older => Verdict::Done(()),
            version => Verdict::Waiting(version),
        })
    })?;
    cluster.wait_for_node()?;
    node.wait_for_registration_after(0)?;
    node.wait_for_fresh_gpus(8, 8)
}

fn version(node: &Node) -> Result<String> {
    Ok(text(&node.get()?["status"]["nodeInfo"]["kubeletVersion"]))
}

/// A time without GPUs, as the kubelet logged it.
#[derive(Debug, PartialEq, Eq)]
enum Gap {
    Over(Duration),
    /// Still without.
    Lasts,
}

/// What the kubelet logs after a moment.
struct KubeletLog<'a> {
    node: &'a Node,
    begin: usize,
}

impl<'a> KubeletLog<'a> {
    fn from_now_on(node: &'a Node) -> Result<Self> {
        let begin = whole_log(node)?.len();
        Ok(Self { node, begin })
    }

    /// When the GPUs were struck off, and for how long.
    fn gaps(&self) -> Result<Vec<Gap>> {
        gaps(whole_log(self.node)?.get(self.begin..).unwrap_or_default())
    }
}

fn whole_log(node: &Node) -> Result<String> {
    let path = node.cluster().log("kubelet");
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Begins where the endpoint is struck off and ends where all GPUs are listed as healthy. The kubelet's log says more, and
/// sooner, than the Node object.
fn gaps(log: &str) -> Result<Vec<Gap>> {
    let (mut gaps, mut since) = (Vec::new(), None);
    let resource = format!("resourceName=\"{GPU}\"");
    for line in log.lines().filter(|line| line.contains(&resource)) {
        if line.contains("\"Endpoint became unhealthy\"") {
            since = since.or(Some(time(line)?));
        } else if line.contains("healthyCount=8")
            && let Some(begin) = since.take()
        {
            gaps.push(Gap::Over(time(line)?.saturating_sub(begin)));
        }
    }
    gaps.extend(since.map(|_| Gap::Lasts));
    Ok(gaps)
}

/// The time of day of a line such as `I1126 20:09:00.123456  1234 manager.go:300] "Message"`.
fn time(line: &str) -> Result<Duration> {
    let parse = || {
        let (clock, micros) = line.split_whitespace().nth(1)?.split_once('.')?;
        let seconds = clock.split(':').try_fold(0, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
        Some(Duration::from_secs(seconds) + Duration::from_micros(micros.parse().ok()?))
    };
    parse().with_context(|| format!("no time in {line:?}"))
}
