//! The conformance suite on the fake.

use std::{path::PathBuf, time::Duration};

use fake_kubelet::{
    Builder, FakeKubelet, PodRequest,
    conformance::{self, Admission, Amounts, KubeletUnderTest},
};
use tokio::runtime::{self, Runtime};

struct Fake {
    runtime: Runtime,
    kubelet: FakeKubelet,
}

impl KubeletUnderTest for Fake {
    fn plugin_dir(&self) -> PathBuf {
        self.kubelet.dir().to_owned()
    }

    fn restart(&mut self) -> Result<(), String> {
        self.runtime.block_on(self.kubelet.restart()).map_err(|error| error.source.to_string())
    }

    fn amounts(&mut self, resource: &str) -> Result<Amounts, String> {
        let state = self.kubelet.resources().resources.remove(resource).unwrap_or_default();
        Ok(Amounts { capacity: state.capacity, allocatable: state.allocatable })
    }

    fn admit(&mut self, pod: &str, resource: &str, count: usize) -> Result<Admission, String> {
        self.admit_one(&PodRequest::new(pod, "main", resource, count))
    }

    fn admit_after_init(
        &mut self,
        pod: &str,
        resource: &str,
        init: usize,
        count: usize,
    ) -> Result<Admission, String> {
        let init = PodRequest { init: true, ..PodRequest::new(pod, "init", resource, init) };
        match self.admit_one(&init)? {
            Admission::Admitted => self.admit(pod, resource, count),
            rejected => Ok(rejected),
        }
    }

    fn release(&mut self, pod: &str) -> Result<(), String> {
        self.kubelet.release(pod);
        Ok(())
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }
}

impl Fake {
    fn admit_one(&mut self, request: &PodRequest) -> Result<Admission, String> {
        let admitted = self.runtime.block_on(self.kubelet.admit(request));
        Ok(match admitted {
            Ok(_) => Admission::Admitted,
            Err(error) => Admission::Rejected {
                reason: fake_kubelet::AdmissionError::REASON.to_owned(),
                message: error.to_string(),
            },
        })
    }
}

/// Cases that a kubelet which knows a plugin by its resource alone cannot pass.
const BY_SOCKET: [&str; 2] = ["register_live_socket_again_is_refused", "newer_plugin_outlives_the_older_one"];

fn started(builder: Builder) -> Fake {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kubelet = runtime.block_on(builder.start()).unwrap();
    Fake { runtime, kubelet }
}

#[test]
fn suite_run_on_a_fake_that_tracks_by_resource_passes_but_for_what_sockets_tell() {
    let dir = tempfile::tempdir().unwrap();
    let mut fake = started(FakeKubelet::builder(dir.path().join("device-plugins")).tracking_by_resource());
    for case in conformance::cases().iter().filter(|case| !BY_SOCKET.contains(&case.name)) {
        let report = conformance::run(&mut fake, case.name, &mut |_| {});
        assert!(report.passed(), "{report}");
    }
}

#[test]
fn suite_run_on_the_fake_passes() {
    let dir = tempfile::tempdir().unwrap();
    let mut fake = started(FakeKubelet::builder(dir.path().join("device-plugins")));
    let kubelet = fake.kubelet.clone();
    let filter = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let report = conformance::run(&mut fake, &filter, &mut |_| {});
    let log: Vec<String> = kubelet.log().iter().map(|happening| happening.event.to_string()).collect();
    assert!(report.passed(), "{report}\n{}", log.join("\n"));
}
