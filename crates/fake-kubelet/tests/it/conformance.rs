//! The conformance suite on the fake.

use std::{path::PathBuf, time::Duration};

use fake_kubelet::{
    FakeKubelet, PodRequest,
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

#[test]
fn suite_run_on_the_fake_passes() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let kubelet = runtime.block_on(FakeKubelet::start(dir.path().join("device-plugins"))).unwrap();
    let mut fake = Fake { runtime, kubelet: kubelet.clone() };
    let filter = std::env::var("CONFORMANCE_CASE").unwrap_or_default();
    let report = conformance::run(&mut fake, &filter, &mut |_| {});
    let log: Vec<String> = kubelet.log().iter().map(|happening| happening.event.to_string()).collect();
    assert!(report.passed(), "{report}\n{}", log.join("\n"));
}
