//! A daemon as deployed: its DaemonSet, its pod, and what it says of itself.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use test_cluster::Verdict;

use crate::node::{MARK, Node, text, wait};

/// The namespace of all.
pub const NAMESPACE: &str = "--namespace=gantry-system";

/// A daemon, by its name and the port of its admin server.
pub struct Daemon {
    pub name: &'static str,
    pub port: &'static str,
}

/// The device plugin.
pub const PLUGIN: Daemon = Daemon { name: "gpu-device-plugin", port: "9401" };

/// Feature discovery.
pub const DISCOVERY: Daemon = Daemon { name: "gpu-feature-discovery", port: "9402" };

impl Daemon {
    /// Its image, as `cargo xtask image` names it.
    pub fn image(&self) -> String {
        format!("gantry.dev/{}:{}", self.name, env!("CARGO_PKG_VERSION"))
    }

    /// What selects its pods.
    pub fn selector(&self) -> String {
        format!("--selector=app.kubernetes.io/name={}", self.name)
    }

    /// The pod on the node, if there is one.
    pub fn pod(&self, node: &Node) -> Result<Option<Value>> {
        Ok(self.pods(node)?.into_iter().next())
    }

    /// Its pods on the node: two while an update overlaps.
    fn pods(&self, node: &Node) -> Result<Vec<Value>> {
        let here = format!("--field-selector=spec.nodeName={}", node.name);
        let pods = node.kubectl.json(&["get", "pods", NAMESPACE, &self.selector(), &here])?;
        Ok(pods["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until the pod's container runs, and returns the pod.
    pub fn wait_until_running(&self, node: &Node) -> Result<Value> {
        self.wait_for_pod(node, "run", |pod| {
            container(pod)["state"]["running"].is_object() && pod["status"]["podIP"].is_string()
        })
    }

    /// Waits until the pod is Ready.
    pub fn wait_until_ready(&self, node: &Node) -> Result<()> {
        self.wait_for_pod(node, "be Ready", |pod| container(pod)["ready"] == true).map(drop)
    }

    /// Waits until the container that this pod had runs anew and is Ready.
    pub fn wait_until_restarted(&self, node: &Node, earlier: &Value) -> Result<()> {
        let earlier = &container(earlier)["containerID"];
        let is_another = |pod: &Value| container(pod)["containerID"] != *earlier;
        self.wait_for_pod(node, "be another and Ready", |pod| {
            container(pod)["ready"] == true && is_another(pod)
        })
        .map(drop)
    }

    fn wait_for_pod(&self, node: &Node, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let waited = wait(format!("the container of {} to {what}", self.name), || {
            let Some(pod) = self.pod(node)? else { return Ok(Verdict::Waiting("no pod".to_owned())) };
            Ok(if is_so(&pod) { Verdict::Done(pod) } else { Verdict::Waiting(pod["status"].to_string()) })
        });
        waited.with_context(|| self.summary(node))
    }

    /// Kills its process, as the kernel does when memory runs out.
    pub fn kill(&self, node: &Node, pod: &Value) -> Result<()> {
        let id = container_id(pod)?;
        let kill = ["--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", &id];
        let output = node.cluster().enter("ctr").args(kill).output().context("start ctr")?;
        ensure!(output.status.success(), "ctr tasks kill: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// A command of its program in its container, by `kubectl exec`.
    pub fn command_in(&self, node: &Node, args: &[&str]) -> Result<Command> {
        let name = text(&self.wait_until_running(node)?["metadata"]["name"]);
        let mut command = node.kubectl.command();
        command.args(["exec", NAMESPACE, &name, "--", &format!("/usr/bin/{}", self.name)]).args(args);
        Ok(command)
    }

    /// Runs it to its end, and gives what it printed.
    pub fn run_in(&self, node: &Node, args: &[&str]) -> Result<String> {
        let output = self.command_in(node, args)?.output().context("start kubectl")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} {args:?}: {}: {said}", self.name, output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The mounts of the pod's only container, as the kernel lists them.
    pub fn mounts(&self, node: &Node, pod: &Value) -> Result<String> {
        let pid = self.task(node, pod)?;
        let output = node
            .cluster()
            .enter("cat")
            .arg(format!("/proc/{pid}/mountinfo"))
            .output()
            .context("start cat")?;
        ensure!(output.status.success(), "process {pid}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The process of the pod's only container, as the node counts processes.
    fn task(&self, node: &Node, pod: &Value) -> Result<u32> {
        let id = container_id(pod)?;
        let ctr = ["--namespace=k8s.io", "tasks", "ls"];
        let output = node.cluster().enter("ctr").args(ctr).output().context("start ctr")?;
        let tasks = String::from_utf8_lossy(&output.stdout).into_owned();
        let pid = tasks.lines().find_map(|line| line.strip_prefix(&*id)?.split_whitespace().next());
        pid.and_then(|pid| pid.parse().ok()).with_context(|| format!("no task {id}: {tasks}"))
    }

    /// The same process as this machine counts them.
    pub fn process(&self, node: &Node, pod: &Value) -> Result<u32> {
        // The kernel keeps 15 bytes of a name.
        let comm = &self.name[..self.name.len().min(15)];
        let task = self.task(node, pod)?.to_string();
        for entry in fs::read_dir("/proc").context("read /proc")? {
            let path = entry?.path();
            // A process may end meanwhile.
            let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
            let line =
                |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            // Its ids from this machine's to its container's, of which the node's is the second last.
            let ids: Vec<&str> = line("NSpid:").split_whitespace().collect();
            if line("Name:").trim() == comm && ids.len() > 1 && ids[ids.len() - 2] == task {
                return ids[0].parse().context("a process id");
            }
        }
        bail!("no process {comm} is {task} in the node")
    }

    /// What it answers on its admin port: status line, headers and body. The API server's proxy would hide
    /// the body of an answer that says not ready.
    pub fn ask(&self, node: &Node, path: &str) -> Result<String> {
        let pod = self.pod(node)?.with_context(|| format!("no pod of {}", self.name))?;
        let Some(ip) = pod["status"]["podIP"].as_str() else {
            bail!("the pod of {} has no address yet", self.name)
        };
        let mut nc = node
            .cluster()
            .enter("timeout")
            .args(["10", "busybox", "nc", ip, self.port])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("start busybox nc")?;
        let mut input = nc.stdin.take().context("nc's input")?;
        input.write_all(
            format!("GET {path} HTTP/1.1\r\nHost: daemon\r\nConnection: close\r\n\r\n").as_bytes(),
        )?;
        let output = nc.wait_with_output().context("wait for nc")?;
        drop(input);
        if !output.status.success() {
            bail!("nc {ip} {}: {}: {}", self.port, output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until /ready has this in what it says.
    pub fn wait_until_says(&self, node: &Node, words: &str) -> Result<()> {
        self.wait_for_answer(node, &format!("say {words:?}"), |answer| answer.contains(words))
    }

    /// Waits until /ready says yes, and nothing of this.
    pub fn wait_until_ready_without(&self, node: &Node, words: &str) -> Result<()> {
        self.wait_for_answer(node, &format!("say yes without {words:?}"), |answer| {
            answer.starts_with("HTTP/1.1 200 ") && !answer.contains(words)
        })
    }

    fn wait_for_answer(&self, node: &Node, what: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
        wait(format!("/ready to {what}"), || {
            let answer = self.ask(node, "/ready")?;
            Ok(if is_so(&answer) { Verdict::Done(()) } else { Verdict::Waiting(answer) })
        })
    }

    /// The sum of the samples on its /metrics whose name and labels begin so.
    pub fn metric(&self, node: &Node, sample: &str) -> Result<f64> {
        let page = self.ask(node, "/metrics")?;
        let values = page.lines().filter(|line| line.starts_with(sample));
        values
            .map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().context("a sample"))
            .sum()
    }

    /// For messages: how the pod stands, what it says on /ready, its last log lines.
    pub fn summary(&self, node: &Node) -> String {
        let pod = match self.pod(node) {
            Ok(Some(pod)) => pod,
            Ok(None) => return "no pod".to_owned(),
            Err(error) => return error.to_string(),
        };
        let mut said = format!("container {}", container(&pod)["state"]);
        if node.is_own() {
            match self.ask(node, "/ready") {
                Ok(answer) => {
                    let body = answer.split_once("\r\n\r\n").map_or(&*answer, |(_, body)| body);
                    let words: Vec<&str> = body.split_whitespace().collect();
                    said += &format!("; /ready: {}", words.join(" "));
                }
                Err(error) => said += &format!("; /ready: {error}"),
            }
        }
        let name = text(&pod["metadata"]["name"]);
        let log = node
            .kubectl
            .run(&["logs", NAMESPACE, &name, "--tail=8"])
            .unwrap_or_else(|error| error.to_string());
        format!("{said}; log:\n{log}")
    }

    /// Puts a config into the ConfigMap of the component `config-file`, and has the kubelet bring it to the pod now: a change
    /// of the pod makes it look.
    pub fn configure(&self, node: &Node, config: &str) -> Result<()> {
        let patch = json!({ "data": { "config.yaml": config } }).to_string();
        node.kubectl.run(&[
            "patch",
            "configmap",
            "gpu-device-plugin",
            NAMESPACE,
            "--type=merge",
            &format!("--patch={patch}"),
        ])?;
        let name = text(&self.wait_until_running(node)?["metadata"]["name"]);
        let mark = format!("{MARK}-config={:x}", config.len());
        node.kubectl.run(&["annotate", "pod", &name, NAMESPACE, "--overwrite", &mark]).map(drop)
    }

    /// The uids of all its pods on the node.
    pub fn uids(&self, node: &Node) -> Result<Vec<String>> {
        Ok(self.pods(node)?.iter().map(|pod| text(&pod["metadata"]["uid"])).collect())
    }

    /// Has the DaemonSet replace its pods, as a new image does.
    pub fn update(&self, node: &Node) -> Result<()> {
        node.kubectl.run(&["rollout", "restart", "daemonset", self.name, NAMESPACE]).map(drop)
    }

    /// Removes the DaemonSet and waits until its pod is gone.
    pub fn remove(&self, node: &Node) -> Result<()> {
        node.kubectl.delete(&["daemonset", self.name, NAMESPACE, "--cascade=foreground"])
    }
}

/// The id under which containerd knows the pod's only container.
fn container_id(pod: &Value) -> Result<String> {
    let id = text(&container(pod)["containerID"]);
    let id = id.strip_prefix("containerd://").with_context(|| format!("container id {id:?}"))?;
    Ok(id.to_owned())
}

/// The status of a pod's only container.
pub fn container(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]
}
