//! The device plugin as deployed: its DaemonSet, its pod, and what it says of itself.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use serde_json::{Value, json};
use test_cluster::Verdict;

use crate::node::{MARK, Node, text, wait, workspace};

const NAMESPACE: &str = "--namespace=gantry-system";
const SELECTOR: &str = "--selector=app.kubernetes.io/name=gpu-device-plugin";

/// The program's name as the kernel keeps it, in 15 bytes.
const NAME: &str = "gpu-device-plug";

const OVERLAY: &str = "manifests/overlays/simulated";

/// Applies the manifests as shipped, with the simulated driver's overlay.
pub fn deploy(node: &Node) -> Result<()> {
    let overlay = workspace().join(OVERLAY);
    node.kubectl.run(&["apply", "--kustomize", &overlay.to_string_lossy()]).map(drop)
}

/// The deployed plugin with components of the manifests added, until it goes out of scope.
pub struct With<'a> {
    node: &'a Node,
    folder: PathBuf,
}

/// Deploys the plugin with these components, as a person's own kustomization does.
pub fn deploy_with<'a>(node: &'a Node, components: &[&str]) -> Result<With<'a>> {
    let folder = workspace().join("target/e2e-kustomization");
    fs::create_dir_all(&folder)?;
    let with = With { node, folder };
    let components: Vec<String> =
        components.iter().map(|name| format!("../../manifests/components/{name}")).collect();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [format!("../../{OVERLAY}")],
        "components": components,
    });
    fs::write(with.folder.join("kustomization.yaml"), kustomization.to_string())?;
    node.kubectl.run(&["apply", "--kustomize", &with.folder.to_string_lossy()])?;
    Ok(with)
}

impl Drop for With<'_> {
    fn drop(&mut self) {
        // A variable or a volume that a component added goes with the DaemonSet alone.
        let restored =
            remove(self.node).and_then(|()| deploy(self.node)).and_then(|()| self.node.wait_for_gpus(8, 8));
        if let Err(error) = restored {
            eprintln!("deploy the plugin without components: {error:#}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Puts a config into the ConfigMap of the component `config-file`, and has the kubelet bring it to the pod now: a change
/// of the pod makes it look.
pub fn configure(node: &Node, config: &str) -> Result<()> {
    let patch = json!({ "data": { "config.yaml": config } }).to_string();
    node.kubectl.run(&[
        "patch",
        "configmap",
        "gpu-device-plugin",
        NAMESPACE,
        "--type=merge",
        &format!("--patch={patch}"),
    ])?;
    let name = text(&wait_until_running(node)?["metadata"]["name"]);
    let mark = format!("{MARK}-config={:x}", config.len());
    node.kubectl.run(&["annotate", "pod", &name, NAMESPACE, "--overwrite", &mark]).map(drop)
}

/// Removes the DaemonSet and waits until its pod is gone.
pub fn remove(node: &Node) -> Result<()> {
    node.kubectl.delete(&["daemonset", "gpu-device-plugin", NAMESPACE, "--cascade=foreground"])
}

/// Removes what the plugin keeps of the GPUs' health: a new simulated driver proves no reset. The plugin must not run.
pub fn forget_health(node: &Node) -> Result<()> {
    let kept = node.cluster().host_path("/var/lib/gantry/device-plugin/health.json");
    match fs::remove_file(&kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", kept.display()))
        }
        _ => Ok(()),
    }
}

/// Deletes the pod and waits until the DaemonSet has started another one that is registered.
pub fn replace(node: &Node) -> Result<()> {
    let before = node.registrations()?;
    node.kubectl.delete(&["pods", NAMESPACE, SELECTOR])?;
    node.wait_for_registration_after(before)
}

/// Has the DaemonSet replace its pods, as a new image does.
pub fn update(node: &Node) -> Result<()> {
    node.kubectl.run(&["rollout", "restart", "daemonset", "gpu-device-plugin", NAMESPACE]).map(drop)
}

/// The uids of all its pods on the node.
pub fn uids(node: &Node) -> Result<Vec<String>> {
    Ok(pods(node)?.iter().map(|pod| text(&pod["metadata"]["uid"])).collect())
}

/// The pod on the node, if there is one.
pub fn pod(node: &Node) -> Result<Option<Value>> {
    Ok(pods(node)?.into_iter().next())
}

/// Its pods on the node: two while an update overlaps.
fn pods(node: &Node) -> Result<Vec<Value>> {
    let here = format!("--field-selector=spec.nodeName={}", node.name);
    let pods = node.kubectl.json(&["get", "pods", NAMESPACE, SELECTOR, &here])?;
    Ok(pods["items"].as_array().cloned().unwrap_or_default())
}

/// Waits until the pod's container runs, and returns the pod.
pub fn wait_until_running(node: &Node) -> Result<Value> {
    wait("the plugin's container to run", || {
        let Some(pod) = pod(node)? else { return Ok(Verdict::Waiting("no pod".to_owned())) };
        match container(&pod)["state"]["running"].is_object() && pod["status"]["podIP"].is_string() {
            true => Ok(Verdict::Done(pod)),
            false => Ok(Verdict::Waiting(pod["status"].to_string())),
        }
    })
}

/// Waits until the pod is Ready.
pub fn wait_until_ready(node: &Node) -> Result<()> {
    let ready = wait("the plugin's pod to be Ready", || {
        let Some(pod) = pod(node)? else { return Ok(Verdict::Waiting("no pod".to_owned())) };
        Ok(match container(&pod)["ready"] == true {
            true => Verdict::Done(()),
            false => Verdict::Waiting(container(&pod).to_string()),
        })
    });
    ready.with_context(|| summary(node))
}

/// Kills the plugin's process, as the kernel does when memory runs out.
pub fn kill(node: &Node, pod: &Value) -> Result<()> {
    let id = container_id(pod)?;
    let kill = ["--namespace=k8s.io", "tasks", "kill", "--signal=SIGKILL", &id];
    let output = node.cluster().enter("ctr").args(kill).output().context("start ctr")?;
    ensure!(output.status.success(), "ctr tasks kill: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A command of the plugin's program in its container, by `kubectl exec`.
pub fn command_in(node: &Node, args: &[&str]) -> Result<Command> {
    let name = text(&wait_until_running(node)?["metadata"]["name"]);
    let mut command = node.kubectl.command();
    command.args(["exec", NAMESPACE, &name, "--", "/usr/bin/gpu-device-plugin"]).args(args);
    Ok(command)
}

/// Runs it to its end, and gives what it printed.
pub fn run_in(node: &Node, args: &[&str]) -> Result<String> {
    let output = command_in(node, args)?.output().context("start kubectl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "gpu-device-plugin {args:?}: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The mounts of the pod's only container, as the kernel lists them.
pub fn mounts(node: &Node, pod: &Value) -> Result<String> {
    let pid = task(node, pod)?;
    let output =
        node.cluster().enter("cat").arg(format!("/proc/{pid}/mountinfo")).output().context("start cat")?;
    ensure!(output.status.success(), "process {pid}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The process of the pod's only container, as the node counts processes.
fn task(node: &Node, pod: &Value) -> Result<u32> {
    let id = container_id(pod)?;
    let ctr = ["--namespace=k8s.io", "tasks", "ls"];
    let output = node.cluster().enter("ctr").args(ctr).output().context("start ctr")?;
    let tasks = String::from_utf8_lossy(&output.stdout).into_owned();
    let pid = tasks.lines().find_map(|line| line.strip_prefix(&*id)?.split_whitespace().next());
    pid.and_then(|pid| pid.parse().ok()).with_context(|| format!("no task {id}: {tasks}"))
}

/// The same process as this machine counts them.
pub fn process(node: &Node, pod: &Value) -> Result<u32> {
    let task = task(node, pod)?.to_string();
    for entry in fs::read_dir("/proc").context("read /proc")? {
        let path = entry?.path();
        // A process may end meanwhile.
        let Ok(status) = fs::read_to_string(path.join("status")) else { continue };
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        // Its ids from this machine's to its container's, of which the node's is the second last.
        let ids: Vec<&str> = line("NSpid:").split_whitespace().collect();
        if line("Name:").trim() == NAME && ids.len() > 1 && ids[ids.len() - 2] == task {
            return ids[0].parse().context("a process id");
        }
    }
    bail!("no process {NAME} is {task} in the node")
}

/// Cuts every connection to the plugin's sockets, as a proxy between it and the kubelet does that dies. Returns how many
/// there were.
pub fn cut_connections(node: &Node, pod: &Value) -> Result<usize> {
    let process = process(node, pod)?;
    // Num RefCount Protocol Flags Type St Inode Path; 03 is connected, and an accepted socket has its listener's path. It
    // stands in the table of the network namespace of who connected: the kubelet's.
    let table =
        node.cluster().enter("cat").arg("/proc/self/net/unix").output().context("the node's sockets")?;
    let table = String::from_utf8_lossy(&table.stdout);
    let connected: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() == 8 && words[5] == "03" && words[7].contains("/gantry-"))
        .map(|words| format!("socket:[{}]", words[6]))
        .collect();
    let handle =
        pidfd_open(Pid::from_raw(i32::try_from(process)?).context("process 0")?, PidfdFlags::empty())?;
    let mut cut = 0;
    for entry in fs::read_dir(format!("/proc/{process}/fd")).context("its descriptors")? {
        let entry = entry?;
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        if connected.iter().any(|socket| target.as_os_str() == socket.as_str()) {
            let number = entry.file_name().to_string_lossy().parse()?;
            let socket = pidfd_getfd(&handle, number, PidfdGetfdFlags::empty()).context("its socket")?;
            shutdown(&socket, Shutdown::Both).context("shut its socket down")?;
            cut += 1;
        }
    }
    Ok(cut)
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

/// What the plugin answers on its admin port: status line, headers and body. The API server's proxy would hide
/// the body of an answer that says not ready.
pub fn ask(node: &Node, path: &str) -> Result<String> {
    let pod = pod(node)?.context("no plugin pod")?;
    let Some(ip) = pod["status"]["podIP"].as_str() else { bail!("the plugin's pod has no address yet") };
    let mut nc = node
        .cluster()
        .enter("timeout")
        .args(["10", "busybox", "nc", ip, "9401"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start busybox nc")?;
    let mut input = nc.stdin.take().context("nc's input")?;
    input
        .write_all(format!("GET {path} HTTP/1.1\r\nHost: plugin\r\nConnection: close\r\n\r\n").as_bytes())?;
    let output = nc.wait_with_output().context("wait for nc")?;
    drop(input);
    if !output.status.success() {
        bail!("nc {ip} 9401: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Waits until /ready has this in what it says.
pub fn wait_until_says(node: &Node, words: &str) -> Result<()> {
    wait(format!("/ready to say {words:?}"), || {
        let answer = ask(node, "/ready")?;
        Ok(if answer.contains(words) { Verdict::Done(()) } else { Verdict::Waiting(answer) })
    })
}

/// The sum of the samples on the plugin's /metrics whose name and labels begin so.
pub fn metric(node: &Node, sample: &str) -> Result<f64> {
    let page = ask(node, "/metrics")?;
    let values = page.lines().filter(|line| line.starts_with(sample));
    values.map(|line| line.rsplit(' ').next().unwrap_or_default().parse::<f64>().context("a sample")).sum()
}

/// For messages: how the pod stands, what it says on /ready, its last log lines.
pub fn summary(node: &Node) -> String {
    let pod = match pod(node) {
        Ok(Some(pod)) => pod,
        Ok(None) => return "no pod".to_owned(),
        Err(error) => return error.to_string(),
    };
    let mut said = format!("container {}", container(&pod)["state"]);
    if node.is_own() {
        match ask(node, "/ready") {
            Ok(answer) => {
                let body = answer.split_once("\r\n\r\n").map_or(&*answer, |(_, body)| body);
                let words: Vec<&str> = body.split_whitespace().collect();
                said += &format!("; /ready: {}", words.join(" "));
            }
            Err(error) => said += &format!("; /ready: {error}"),
        }
    }
    let name = text(&pod["metadata"]["name"]);
    let log =
        node.kubectl.run(&["logs", NAMESPACE, &name, "--tail=8"]).unwrap_or_else(|error| error.to_string());
    format!("{said}; log:\n{log}")
}
