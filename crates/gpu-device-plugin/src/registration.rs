//! The registration of one resource with the kubelet, as a state machine.
//!
//! ```text
//!   Waiting ----------> Absent ----------> Serving ----------> Registering ---------> Registered
//!   (devices, spec,     (no kubelet        (own socket         (connect, Register:       |
//!    CDI proof)          socket)            in place?)          the kubelet calls        |
//!                          ^   ^                |               back meanwhile)          |
//!                          |   +---- bind ------+                    |                   |
//!                          |         failed                          |                   |
//!                          +-------- refused, failed, back-off ------+                   |
//!                          |                                                             |
//!                          +------------- Lost <-----------------------------------------+
//!                                (kubelet's socket replaced or gone, own socket gone
//!                                 or deaf, stream closed by a kubelet that listens,
//!                                 no stream of this registration for 2 s)
//! ```
//!
//! One task walks it; nothing else binds, registers or says that the kubelet is ready. It knows sockets and the
//! Registration service, and of the devices only whether there is something to offer. The driver is not asked
//! on any path through it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use daemon::files::Files;
use gpu_model::ResourceName;
use kubelet_api::deviceplugin::v1beta1::{DevicePluginOptions, RegisterRequest};
use kubelet_api::deviceplugin::{DIAL_TIMEOUT, VERSION};
use node_host::FileIdentity;
use thiserror::Error;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::cdi_gate::CdiGate;
use crate::kubelet_socket::Sighting;
use crate::kubelet_view::KubeletView;
use crate::metrics::ResourceMetrics;
use crate::socket::{Acceptor, OwnSocket, SocketNames, remove_dead};
use crate::standing::Standing;
use crate::state::Snapshot;
use crate::streams::Streams;

mod aftermath;
mod attempt;
mod backoff;

use aftermath::{AFTERMATH, struck_off};
use attempt::{RegisterError, attempt};
use backoff::Backoff;

/// How long there may be no stream before the plugin registers again: the kubelet never calls back by itself. One that closed
/// a stream and still listens is not waited for.
const STREAM_PATIENCE: Duration = Duration::from_secs(2);

/// How long a start may wait for its parts without a word about it.
const TOLERATED: Duration = Duration::from_secs(1);

/// How long `Register` may take. The kubelet dials back inside the call.
pub const REGISTER_TIMEOUT: Duration = DIAL_TIMEOUT.saturating_add(Duration::from_secs(5));

/// How long a look whether a kubelet listens may take.
const LOOK: Duration = Duration::from_millis(100);

/// A second stream that is lost within this time is one too many: the next registrations wait longer and longer.
const SETTLED: Duration = Duration::from_secs(30);

/// Where the machine stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Absent,
    Serving(FileIdentity),
    Registering(FileIdentity),
    Registered(FileIdentity),
    Lost(Loss, FileIdentity),
}

/// What ended a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    KubeletRestarted,
    OwnSocketGone,
    StreamLost,
}

impl Loss {
    fn cause(self) -> &'static str {
        match self {
            Loss::KubeletRestarted => "kubelet-restarted",
            Loss::OwnSocketGone => "own-socket-gone",
            Loss::StreamLost => "stream-lost",
        }
    }
}

/// Why the machine stops for good.
#[derive(Debug, Error)]
pub enum RegistrationEnded {
    /// The folder that we reach is deleted or moved away; only a new mount leads to its successor.
    #[error(
        "the plugin folder {path:?} was replaced under us: the process has to start anew to reach the new one"
    )]
    FolderReplaced {
        /// The folder.
        path: PathBuf,
    },
}

/// What the machine works with.
pub struct Registration {
    /// The resource to register.
    pub resource: ResourceName,
    /// Names of the own socket.
    pub names: SocketNames,
    /// The kubelet's socket and folder.
    pub kubelet: KubeletView,
    /// Where the kubelet tells what it counts.
    pub pod_resources: PathBuf,
    /// The thread for file work.
    pub files: Files,
    /// Where accepted connections go.
    pub acceptor: Acceptor,
    /// Whether there is something to offer.
    pub state: watch::Receiver<Snapshot>,
    /// Whether a runtime would inject it.
    pub cdi: watch::Receiver<CdiGate>,
    /// The kubelet's streams.
    pub streams: Streams,
    /// How long `Register` may take: [`REGISTER_TIMEOUT`].
    pub timeout: Duration,
    /// Counts.
    pub metrics: ResourceMetrics,
    /// Readiness of the registration.
    pub standing: Standing,
}

/// The machine under way.
struct Machine {
    with: Registration,
    own: Option<OwnSocket>,
    /// Number of the own socket, or of the next one.
    number: u64,
    backoff: Backoff,
    /// The kubelet's socket that the last failure belongs to.
    failed_at: Option<FileIdentity>,
    /// When a stream was lost last.
    stream_lost: Option<Instant>,
}

impl Registration {
    /// Keeps the plugin registered. Dropping the future removes the own socket.
    ///
    /// # Errors
    /// When the process has to start anew.
    pub async fn run(self) -> Result<(), RegistrationEnded> {
        self.metrics.registered(false);
        self.streams.expect(1);
        let mut machine = Machine {
            with: self,
            own: None,
            number: 1,
            backoff: Backoff::default(),
            failed_at: None,
            stream_lost: None,
        };
        let mut phase = Phase::Waiting;
        loop {
            tracing::debug!(?phase, "registration");
            phase = machine.step(phase).await?;
        }
    }
}

impl Machine {
    async fn step(&mut self, phase: Phase) -> Result<Phase, RegistrationEnded> {
        match phase {
            Phase::Waiting => self.waiting().await,
            Phase::Absent => self.absent().await,
            Phase::Serving(kubelet) => Ok(self.serving(kubelet).await),
            Phase::Registering(kubelet) => Ok(self.registering(kubelet).await),
            Phase::Registered(kubelet) => self.registered(kubelet).await,
            Phase::Lost(loss, kubelet) => Ok(self.lost(loss, kubelet).await),
        }
    }

    async fn waiting(&mut self) -> Result<Phase, RegistrationEnded> {
        let told = Instant::now() + TOLERATED;
        while !self.may_register() {
            tokio::select! {
                // Not when their other end is gone: that would come up again at once, for ever.
                Ok(()) = self.with.state.changed() => {}
                Ok(()) = self.with.cdi.changed() => {}
                // The folder may go meanwhile.
                () = self.with.kubelet.changed() => {
                    self.sight()?;
                }
                () = sleep_until(told), if Instant::now() < told => {}
            }
            if Instant::now() >= told {
                self.with
                    .standing
                    .not_ready("waiting", "the devices, the CDI spec and the CDI proof come first");
            }
        }
        Ok(Phase::Absent)
    }

    fn may_register(&mut self) -> bool {
        self.with.state.borrow_and_update().is_servable() && self.with.cdi.borrow_and_update().lets_register()
    }

    async fn absent(&mut self) -> Result<Phase, RegistrationEnded> {
        loop {
            let path = self.with.kubelet.socket().display().to_string();
            match self.sight()? {
                Sighting::Socket(kubelet) => return Ok(Phase::Serving(kubelet)),
                Sighting::NotASocket => {
                    self.with
                        .standing
                        .not_ready("kubelet-socket-invalid", format!("{path} is a file and no socket"));
                }
                Sighting::Unreadable(why) => {
                    let folder = self.with.kubelet.folder().display().to_string();
                    let what = if why.is_folder { folder } else { path };
                    self.with
                        .standing
                        .not_ready("kubelet-unreadable", format!("{what} cannot be looked at: {why}"));
                }
                Sighting::Absent | Sighting::NoFolder | Sighting::FolderReplaced => {
                    self.with
                        .standing
                        .not_ready("kubelet-absent", format!("{path} is not there: the kubelet is not up"));
                }
            }
            self.with.kubelet.changed().await;
        }
    }

    async fn serving(&mut self, kubelet: FileIdentity) -> Phase {
        if self.own.as_ref().is_some_and(OwnSocket::is_in_place) {
            return Phase::Registering(kubelet);
        }
        self.leave_socket();
        let folder = self.with.kubelet.folder().to_owned();
        // Nothing waits for it, and the kubelet least of all.
        drop(self.with.files.run({
            let (folder, names) = (folder.clone(), self.with.names.clone());
            move || clean(&folder, &names)
        }));
        match OwnSocket::bind(&folder, &self.with.names, self.number, self.with.acceptor.clone()) {
            Ok(own) => {
                tracing::debug!(socket = %own.path().display(), "serving");
                self.own = Some(own);
                Phase::Registering(kubelet)
            }
            Err(error) => {
                let reason = daemon::error_chain(&error).to_string();
                self.failed(kubelet, "bind-failed", reason, false).await
            }
        }
    }

    async fn registering(&mut self, kubelet: FileIdentity) -> Phase {
        match self.register(kubelet).await {
            Ok(()) => {
                self.with.metrics.registration("ok");
                self.with.metrics.registered(true);
                Phase::Registered(kubelet)
            }
            // Not a failure: there is a new kubelet to register with, and the old one may have taken the socket on.
            Err(RegisterError::Replaced) => {
                self.leave_socket();
                Phase::Absent
            }
            Err(error) => {
                let refused = matches!(&error, RegisterError::Connect { source, .. } if source.is_refused());
                if !matches!(&error, RegisterError::Connect { .. }) {
                    // The kubelet may have taken the socket on all the same.
                    self.leave_socket();
                }
                self.with.metrics.registration("failed");
                let code = error.code();
                let reason = daemon::error_chain(&error).to_string();
                self.failed(kubelet, code, reason, refused).await
            }
        }
    }

    /// One attempt, given up at once when there is another kubelet: the one that was asked may never answer.
    async fn register(&mut self, kubelet: FileIdentity) -> Result<(), RegisterError> {
        let path = self.with.kubelet.socket().to_owned();
        let request = RegisterRequest {
            version: VERSION.to_owned(),
            endpoint: self.with.names.own(),
            resource_name: self.with.resource.to_string(),
            options: Some(DevicePluginOptions {
                pre_start_required: false,
                get_preferred_allocation_available: true,
            }),
        };
        let mut attempt = std::pin::pin!(attempt(&path, kubelet, request, self.with.timeout));
        let told = Instant::now() + TOLERATED;
        let mut is_told = false;
        loop {
            tokio::select! {
                outcome = &mut attempt => return outcome,
                () = self.with.kubelet.changed() => {
                    if self.with.kubelet.look() != Sighting::Socket(kubelet) {
                        return Err(RegisterError::Replaced);
                    }
                }
                () = sleep_until(told), if !is_told => {
                    is_told = true;
                    self.with.standing.not_ready("registering", "the kubelet has not answered Register yet");
                }
            }
        }
    }

    /// Tells the failure and waits for the back-off, or for another kubelet.
    async fn failed(
        &mut self,
        kubelet: FileIdentity,
        code: &'static str,
        reason: String,
        refused: bool,
    ) -> Phase {
        if self.failed_at.replace(kubelet) != Some(kubelet) {
            // A new socket: perhaps bound and not yet listening, which takes milliseconds.
            self.backoff = Backoff::default();
        }
        let pause = if refused { self.backoff.after_refusal() } else { self.backoff.after_failure() };
        self.with.standing.not_ready(code, reason.as_str());
        if self.backoff.is_worth_a_line() {
            tracing::warn!(reason, ?pause, "registration failed");
        }
        self.pause(kubelet, sleep(pause)).await;
        Phase::Absent
    }

    /// Waits until that is over, or for another kubelet.
    async fn pause(&mut self, kubelet: FileIdentity, over: impl Future<Output = ()>) {
        let mut over = std::pin::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = self.with.kubelet.changed() => {
                    if self.with.kubelet.look() != Sighting::Socket(kubelet) {
                        // A kubelet that ended closes its streams, too, perhaps before its socket.
                        self.stream_lost = None;
                        return;
                    }
                }
            }
        }
    }

    async fn registered(&mut self, kubelet: FileIdentity) -> Result<Phase, RegistrationEnded> {
        let mut streams = self.with.streams.status();
        let mut patience = Instant::now() + STREAM_PATIENCE;
        let mut was_live = false;
        loop {
            let list = streams.borrow_and_update().kubelet.has_list();
            if let Some(generation) = list
                && !was_live
            {
                self.with.standing.ready();
                tracing::info!(resource = %self.with.resource, generation, "registered; the kubelet has the device list");
            }
            if was_live && list.is_none() {
                self.with.standing.not_ready("stream-lost", "the kubelet closed its stream");
                if self.kubelet_listens().await {
                    // Up to 1.36 a kubelet closes it when an older instance ends, which it takes for this one.
                    return Ok(Phase::Lost(Loss::StreamLost, kubelet));
                }
                patience = Instant::now() + STREAM_PATIENCE;
            }
            was_live = list.is_some();
            tokio::select! {
                _ = streams.changed() => {}
                () = sleep_until(patience), if !was_live => {
                    return Ok(Phase::Lost(Loss::StreamLost, kubelet));
                }
                how = deaf(&mut self.own) => {
                    tracing::error!(error = how, "the own socket is dead");
                    return Ok(Phase::Lost(Loss::OwnSocketGone, kubelet));
                }
                () = self.with.kubelet.changed() => {
                    if self.sight()? != Sighting::Socket(kubelet) {
                        return Ok(Phase::Lost(Loss::KubeletRestarted, kubelet));
                    }
                    if !self.own.as_ref().is_some_and(OwnSocket::is_in_place) {
                        return Ok(Phase::Lost(Loss::OwnSocketGone, kubelet));
                    }
                }
            }
        }
    }

    async fn lost(&mut self, loss: Loss, kubelet: FileIdentity) -> Phase {
        self.leave_socket();
        self.with.metrics.registered(false);
        self.with.metrics.lost(loss.cause());
        self.with.standing.not_ready(loss.cause(), "registering again");
        tracing::info!(resource = %self.with.resource, reason = loss.cause(), "registration lost");
        let pause = self.pause_after(loss);
        let (pod_resources, resource) = (self.with.pod_resources.clone(), self.with.resource.clone());
        let over = async move {
            sleep(pause).await;
            if loss != Loss::KubeletRestarted {
                struck_off(&pod_resources, &resource).await;
            }
        };
        self.pause(kubelet, over).await;
        Phase::Waiting
    }

    /// How long not to register after that.
    fn pause_after(&mut self, loss: Loss) -> Duration {
        let was_lost = match loss {
            Loss::StreamLost => self.stream_lost.replace(Instant::now()),
            Loss::KubeletRestarted | Loss::OwnSocketGone => None,
        };
        if was_lost.is_some_and(|before| before.elapsed() < SETTLED) {
            // Two instances that take the resource from each other must not do so in a tight loop.
            return self.backoff.after_failure();
        }
        self.backoff = Backoff::default();
        match loss {
            // It has no past.
            Loss::KubeletRestarted => Duration::ZERO,
            Loss::StreamLost | Loss::OwnSocketGone => AFTERMATH,
        }
    }

    /// Whether somebody takes connections at the kubelet's socket.
    async fn kubelet_listens(&self) -> bool {
        matches!(timeout(LOOK, UnixStream::connect(self.with.kubelet.socket())).await, Ok(Ok(_)))
    }

    /// Each registration has a socket of its own.
    fn leave_socket(&mut self) {
        if self.own.take().is_some() {
            self.with.names.renew();
            self.number += 1;
            self.with.streams.expect(self.number);
        }
    }

    fn sight(&self) -> Result<Sighting, RegistrationEnded> {
        match self.with.kubelet.look() {
            Sighting::FolderReplaced => {
                Err(RegistrationEnded::FolderReplaced { path: self.with.kubelet.folder().to_owned() })
            }
            sighting => Ok(sighting),
        }
    }
}

fn clean(folder: &Path, names: &SocketNames) {
    match remove_dead(folder, names) {
        Ok(removed) if !removed.is_empty() => {
            tracing::info!(?removed, "dead sockets of earlier instances removed")
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "no dead socket could be looked for")
        }
    }
}

/// Waits until the own socket takes no connections any more.
async fn deaf(own: &mut Option<OwnSocket>) -> String {
    match own {
        Some(own) => own.deaf().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
