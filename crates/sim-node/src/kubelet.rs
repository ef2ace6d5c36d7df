//! The node's kubelet, asked over its control socket. Every question comes back by a deadline, whatever hangs.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use fake_kubelet::control::client::{Client, ControlError};
use fake_kubelet::{Allocation, Happening, PodName, PodRequest, State};
use thiserror::Error;

/// Longer than any answer of the real kubelet's device manager takes, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A question that was not answered.
#[derive(Debug, Error)]
pub enum KubeletError {
    /// The kubelet refused, or is not there.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// It did not answer in time.
    #[error("the kubelet did not answer {question} within {PATIENCE:?}")]
    Late {
        /// What it was asked.
        question: &'static str,
    },
}

impl KubeletError {
    /// The kubelet's own words, when it refused.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            KubeletError::Control(ControlError::Refused(words)) => Some(words),
            _ => None,
        }
    }
}

/// The kubelet of a simulated node.
#[derive(Clone, Debug)]
pub struct Kubelet {
    socket: PathBuf,
}

impl Kubelet {
    pub(crate) fn at(socket: PathBuf) -> Kubelet {
        Kubelet { socket }
    }

    /// Everything that it knows: resources, devices, pods.
    ///
    /// # Errors
    /// When it does not answer; so for all of its questions.
    pub fn state(&self) -> Result<State, KubeletError> {
        self.ask("state", Client::state)
    }

    /// Admits a container.
    ///
    /// # Errors
    /// When it does not fit ([`KubeletError::refusal`]).
    pub fn allocate(&self, request: PodRequest) -> Result<Allocation, KubeletError> {
        self.ask("allocate", move |client| client.allocate(request))
    }

    /// Ends a pod; tells whether it was known.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn release(&self, pod: impl Into<PodName>) -> Result<bool, KubeletError> {
        let pod = pod.into();
        self.ask("release", move |client| client.release(pod))
    }

    /// Drops a resource's streams while the kubelet stays up; returns how many there were.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn drop_streams(&self, resource: &str) -> Result<usize, KubeletError> {
        let resource = resource.to_owned();
        self.ask("drop_streams", move |client| client.drop_streams(&resource))
    }

    /// Registers plugins without opening their streams from now on.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn withhold_streams(&self) -> Result<(), KubeletError> {
        self.ask("withhold_streams", Client::withhold_streams)
    }

    /// Opens the streams that were withheld, and those of plugins to come.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn open_streams(&self) -> Result<(), KubeletError> {
        self.ask("open_streams", Client::open_streams)
    }

    /// Stops it as if killed; it still answers here.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn stop(&self) -> Result<(), KubeletError> {
        self.ask("stop", Client::stop)
    }

    /// Starts it again, stopping it first when it runs.
    ///
    /// # Errors
    /// When it cannot start.
    pub fn restart(&self) -> Result<(), KubeletError> {
        self.ask("restart", Client::restart)
    }

    /// What happened so far.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn events(&self) -> Result<Vec<Happening>, KubeletError> {
        self.ask("log", Client::log)
    }

    fn ask<T: Send + 'static>(
        &self,
        question: &'static str,
        ask: impl FnOnce(&mut Client) -> Result<T, ControlError> + Send + 'static,
    ) -> Result<T, KubeletError> {
        let socket = self.socket.clone();
        let (answer, answered) = mpsc::channel();
        // A thread that is late ends with the kubelet's process, which closes the socket.
        thread::spawn(move || {
            let _ = answer.send(Client::connect(&socket).and_then(|mut client| ask(&mut client)));
        });
        answered.recv_timeout(PATIENCE).map_err(|_| KubeletError::Late { question })?.map_err(Into::into)
    }
}
