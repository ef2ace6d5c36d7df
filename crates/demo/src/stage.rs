//! The stage: a simulated node, the daemons on it, the screen, and the book of what held and what did not.
//!
//! Scenes act through it. It knows how to wait, to look and to check, and none of their stories.

mod left;
mod looks;

use std::fs;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, bail};
use fake_kubelet::Happening;
use sim_node::{Process, SimNode, eventually};

use crate::gpus::Gpus;
use crate::interrupt::{Interrupt, Interrupted};
use crate::scenes::Scene;
use crate::screen::Screen;

/// The resource that the pods of this show ask for.
pub const RESOURCE: &str = "nvidia.com/gpu";

/// Longest wait for anything; on a quiet machine all come within two seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time that a reader gets between two scenes.
const BREATH: Duration = Duration::from_millis(1100);

/// Time that a reader gets between two actions of a scene.
const BEAT: Duration = Duration::from_millis(500);

/// Everything that a scene has.
#[derive(Debug)]
pub struct Stage {
    /// The view.
    pub screen: Screen,
    /// The device plugin, once a scene started it. Goes before the node, which it uses.
    plugin: Option<Process>,
    plugin_started: SystemTime,
    plugin_may_end: bool,
    /// The node.
    pub node: SimNode,
    /// Its GPUs, as declared.
    pub gpus: Gpus,
    interrupt: Interrupt,
    begun: Instant,
    scenes: usize,
    held: usize,
    broken: Vec<String>,
}

impl Stage {
    /// Lays the node down and starts what is there before any GPU daemon.
    ///
    /// # Errors
    /// When a program is not built, or the system refuses.
    pub fn set(preset: &str, screen: Screen, interrupt: Interrupt) -> Result<Stage> {
        let begun = Instant::now();
        let node = SimNode::builder().preset(preset).build()?;
        let gpus = Gpus::of(node.driver().node()?);
        Ok(Stage {
            screen,
            plugin: None,
            plugin_started: UNIX_EPOCH,
            plugin_may_end: false,
            node,
            gpus,
            interrupt,
            begun,
            scenes: 0,
            held: 0,
            broken: Vec::new(),
        })
    }

    /// Begins a scene, with time to read the one before.
    ///
    /// # Errors
    /// When it was interrupted.
    pub fn open(&mut self, scene: &Scene) -> Result<()> {
        if self.scenes > 0 {
            self.pause(BREATH)?;
        }
        self.scenes += 1;
        Ok(self.screen.scene(self.scenes, scene.name)?)
    }

    /// Says what is done now, with time to read what came before.
    ///
    /// # Errors
    /// When it was interrupted.
    pub fn act(&mut self, text: &str) -> Result<()> {
        self.pause(BEAT)?;
        Ok(self.screen.action(text)?)
    }

    /// Checks one thing that is shown.
    ///
    /// # Errors
    /// When the screen is gone.
    pub fn expect(&mut self, holds: bool, text: &str) -> Result<()> {
        if holds {
            self.held += 1;
        } else {
            self.broken.push(text.to_owned());
        }
        Ok(self.screen.check(holds, text)?)
    }

    /// Waits until `probe` succeeds.
    ///
    /// # Errors
    /// When it does not in time, or it was interrupted.
    pub fn until<T>(&self, what: &str, mut probe: impl FnMut() -> Result<T, String>) -> Result<T> {
        let found = eventually(what, PATIENCE, || match self.disturbance() {
            Some(disturbance) => Ok(Err(disturbance)),
            None => probe().map(Ok),
        });
        found?
    }

    /// What makes further waiting vain: an interruption, or a daemon that ended by itself.
    pub fn disturbance(&self) -> Option<anyhow::Error> {
        if self.interrupt.is_set() {
            return Some(Interrupted.into());
        }
        let plugin = self.plugin.as_ref().filter(|_| !self.plugin_may_end)?;
        let status = plugin.ended().ok().flatten()?;
        Some(anyhow!("{} ended by itself: {status}", plugin.name()))
    }

    /// Whether an end was asked for, having waited a moment for it.
    pub fn is_interrupted_within(&self, span: Duration) -> bool {
        self.interrupt.within(span)
    }

    /// Starts the device plugin, to be ended with the stage.
    ///
    /// # Errors
    /// When it is not built, or cannot be started.
    pub fn start_plugin(&mut self, args: &[&str]) -> Result<()> {
        self.plugin_started = SystemTime::now();
        self.plugin = Some(self.node.spawn_plugin(args)?);
        Ok(())
    }

    /// When the device plugin was started.
    pub fn plugin_started(&self) -> SystemTime {
        self.plugin_started
    }

    /// The device plugin.
    ///
    /// # Errors
    /// When no scene has started it.
    pub fn plugin(&self) -> Result<&Process> {
        self.plugin.as_ref().context("the plugin was not started")
    }

    /// The device plugin, whose end is no failure from now on.
    ///
    /// # Errors
    /// When no scene has started it.
    pub fn dismiss_plugin(&mut self) -> Result<&Process> {
        self.plugin_may_end = true;
        self.plugin()
    }

    /// What the daemons said last, for a show that failed.
    ///
    /// # Errors
    /// When the screen is gone.
    pub fn show_last_words(&mut self) -> Result<()> {
        for daemon in self.plugin.iter().chain(self.node.kubelet_process()) {
            self.screen.line("")?;
            self.screen.line(&format!("The last words of {}:", daemon.name()))?;
            self.screen.line(&daemon.last_words(20))?;
        }
        Ok(())
    }

    /// Takes everything down, says what held and what to do `next`, and tells whether all held.
    ///
    /// # Errors
    /// When something is left of it, or the screen is gone.
    pub fn sum_up(mut self, next: &str) -> Result<bool> {
        if !self.broken.is_empty() {
            self.show_last_words()?;
        }
        let Stage { mut screen, plugin, node, begun, held, broken, .. } = self;
        let dir = node.root().parent().map(ToOwned::to_owned).unwrap_or_default();
        drop(plugin);
        drop(node);
        if dir.exists() {
            bail!("{} was left behind", dir.display());
        }
        let programs = sim_node::find("gpu-device-plugin")?;
        let programs = programs.parent().map(fs::canonicalize).transpose()?.unwrap_or_default();
        // Workers end with their daemon, by the kernel's hand: that takes a moment.
        eventually("all processes are gone", PATIENCE, || {
            match left::processes(&programs, &dir).as_slice() {
                [] => Ok(()),
                left => Err(format!("left are {left:?}")),
            }
        })?;
        screen.line("")?;
        let checks = held + broken.len();
        let seconds = begun.elapsed().as_secs_f64();
        screen.check(
            broken.is_empty(),
            &format!("{held} of {checks} checks held in {seconds:.1} s; no process and no file is left"),
        )?;
        for text in &broken {
            screen.check(false, text)?;
        }
        if cfg!(debug_assertions) {
            screen.hint("The times are a debug build's; `make bench` measures properly.")?;
        }
        if !next.is_empty() {
            screen.hint(next)?;
        }
        Ok(broken.is_empty())
    }

    fn pause(&self, span: Duration) -> Result<()> {
        let is_interrupted =
            if self.screen.is_paced() { self.interrupt.within(span) } else { self.interrupt.is_set() };
        if is_interrupted { Err(Interrupted.into()) } else { Ok(()) }
    }
}

/// How long after `begin` this happened.
pub fn after(begin: SystemTime, happening: &Happening) -> Duration {
    let at = UNIX_EPOCH + Duration::from_nanos(happening.unix_nanos);
    at.duration_since(begin).unwrap_or_default()
}
