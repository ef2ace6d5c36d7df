//! The asking side of the control socket. Blocking: its users are tests and command lines.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use thiserror::Error;

use super::Request;
use crate::{
    admission::Allocation,
    events::Happening,
    state::{PodName, PodRequest, State},
};

/// A request that was not done.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The fake kubelet cannot be spoken to.
    #[error("no fake kubelet answers at {}", socket.display())]
    Unreachable {
        /// Its control socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It answered something that is no answer.
    #[error("the fake kubelet's answer cannot be read: {answer:?}")]
    Garbled {
        /// The line that it sent.
        answer: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It refused.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a fake kubelet's control socket.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    stream: BufReader<UnixStream>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer<T> {
    Ok(T),
    Error(String),
}

impl Client {
    /// Connects to the control socket.
    ///
    /// # Errors
    /// Nobody listens there.
    pub fn connect(socket: &Path) -> Result<Client, ControlError> {
        let stream = UnixStream::connect(socket)
            .map_err(|source| ControlError::Unreachable { socket: socket.to_owned(), source })?;
        Ok(Client { socket: socket.to_owned(), stream: BufReader::new(stream) })
    }

    /// Everything that the kubelet knows.
    ///
    /// # Errors
    /// The connection broke.
    pub fn state(&mut self) -> Result<State, ControlError> {
        self.ask(&Request::State)
    }

    /// Admits a container.
    ///
    /// # Errors
    /// The kubelet rejects the pod; the connection broke.
    pub fn allocate(&mut self, request: PodRequest) -> Result<Allocation, ControlError> {
        self.ask(&Request::Allocate(request))
    }

    /// Starts an admitted container once more.
    ///
    /// # Errors
    /// The container holds nothing of the resource; the connection broke.
    pub fn restart_container(
        &mut self,
        pod: PodName,
        container: &str,
        resource: &str,
    ) -> Result<Allocation, ControlError> {
        let (container, resource) = (container.to_owned(), resource.to_owned());
        self.ask(&Request::RestartContainer { pod, container, resource })
    }

    /// Ends a pod; returns whether it was known.
    ///
    /// # Errors
    /// The connection broke.
    pub fn release(&mut self, pod: PodName) -> Result<bool, ControlError> {
        self.ask(&Request::Release { pod })
    }

    /// Drops a resource's streams while the kubelet stays up; returns how many there were.
    ///
    /// # Errors
    /// The connection broke.
    pub fn drop_streams(&mut self, resource: &str) -> Result<usize, ControlError> {
        self.ask(&Request::DropStreams { resource: resource.to_owned() })
    }

    /// Registers plugins without opening their streams from now on.
    ///
    /// # Errors
    /// The connection broke.
    pub fn withhold_streams(&mut self) -> Result<(), ControlError> {
        self.ask(&Request::WithholdStreams)
    }

    /// Opens the streams that were withheld, and those of plugins to come.
    ///
    /// # Errors
    /// The connection broke.
    pub fn open_streams(&mut self) -> Result<(), ControlError> {
        self.ask(&Request::OpenStreams)
    }

    /// Stops the kubelet; its process stays.
    ///
    /// # Errors
    /// The connection broke.
    pub fn stop(&mut self) -> Result<(), ControlError> {
        self.ask(&Request::Stop)
    }

    /// Starts the kubelet again.
    ///
    /// # Errors
    /// It cannot start; the connection broke.
    pub fn restart(&mut self) -> Result<(), ControlError> {
        self.ask(&Request::Restart)
    }

    /// What happened so far.
    ///
    /// # Errors
    /// The connection broke.
    pub fn log(&mut self) -> Result<Vec<Happening>, ControlError> {
        self.ask(&Request::Log)
    }

    /// Ends the fake kubelet's process.
    ///
    /// # Errors
    /// The connection broke.
    pub fn quit(mut self) -> Result<(), ControlError> {
        self.ask(&Request::Quit)
    }

    /// What happens from now on, until the kubelet's process ends. Nothing is missed once this returns.
    ///
    /// # Errors
    /// The connection broke.
    pub fn watch(mut self) -> Result<impl Iterator<Item = Result<Happening, ControlError>>, ControlError> {
        self.ask::<()>(&Request::Watch)?;
        Ok(std::iter::from_fn(move || match self.receive() {
            Err(ControlError::Unreachable { source, .. })
                if source.kind() == io::ErrorKind::UnexpectedEof =>
            {
                None
            }
            event => Some(event),
        }))
    }

    /// Sends a request and reads its answer.
    ///
    /// # Errors
    /// The kubelet refused; the connection broke.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, ControlError> {
        self.send(request).map_err(|source| self.broken(source))?;
        self.receive()
    }

    fn send(&mut self, request: &Request) -> io::Result<()> {
        let line = serde_json::to_string(request)?;
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes())
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ControlError> {
        let mut answer = String::new();
        let read = self.stream.read_line(&mut answer).map_err(|source| self.broken(source))?;
        if read == 0 {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        match serde_json::from_str(&answer) {
            Ok(Answer::Ok(value)) => Ok(value),
            Ok(Answer::Error(text)) => Err(ControlError::Refused(text)),
            Err(source) => Err(ControlError::Garbled { answer, source }),
        }
    }

    fn broken(&self, source: io::Error) -> ControlError {
        ControlError::Unreachable { socket: self.socket.clone(), source }
    }
}
