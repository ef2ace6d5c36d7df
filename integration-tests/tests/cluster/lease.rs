//! A lease of a GPU, taken in the plugin's own container, while a pod runs on another GPU.

use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::daemon::PLUGIN;
use crate::node::{GPU, Node, lock_own, text};
use crate::pod::{Order, Pod, assert_isolated};

/// A person's `lease hold` that goes on in the foreground. The lease is over at the latest when its time is.
struct Hold {
    child: Child,
    // Open, so that it is not told that nobody reads.
    _said: ChildStdout,
    lease: Value,
}

impl Hold {
    /// Leases the GPU of this index, and comes back when every daemon has let go of it.
    fn of(node: &Node, gpu: usize) -> Result<Hold> {
        let gpu = format!("--gpu={gpu}");
        let words =
            ["hold", &gpu, "--purpose=e2e", "--who=e2e", "--expires=5m", "--timeout=1m", "--output=json"];
        let mut command = PLUGIN.command_in(node, &[&["lease"], &words[..]].concat())?;
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start kubectl")?;
        let mut said = child.stdout.take().context("the output of kubectl")?;
        let first = serde_json::Deserializer::from_reader(&mut said).into_iter::<Value>().next();
        let lease = match first {
            Some(lease) => lease?,
            None => bail!("no lease: kubectl exec ended with {}", child.wait()?),
        };
        Ok(Hold { child, _said: said, lease })
    }

    fn id(&self) -> String {
        text(&self.lease["id"])
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn leased_gpu_is_not_allocatable_until_it_is_given_back_and_a_pod_on_another_notices_nothing() {
    let Some(node) = lock_own("leases") else { return };
    node.wait_for_gpus(8, 8).unwrap();
    let order = Order { name: "neighbour", gpus: 1, hold: true, ..Order::default() };
    let pod = Pod::create(&node, &order).unwrap();
    pod.wait_for("Running").unwrap();
    let own = assert_isolated(&pod.report().unwrap(), 1);
    let (container, registrations) = (pod.running().unwrap(), node.registrations().unwrap());
    let other = (0..8).find(|index| !own.contains(&format!("nvidia{index}"))).unwrap();

    let mut hold = Hold::of(&node, other).unwrap();
    assert_eq!(hold.lease["acknowledged"].as_array().map(Vec::len), Some(1), "{}", hold.lease);
    // The kubelet itself has confirmed it, and no pod holds it.
    assert_eq!((&hold.lease["unconfirmed"], &hold.lease["held"]), (&Value::Array(vec![]), &Value::from(0)));
    node.wait_for_gpus(8, 7).unwrap();
    PLUGIN.wait_until_says(&node, "leased by e2e").unwrap();
    let list: Value =
        serde_json::from_str(&PLUGIN.run_in(&node, &["lease", "list", "--output=json"]).unwrap()).unwrap();
    assert_eq!(
        (list.as_array().map(Vec::len), text(&list[0]["state"])),
        (Some(1), "live".to_owned()),
        "{list}"
    );
    // As many as there were before are not to be had.
    let all = Order { name: "all-the-others", gpus: 7, ..Order::default() };
    let too_many = Pod::create(&node, &all).unwrap();
    let refusal = too_many.wait_for_refusal().unwrap();
    assert!(refusal.contains(GPU), "{refusal}");
    drop(too_many);

    let asked = ["lease", "release", &hold.id(), "--who=e2e", "--why=the test is over", "--wait=20s"];
    let said = PLUGIN.run_in(&node, &asked).unwrap();
    assert!(said.contains("given back"), "{said}");
    let ended = hold.child.wait().unwrap();
    assert!(ended.success(), "lease hold: {ended}");
    node.wait_for_gpus(8, 8).unwrap();
    let next = Pod::create(&node, &Order { name: "all-the-others", gpus: 7, ..Order::default() }).unwrap();
    next.wait_for("Succeeded").unwrap();

    assert_eq!(assert_isolated(&pod.report_anew().unwrap(), 1), own);
    assert_eq!(pod.running().unwrap(), container);
    assert_eq!(node.registrations().unwrap(), registrations);
}
