//! The node: a mount, network and process-id namespace in which the cluster lives.
//!
//! Its first process is a small shell that joins the cluster's cgroup, sets the namespace up and then reaps.
//! Killing that one process makes the kernel end all others and drop all mounts, whatever state they are in: no
//! other clean-up of processes, mounts, network devices or sockets exists, and none is needed after a crash.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::cgroup;
use crate::component::Component;
use crate::layout::{IN_NODE, Layout, PRIVATE};
use crate::network::{API_SERVICE_IP, NODE_IP};
use crate::poll::{Verdict, until};
use crate::process::ProcessId;

/// The file by which the first process says its id on the host, and that it is ready.
const INIT_FILE: &str = "init.pid";

/// Settings of the kernel that a kubelet makes, below /proc/sys.
const KERNEL_KEYS: &str = "vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops \
                           kernel/keys/root_maxkeys kernel/keys/root_maxbytes";

/// A node that runs.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    layout: Layout,
    init: ProcessId,
}

impl Node {
    /// The node whose first process is `init`.
    pub(crate) fn of(layout: &Layout, init: ProcessId) -> Self {
        Self { layout: layout.clone(), init }
    }

    /// Makes the namespaces and waits until they are set up.
    pub(crate) fn boot(layout: &Layout) -> Result<Self> {
        for folder in ["logs", "node/run/cluster", "node/var-lib", "node/var-log", "node/run/lock"] {
            let path = layout.at(folder);
            fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
        }
        let announced = layout.at(INIT_FILE);
        if let Err(error) = fs::remove_file(&announced)
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("remove {}", announced.display()));
        }
        let log = layout.log("node");
        let out = fs::File::create(&log).with_context(|| format!("create {}", log.display()))?;
        // setsid: a signal to the caller's terminal must not reach the cluster.
        let mut unshare = Command::new("setsid")
            .args(["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec"])
            .arg(format!("{}{}", cgroup::join(&layout.cgroup())?, setup(layout)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("start setsid unshare")?;
        let booted = until("the node's namespaces", Duration::from_secs(30), || {
            let said = fs::read_to_string(&announced).ok().and_then(|text| text.trim().parse().ok());
            if let Some(init) = said.and_then(|pid| ProcessId::find(Path::new("/proc"), pid)) {
                return Ok(Verdict::Done(init));
            }
            let text = fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = unshare.try_wait()? {
                bail!("the node's namespaces could not be made ({status}):\n{text}");
            }
            Ok(Verdict::Waiting(format!("no {INIT_FILE}; {text}")))
        });
        if booted.is_err() {
            // The half-made node goes with the process that made it. Its end is not worth a second error.
            let _ = unshare.kill().and_then(|()| unshare.wait());
        }
        Ok(Self::of(layout, booted?))
    }

    /// The first process.
    pub(crate) fn init(&self) -> ProcessId {
        self.init
    }

    /// A command in the node.
    pub(crate) fn enter(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.init.pid))
            .args(["--mount", "--net", "--pid", "--", program])
            // A Cargo or Rust setting of the caller has no business in there.
            .env_clear()
            .env(
                "PATH",
                format!("{IN_NODE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            )
            .env("HOME", "/root");
        command
    }

    /// A command on the host's files, in the node's network.
    pub(crate) fn enter_network(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.init.pid)).args(["--net", "--"]).arg(program);
        command
    }

    /// Starts a component as a child of the node's first process, its output appended to its log.
    pub(crate) fn start(&self, component: &Component) -> Result<ProcessId> {
        let log = format!("{IN_NODE}/logs/{}.log", component.name);
        // The shell ends at once, which hands the program to the first process. It prints the id that the
        // program has in the node; setsid keeps it, since it is no group leader.
        let script = r#"log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!"#;
        let script = format!("{}{script}", cgroup::join(&self.layout.cgroup())?);
        let output = self
            .enter("sh")
            .args(["-ec", &script, "sh", &log, &component.program()])
            .args(&component.args)
            .output()
            .with_context(|| format!("start {}", component.name))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let Ok(pid) = said.trim().parse() else {
            bail!("start {}: {said}{}", component.name, String::from_utf8_lossy(&output.stderr));
        };
        ProcessId::find(&self.proc(), pid).with_context(|| {
            format!("{} ended at once; see {}", component.name, self.layout.log(component.name).display())
        })
    }

    /// Sends a signal to a process of the node, if that very process still lives.
    pub(crate) fn signal(&self, process: ProcessId, signal: &str) -> Result<()> {
        if !process.lives(&self.proc()) {
            return Ok(());
        }
        let status = self
            .enter("kill")
            .args([format!("-{signal}"), process.pid.to_string()])
            .status()
            .context("kill")?;
        if !status.success() && process.lives(&self.proc()) {
            bail!("kill -{signal} {} in the node: {status}", process.pid);
        }
        Ok(())
    }

    /// The node's own /proc.
    pub(crate) fn proc(&self) -> PathBuf {
        Path::new("/proc").join(self.init.pid.to_string()).join("root/proc")
    }
}

/// What the first process runs, once it is in the cluster's cgroup.
pub(crate) fn setup(layout: &Layout) -> String {
    let root = shell_quote(&layout.root());
    // From the first on, the state folder is known at its place in the node: the host's path may by then be
    // hidden by one of these mounts.
    let binds: String = PRIVATE
        .iter()
        .skip(1)
        .map(|(at, folder)| format!("mount --rbind {IN_NODE}/{folder} {at}\n"))
        .collect();
    format!(
        "# Nothing mounted here may reach the host; containers of this node must see what is mounted here later.
mount --make-rprivate /
mount --bind {root} {root}/node/run/cluster
mount --rbind {root}/node/run /run
{binds}mount --make-rshared /
# The host's /proc is still mounted: so this is the id that the host knows.
read -r pid rest </proc/self/stat
mount -t proc proc /proc
# Every kubelet sets these. In here it sets files instead of the host's kernel.
for key in {KERNEL_KEYS}; do
  copy={IN_NODE}/node/sysctl/$key
  mkdir -p \"${{copy%/*}}\"
  cat /proc/sys/$key >\"$copy\"
  mount --bind \"$copy\" /proc/sys/$key
done
ip link set lo up
ip address add {NODE_IP}/32 dev lo
ip address add {API_SERVICE_IP}/32 dev lo
echo 1 >/proc/sys/net/ipv4/ip_forward
echo \"$pid\" >{IN_NODE}/{INIT_FILE}.new
mv {IN_NODE}/{INIT_FILE}.new {IN_NODE}/{INIT_FILE}
exec </dev/null >/dev/null 2>&1
set +e
# `wait` also reaps the orphans that come to a namespace's first process; it needs one child that stays.
sleep infinity &
while :; do wait; done
"
    )
}

fn shell_quote(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
