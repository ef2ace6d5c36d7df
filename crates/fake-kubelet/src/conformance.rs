//! One suite of what a kubelet does to device plugins, run on the fake and on a real kubelet alike.
//!
//! Knows a kubelet only as [`KubeletUnderTest`] and through its sockets. It brings a device plugin of its own, whose
//! every answer is scripted, and resources of its own under `conformance.gantry.dev`, one per case.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

mod cases;
mod plugin;
mod stage;

pub use plugin::{Call, ScriptedPlugin};

/// A kubelet as the suite needs it. Blocking: an implementation may run `kubectl`.
pub trait KubeletUnderTest {
    /// The plugin folder as this process sees it.
    fn plugin_dir(&self) -> PathBuf;

    /// The pod resources socket as this process sees it: beside the plugin folder, where a kubelet has it.
    fn pod_resources_socket(&self) -> PathBuf {
        self.plugin_dir().with_file_name("pod-resources").join("kubelet.sock")
    }

    /// Stops the kubelet and starts it again; returns when it accepts registrations.
    ///
    /// # Errors
    /// What failed, in words.
    fn restart(&mut self) -> Result<(), String>;

    /// What the node's status says of a resource; zeros when it says nothing.
    ///
    /// # Errors
    /// What failed, in words.
    fn amounts(&mut self, resource: &str) -> Result<Amounts, String>;

    /// Creates a pod of one container that asks for `count` of a resource, and waits until the kubelet took or
    /// rejected it. Its name is a DNS label, its namespace the implementation's choice.
    ///
    /// # Errors
    /// What failed, in words: a pod that stays pending, too.
    fn admit(&mut self, pod: &str, resource: &str, count: usize) -> Result<Admission, String>;

    /// The same for a pod whose container comes after an init container that asks for `init` of the resource, and ends.
    ///
    /// # Errors
    /// As [`KubeletUnderTest::admit`].
    fn admit_after_init(
        &mut self,
        pod: &str,
        resource: &str,
        init: usize,
        count: usize,
    ) -> Result<Admission, String>;

    /// Deletes a pod, admitted or rejected, and waits until it is gone.
    ///
    /// # Errors
    /// What failed, in words.
    fn release(&mut self, pod: &str) -> Result<(), String>;

    /// How long the suite waits for a change to show.
    fn patience(&self) -> Duration {
        Duration::from_secs(10)
    }
}

/// What a node has of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Devices, healthy or not.
    pub capacity: usize,
    /// Healthy devices, given away or not.
    pub allocatable: usize,
}

/// What the kubelet made of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Its container runs, or ran.
    Admitted,
    /// It failed without a start.
    Rejected {
        /// The reason in the pod's status.
        reason: String,
        /// The message in the pod's status.
        message: String,
    },
}

/// One case of the suite.
#[derive(Debug)]
pub struct Case {
    /// `<subject>_<condition>_<outcome>`.
    pub name: &'static str,
    run: fn(&mut stage::Stage<'_>) -> Result<(), String>,
}

/// What became of each case.
#[derive(Debug, Default)]
pub struct Report {
    /// In the order of the run.
    pub outcomes: Vec<Outcome>,
}

/// What became of a case.
#[derive(Debug)]
pub struct Outcome {
    /// The case.
    pub name: &'static str,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Every case.
pub fn cases() -> &'static [Case] {
    cases::ALL
}

/// Runs the cases whose names contain `filter` one after the other, `told` after each.
pub fn run(kubelet: &mut dyn KubeletUnderTest, filter: &str, told: &mut dyn FnMut(&Outcome)) -> Report {
    let mut report = Report::default();
    for (number, case) in cases().iter().enumerate().filter(|(_, case)| case.name.contains(filter)) {
        let began = Instant::now();
        let result = stage::Stage::open(kubelet, number).and_then(|mut stage| {
            let done = (case.run)(&mut stage);
            let cleared = stage.close();
            done.and(cleared)
        });
        let outcome = Outcome { name: case.name, took: began.elapsed(), failure: result.err() };
        told(&outcome);
        report.outcomes.push(outcome);
    }
    report
}

impl Report {
    /// Whether every case that was run passed, and one was.
    pub fn passed(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|outcome| outcome.failure.is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcomes.iter().try_for_each(|outcome| writeln!(f, "{outcome}"))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = self.took.as_secs_f64();
        match &self.failure {
            None => write!(f, "ok      {} ({took:.1} s)", self.name),
            Some(failure) => write!(f, "FAILED  {} ({took:.1} s): {failure}", self.name),
        }
    }
}
