//! The cluster as a whole: up, down, and what a test does to it while it runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::component::Component;
use crate::fingerprint::Fingerprint;
use crate::kubectl::Kubectl;
use crate::kubelet::KubeletRelease;
use crate::layout::{Layout, NODE_NAME};
use crate::lock::lock;
use crate::node::{self, Node};
use crate::poll::{Verdict, until};
use crate::progress::{Progress, REMINDER};
use crate::remains::{clean, keep_logs, remove_files};
use crate::state::State;
use crate::{cgroup, containerd, control_plane, image, kubelet, network, packages, pki, tools};

/// The cluster that is meant when no name is given.
pub const DEFAULT_NAME: &str = "e2e";

/// A machine under load starts slowly; a component that died is noticed at once.
const PATIENCE: Duration = Duration::from_secs(180);

/// Lines of a log that an error shows.
const TAIL: usize = 30;

/// A cluster that runs.
#[derive(Debug)]
pub struct Cluster {
    pub(crate) layout: Layout,
    pub(crate) node: Node,
    pub(crate) state: State,
    progress: Progress,
}

/// Another `up` or `down` does this.
const BUSY: &str = "starting or ending the same cluster";

impl Cluster {
    /// The running cluster `name`, if there is one.
    ///
    /// # Errors
    /// Without root, or when its recorded state cannot be read.
    pub fn find(name: &str) -> Result<Option<Self>> {
        packages::require_root()?;
        let layout = Layout::new(name)?;
        Ok(State::load(&layout)?.map(|state| Self::of(&layout, state)))
    }

    /// Starts the cluster `name`, or returns the one that runs. Builds and installs what is missing.
    ///
    /// # Errors
    /// When something is missing that cannot be installed, or a component does not come up: the error ends
    /// with the last lines of that component's log.
    pub fn up(name: &str) -> Result<Self> {
        let progress = Progress::start();
        packages::ensure(&progress)?;
        let layout = Layout::new(name)?;
        fs::create_dir_all(layout.root()).with_context(|| format!("create {}", layout.root().display()))?;
        let _lock = lock(&layout.at("lock"), BUSY, &progress)?;
        let programs = tools::ensure(&layout, &progress)?;
        if let Some(state) = State::load(&layout)? {
            let mut running = Self::of(&layout, state);
            let why_anew = if running.state.made_of == made_of(&layout, &programs) {
                running.dead().map(|dead| format!("{dead} has died"))
            } else {
                Some("its programs or settings have changed".to_owned())
            };
            let Some(why) = why_anew else {
                // A test that was killed may have left another one.
                running.use_kubelet(KubeletRelease::default())?;
                running.wait_for_node()?;
                progress.say(format!("the cluster {name:?} is up already"));
                return Ok(running);
            };
            progress.say(format!("the cluster {name:?} is started anew: {why}"));
        }
        clean(&layout)?;
        let cluster = Self::start(&layout, &programs, &progress)?;
        progress.say(format!("the cluster {name:?} is up: `cargo run -p test-cluster -- kubectl get nodes`"));
        Ok(cluster)
    }

    /// Ends the cluster `name` and removes everything but its logs and the built programs.
    ///
    /// # Errors
    /// Without root, or when a process or folder of it resists.
    pub fn down(name: &str) -> Result<()> {
        packages::require_root()?;
        let layout = Layout::new(name)?;
        if !layout.root().exists() {
            return Ok(());
        }
        let _lock = lock(&layout.at("lock"), BUSY, &Progress::start())?;
        clean(&layout)?;
        remove_files(&layout)
    }

    fn of(layout: &Layout, state: State) -> Self {
        let node = Node::of(layout, state.init);
        Self { layout: layout.clone(), node, state, progress: Progress::start() }
    }

    fn start(layout: &Layout, programs: &[PathBuf], progress: &Progress) -> Result<Self> {
        progress.say("writing certificates and configuration");
        keep_logs(layout)?;
        link_programs(layout, programs)?;
        pki::write(layout)?;
        for (file, text) in settings(layout) {
            put(layout, &file, &text)?;
        }
        let sandbox = image::write_sandbox(layout)?;
        cgroup::create(&layout.cgroup())?;

        let node = Node::boot(layout)?;
        let state = State::new(node.init(), made_of(layout, programs))?;
        state.save(layout)?;
        let mut cluster = Self { layout: layout.clone(), node, state, progress: *progress };

        progress.say("starting etcd, the API server and containerd");
        cluster.begin(&control_plane::etcd())?;
        cluster.begin(&control_plane::api_server())?;
        cluster.begin(&containerd::component())?;
        cluster.wait_for_containerd()?;
        image::import(&cluster.node, sandbox)?;
        cluster.wait_for_api()?;
        progress.say("starting the controller manager, the scheduler and the kubelet");
        cluster.begin(&control_plane::controller_manager())?;
        cluster.begin(&control_plane::scheduler())?;
        cluster.begin(&kubelet::component(KubeletRelease::default()))?;
        cluster.wait_for_node()?;
        cluster.wait_for_service_account()?;
        Ok(cluster)
    }

    /// kubectl as the cluster's administrator.
    pub fn kubectl(&self) -> Kubectl {
        Kubectl::for_kubeconfig(self.layout.at("bin/kubectl"), &self.kubeconfig())
            .in_network_of(self.state.init.pid)
    }

    /// The administrator's kubeconfig. It holds in the node's network only.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.at("admin.kubeconfig")
    }

    /// A command in the node: its files, network and processes.
    pub fn enter(&self, program: &str) -> Command {
        self.node.enter(program)
    }

    /// A command on the host's files in the node's network.
    pub fn enter_network(&self, program: &Path) -> Command {
        self.node.enter_network(program)
    }

    /// Where a path of the node lies on the host.
    pub fn host_path(&self, in_node: impl AsRef<Path>) -> PathBuf {
        self.layout.of_node(in_node.as_ref())
    }

    /// Brings an image archive into the node.
    ///
    /// # Errors
    /// When the archive cannot be read or containerd refuses it.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        image::import_from_host(&self.layout, &self.node, archive)
    }

    /// Ends a component with a signal (`TERM`, `KILL`) and waits until it is gone.
    ///
    /// # Errors
    /// When it is no component, or stays.
    pub fn stop(&mut self, component: &str, signal: &str) -> Result<()> {
        let process =
            *self.state.components.get(component).with_context(|| format!("no component {component:?}"))?;
        self.node.signal(process, signal)?;
        until(format!("the end of {component}"), PATIENCE, || {
            let lives = process.lives(&self.node.proc());
            Ok(if lives {
                Verdict::Waiting(format!("process {} lives", process.pid))
            } else {
                Verdict::Done(())
            })
        })?;
        self.state.components.remove(component);
        self.state.save(&self.layout)
    }

    /// Starts a component that was stopped.
    ///
    /// # Errors
    /// When it is no component, runs already, or cannot be started.
    pub fn start_again(&mut self, component: &str) -> Result<()> {
        if self.state.components.contains_key(component) {
            bail!("{component} runs already");
        }
        let known = components(self.state.kubelet).into_iter().find(|known| known.name == component);
        self.begin(&known.with_context(|| format!("no component {component:?}"))?)
    }

    /// Has this kubelet run the node from now on. Does nothing when it does already.
    ///
    /// # Errors
    /// When the running one stays, or this one cannot be started.
    pub fn use_kubelet(&mut self, release: KubeletRelease) -> Result<()> {
        if self.state.kubelet == release {
            return Ok(());
        }
        if self.state.components.contains_key("kubelet") {
            self.stop("kubelet", "TERM")?;
        }
        self.state.kubelet = release;
        self.start_again("kubelet")
    }

    /// Where a component's log lies.
    pub fn log(&self, component: &str) -> PathBuf {
        self.layout.log(component)
    }

    /// The last lines of a component's log.
    pub fn log_tail(&self, component: &str) -> String {
        tail(&self.layout.log(component))
    }

    /// Every component that was started, with its process' id in the node and start time.
    pub fn processes(&self) -> Vec<(String, u32, u64)> {
        let components = self.state.components.iter();
        components.map(|(name, process)| (name.clone(), process.pid, process.started)).collect()
    }

    /// Fails at once when a component of the cluster has died.
    ///
    /// # Errors
    /// With the component's name and the end of its log.
    pub fn check(&self) -> Result<()> {
        match self.dead() {
            None => Ok(()),
            Some(dead) => bail!(
                "{dead} of the cluster has died; `up` starts anew; the end of {}:\n{}",
                self.layout.log(dead).display(),
                self.log_tail(dead)
            ),
        }
    }

    /// A component that was started and no longer lives.
    pub(crate) fn dead(&self) -> Option<&str> {
        let missing = components(self.state.kubelet)
            .iter()
            .map(|known| known.name)
            .find(|name| !self.state.components.contains_key(*name));
        let proc = self.node.proc();
        let died = self.state.components.iter().find(|(_, process)| !process.lives(&proc));
        died.map(|(name, _)| name.as_str()).or(missing)
    }

    fn begin(&mut self, component: &Component) -> Result<()> {
        let process = match self.node.start(component) {
            Ok(process) => process,
            Err(error) => return Err(error).context(self.log_tail(component.name)),
        };
        self.state.components.insert(component.name.to_owned(), process);
        self.state.save(&self.layout)
    }

    fn wait_for_containerd(&self) -> Result<()> {
        self.wait("containerd's answer", "containerd", || {
            let output = self.node.enter("ctr").arg("version").output().context("start ctr")?;
            Ok(match output.status.success() {
                true => Verdict::Done(()),
                false => Verdict::Waiting(String::from_utf8_lossy(&output.stderr).into_owned()),
            })
        })
    }

    fn wait_for_api(&self) -> Result<()> {
        let kubectl = self.kubectl();
        self.wait("the API server's readiness", "kube-apiserver", || {
            match kubectl.run(&["get", "--raw=/readyz"]) {
                Ok(_) => Ok(Verdict::Done(())),
                Err(error) => Ok(Verdict::Waiting(error.to_string())),
            }
        })
    }

    /// Waits until the node is Ready.
    ///
    /// # Errors
    /// When it is not within the deadline, or a component dies meanwhile.
    pub fn wait_for_node(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let path =
            r#"--output=jsonpath={range .status.conditions[?(@.type=="Ready")]}{.status}: {.message}{end}"#;
        self.wait("the node to be Ready", "kubelet", || {
            match kubectl.run(&["get", "node", NODE_NAME, path]) {
                Ok(ready) if ready.starts_with("True") => Ok(Verdict::Done(())),
                Ok(other) => Ok(Verdict::Waiting(other)),
                Err(error) => Ok(Verdict::Waiting(error.to_string())),
            }
        })
    }

    /// Pods are refused until the controller manager has made it.
    fn wait_for_service_account(&self) -> Result<()> {
        let kubectl = self.kubectl();
        let get = ["get", "serviceaccount", "default"];
        self.wait("the default service account", "kube-controller-manager", || match kubectl.run(&get) {
            Ok(_) => Ok(Verdict::Done(())),
            Err(error) => Ok(Verdict::Waiting(error.to_string())),
        })
    }

    /// Waits for something that `component` brings about; its log explains a failure.
    fn wait(&self, what: &str, component: &str, mut look: impl FnMut() -> Result<Verdict<()>>) -> Result<()> {
        let proc = self.node.proc();
        let mut died = None;
        let mut reminded = Instant::now();
        let waited = until(what, PATIENCE, || {
            died =
                self.state.components.iter().find(|(_, process)| !process.lives(&proc)).map(|(name, _)| name);
            match died {
                Some(died) => bail!("{died} ended while waiting for {what}"),
                None => {
                    let verdict = look()?;
                    if let Verdict::Waiting(seen) = &verdict
                        && reminded.elapsed() >= REMINDER
                    {
                        reminded = Instant::now();
                        self.progress.say(format!("still waiting for {what}: {seen}"));
                    }
                    Ok(verdict)
                }
            }
        });
        waited.map_err(|error| {
            let culprit = died.map_or(component, String::as_str);
            anyhow!(
                "{error:#}; the end of {}:\n{}",
                self.layout.log(culprit).display(),
                self.log_tail(culprit)
            )
        })
    }
}

/// All components, in the order of their start.
pub(crate) fn components(kubelet: KubeletRelease) -> [Component; 6] {
    [
        control_plane::etcd(),
        control_plane::api_server(),
        containerd::component(),
        control_plane::controller_manager(),
        control_plane::scheduler(),
        kubelet::component(kubelet),
    ]
}

/// The configuration files, by their places below the state folder.
fn settings(layout: &Layout) -> [(String, String); 3] {
    [
        (containerd::CONFIG.to_owned(), containerd::config(image::SANDBOX)),
        (kubelet::CONFIG.to_owned(), kubelet::config(&layout.cgroup())),
        (format!("{}/10-pods.conflist", network::CNI_FOLDER), network::CNI_CONFIG.to_owned()),
    ]
}

/// The fingerprint of all that a running cluster was started with: when it differs, that cluster is another one.
fn made_of(layout: &Layout, programs: &[PathBuf]) -> String {
    let components = components(KubeletRelease::default());
    let what = format!("{programs:?}{:?}{components:?}{}", settings(layout), node::setup(layout));
    Fingerprint::of(what.as_bytes()).to_string()
}

/// Puts the programs below the state folder, where the node sees them.
fn link_programs(layout: &Layout, folders: &[PathBuf]) -> Result<()> {
    let bin = layout.at("bin");
    if bin.exists() {
        fs::remove_dir_all(&bin).with_context(|| format!("empty {}", bin.display()))?;
    }
    fs::create_dir_all(&bin).with_context(|| format!("create {}", bin.display()))?;
    for folder in folders {
        for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
            let entry = entry.with_context(|| format!("read {}", folder.display()))?;
            let link = bin.join(entry.file_name());
            fs::hard_link(entry.path(), &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(())
}

fn put(layout: &Layout, below: &str, text: &str) -> Result<()> {
    let path = layout.at(below);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    }
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_else(|error| format!("{}: {error}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_of_other_programs_or_settings_is_told_apart() {
        let layout = Layout::in_workspace(Path::new("/a"), "x").unwrap();
        let programs = |hash: &str| vec![PathBuf::from(format!("/a/tools/kubernetes-{hash}/bin"))];
        assert_eq!(made_of(&layout, &programs("1")), made_of(&layout, &programs("1")));
        assert_ne!(made_of(&layout, &programs("1")), made_of(&layout, &programs("2")));
        // The other checkout's kubelet has another cgroup in its settings.
        let other = Layout::in_workspace(Path::new("/b"), "x").unwrap();
        assert_ne!(made_of(&layout, &programs("1")), made_of(&other, &programs("1")));
    }
}
