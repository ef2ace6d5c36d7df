//! Everything at once: pods come and go while kubelet, plugin, driver and GPUs fail, and a referee watches.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fake_kubelet::PodRequest;
use fastrand::Rng;
use history::{Container, Progress, Seen, Truth, check, gpu_states, pod_resources, record};
use nvml_sim::{Effect, Fault, FaultEntry, Occurrence};
use sim_node::{Kubelet, Process, Signal, SimNode};

use crate::harness::{QUICK, RESOURCE, eventually, gpus, plugin_sockets, start_plugin};

/// How often the referee looks.
const INTERVAL: Duration = Duration::from_millis(250);

/// How long a broken GPU may be called healthy on a busy machine.
const DETECTION: Duration = Duration::from_secs(60);

/// Most GPUs broken at once: one cause takes half of a node's at most.
const MOST_BROKEN: usize = 3;

/// The plugin that runs, for the referee, who asks it for its metrics.
type Running = Mutex<Arc<Process>>;

fn running(plugin: &Running) -> Arc<Process> {
    Arc::clone(&plugin.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the test knows of the node that it strikes.
struct Story<'a> {
    node: &'a SimNode,
    plugin: &'a Running,
    truth: &'a Truth,
    dice: Rng,
    gpus: Vec<String>,
    broken: Vec<usize>,
    pods: Vec<String>,
    admitted: usize,
    told: Vec<String>,
}

impl Story<'_> {
    fn step(&mut self) {
        match self.dice.usize(..20) {
            0..=5 => self.admit(),
            6..=9 => self.end(),
            10 => self.restart_kubelet(),
            11..=12 => self.restart_plugin(),
            13 => self.lose_connection(),
            14..=15 => self.break_gpu(),
            16..=17 => self.mend_gpu(),
            18 => self.disturb_driver(),
            _ => self.settle(),
        }
    }

    fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    fn admit(&mut self) {
        let pod = format!("pod-{}", self.told.len());
        let count = 1 + self.dice.usize(..3);
        let request = PodRequest::new(pod.as_str(), "main", RESOURCE, count);
        if self.dice.usize(..3) > 0 {
            self.wait_for_plugin();
        }
        let admitted = self.node.kubelet().allocate(request);
        self.tell(format!("{pod} asks for {count}: {:?}", admitted.as_ref().map(|it| &it.devices)));
        if admitted.is_ok() {
            self.admitted += 1;
            self.pods.push(pod);
        }
    }

    fn end(&mut self) {
        if self.pods.is_empty() {
            return;
        }
        let pod = self.pods.swap_remove(self.dice.usize(..self.pods.len()));
        self.truth.ends(&pod);
        self.node.kubelet().release(pod.as_str()).unwrap();
        self.truth.gone(&pod);
        self.tell(format!("{pod} ends"));
    }

    fn restart_kubelet(&mut self) {
        self.tell("the kubelet restarts".to_owned());
        self.node.kubelet().restart().unwrap();
    }

    fn restart_plugin(&mut self) {
        self.tell("the plugin is killed".to_owned());
        running(self.plugin).signal(Signal::KILL).unwrap();
        let next = Arc::new(start_plugin(self.node, &QUICK));
        *self.plugin.lock().unwrap_or_else(PoisonError::into_inner) = next;
    }

    fn lose_connection(&mut self) {
        if self.dice.usize(..2) == 0 {
            let dropped = self.node.kubelet().drop_streams(RESOURCE).unwrap();
            self.tell(format!("{dropped} streams are dropped"));
        } else {
            let sockets = plugin_sockets(self.node);
            sockets.iter().for_each(|socket| drop(std::fs::remove_file(socket)));
            self.tell(format!("{} sockets are removed", sockets.len()));
        }
    }

    fn break_gpu(&mut self) {
        let index = self.dice.usize(..self.gpus.len());
        if self.broken.len() >= MOST_BROKEN || self.broken.contains(&index) {
            return;
        }
        // The first two are well again once the driver says so, also if no probe has seen them sick.
        let (driver, gpu) = (self.node.driver(), index.to_string());
        let how = self.dice.usize(..3);
        match how {
            0 => driver.inject_xid(&gpu, 48, None, None).unwrap(),
            1 => driver.lose(&gpu, None).unwrap(),
            _ => self.break_and_forget(index),
        }
        self.truth.breaks(&self.gpus[index]);
        self.broken.push(index);
        self.tell(format!("GPU {index} breaks ({how})"));
    }

    /// The driver itself forgets this at once: only the plugin knows, once it has heard of it.
    fn break_and_forget(&self, index: usize) {
        let (kubelet, gpu) = (self.node.kubelet(), &self.gpus[index]);
        let mut looks = 0;
        eventually("the kubelet knows of the XID", || {
            // A worker that starts anew may miss one.
            if looks % 50 == 0 {
                let gpu = Some(index.to_string());
                let xid =
                    FaultEntry { xid: Some(95), no_recovery_action: true, gpu, ..FaultEntry::default() };
                self.node.driver().declare(xid).unwrap();
            }
            looks += 1;
            let state = kubelet.state().map_err(|error| error.to_string())?;
            let devices = state.resources.get(RESOURCE).map(|resource| resource.devices.clone());
            let devices = devices.unwrap_or_default();
            let is_known = devices.iter().any(|device| device.healthy)
                && devices.iter().all(|device| device.id != *gpu || !device.healthy);
            if is_known { Ok(()) } else { Err(format!("{devices:?}")) }
        });
    }

    /// A person says that the GPU is well.
    fn clear(&self, index: usize) {
        eventually("the plugin takes a person's word", || {
            let mut command = self.node.command("gpu-device-plugin").unwrap();
            command.args(self.node.plugin_flags()).args(["health", "clear", &self.gpus[index]]);
            let said = command.args(["--who", "ada", "--why", "repaired"]).output().unwrap();
            if said.status.success() { Ok(()) } else { Err(format!("{said:?}")) }
        });
    }

    fn mend_gpu(&mut self) {
        if self.broken.is_empty() {
            return;
        }
        let index = self.broken.swap_remove(self.dice.usize(..self.broken.len()));
        self.truth.mends(&self.gpus[index]);
        let (driver, gpu) = (self.node.driver(), index.to_string());
        driver.give_back(&gpu).unwrap();
        driver.reset(&gpu).unwrap();
        self.clear(index);
        self.tell(format!("GPU {index} is repaired"));
    }

    fn disturb_driver(&mut self) {
        let effect = if self.dice.usize(..2) == 0 { Effect::Crash } else { Effect::Return(999) };
        self.tell(format!("the driver fails once: {effect:?}"));
        let fault = Fault { occurrence: Occurrence::Times(1), ..Fault::new("nvmlDeviceGet*", effect) };
        self.node.driver().add_fault(fault).unwrap();
    }

    /// Waits until the kubelet has something to give: most pods find a plugin, and some do not.
    fn wait_for_plugin(&mut self) {
        let kubelet = self.node.kubelet();
        eventually("something is allocatable", || match resource(&kubelet) {
            Ok((_, allocatable)) if allocatable > 0 => Ok(()),
            other => Err(format!("{other:?}\n{}", self.told.join("\n"))),
        });
    }

    /// Waits until the kubelet offers what is not broken.
    fn settle(&mut self) {
        let (kubelet, wanted) = (self.node.kubelet(), self.gpus.len() - self.broken.len());
        // What was mended comes back by three good probes.
        let settled = sim_node::eventually(&format!("{wanted} are allocatable"), 2 * DETECTION, || {
            let found = resource(&kubelet)?;
            // More than that is for the referee to judge.
            if found.1 >= wanted { Ok(()) } else { Err(format!("{found:?}")) }
        });
        assert!(settled.is_ok(), "{settled:?}\n{}", self.told.join("\n"));
        self.tell(format!("{wanted} are allocatable"));
    }
}

fn resource(kubelet: &Kubelet) -> Result<(usize, usize), String> {
    let state = kubelet.state().map_err(|error| error.to_string())?;
    let found = state.resources.get(RESOURCE).ok_or("not registered")?;
    Ok((found.capacity, found.allocatable))
}

fn look(kubelet: &Kubelet, pod_resources_socket: &Path, plugin: &Running) -> Seen {
    let resources = pod_resources(pod_resources_socket, "default").ok();
    let (allocatable, held) = resources.map(|found| (found.allocatable, found.held)).unzip();
    let state = kubelet.state().ok();
    let status = state.as_ref().map(|state| {
        state.resources.iter().map(|(name, resource)| (name.clone(), resource.allocatable)).collect()
    });
    let containers = state.map(|state| {
        let pods = state.pods.into_iter().flat_map(|pod| {
            let name = pod.pod.name;
            let container = |container| {
                let id = name.clone();
                (format!("{name}/{container}"), Container { id, progress: Progress::Running })
            };
            pod.holdings.into_iter().map(|it| container(it.container)).collect::<BTreeMap<_, _>>()
        });
        pods.collect()
    });
    let page = running(plugin).admin_get("/metrics").ok();
    let states = page.map(|page| gpu_states(&page.body));
    Seen { allocatable, held, status, states, containers }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

// Fails if serve.rs begins with an empty ledger: the referee says that a GPU was laundered.
#[test]
fn chaos_of_kubelet_plugin_driver_and_gpus_breaks_no_promise() {
    let seed = number("GANTRY_SOAK_SEED").unwrap_or(20_261_126);
    println!("GANTRY_SOAK_SEED={seed}");
    let end = number("GANTRY_SOAK_MINUTES").map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
    let node = SimNode::builder().runtime(None).build().unwrap();
    let plugin: Running = Mutex::new(Arc::new(start_plugin(&node, &QUICK)));
    let truth = Truth::default();
    let kubelet = node.kubelet();
    let socket = node.kubelet_dir().join("pod-resources/kubelet.sock");
    let mut story = Story {
        node: &node,
        plugin: &plugin,
        truth: &truth,
        dice: Rng::with_seed(seed.max(1)),
        gpus: gpus(&node),
        broken: Vec::new(),
        pods: Vec::new(),
        admitted: 0,
        told: Vec::new(),
    };
    story.settle();
    let (story, looks) = record(
        &truth,
        INTERVAL,
        || look(&kubelet, &socket, &plugin),
        move || {
            let mut steps = 0;
            while end.map_or(steps < 60, |end| Instant::now() < end) {
                steps += 1;
                story.step();
            }
            node_is_mended(&mut story);
            story
        },
    );
    let violations: Vec<String> = check(&looks, DETECTION).iter().map(ToString::to_string).collect();
    assert!(violations.is_empty(), "{}\n{}", violations.join("\n"), story.told.join("\n"));
    let spoke = |of: fn(&Seen) -> bool| looks.iter().filter(|look| of(&look.seen)).count();
    let (held, states) = (spoke(|seen| seen.held.is_some()), spoke(|seen| seen.states.is_some()));
    println!("{} steps, {} pods admitted, {} looks", story.told.len(), story.admitted, looks.len());
    assert!(story.admitted >= 5, "nothing was at stake:\n{}", story.told.join("\n"));
    assert!(held > looks.len() / 2 && states > 5, "of {} looks {held} and {states}", looks.len());
}

/// Everything is repaired and released, and can be had then.
fn node_is_mended(story: &mut Story<'_>) {
    story.node.driver().clear_faults(None).unwrap();
    while !story.broken.is_empty() {
        story.mend_gpu();
    }
    while !story.pods.is_empty() {
        story.end();
    }
    story.settle();
    let all = PodRequest::new("all", "main", RESOURCE, 8);
    assert!(story.node.kubelet().allocate(all).is_ok());
}
