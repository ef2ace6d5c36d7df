//! Keeps the proof that the runtime resolves CDI names, while CDI is in use: asks until there is one, and again when
//! the runtime was restarted. Nothing is registered before the gate is open.

use std::future::poll_fn;
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use file_watch::FileWatch;
use node_host::{FileIdentity, HostPath};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::cdi_proof::{self, Proof, Unproven};

/// How often the runtime is asked while there is no proof.
const RETRY: Duration = Duration::from_secs(2);

/// Whether devices may be offered by CDI name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CdiGate {
    /// There is no proof yet.
    Closed,
    /// It is proven, or a person vouches for it.
    Open,
    /// CDI is not in use.
    NotNeeded,
    /// It was proven or not needed, and is not proven now: what is registered stays, and nothing is handed out.
    Revoked {
        /// What the runtime says, if it was asked.
        reason: String,
    },
}

impl CdiGate {
    /// Whether something may be registered: CDI was proven once, or is not needed. Running pods live by the registration.
    pub fn lets_register(&self) -> bool {
        *self != CdiGate::Closed
    }
}

/// How the gate opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settings {
    /// Somebody vouches for the runtime.
    Assume,
    /// The runtime is asked.
    Ask {
        /// Sockets of runtimes: each that answers has to be proven.
        sockets: Vec<PathBuf>,
        /// The folder of our spec, as the host names it.
        spec_dir: HostPath,
    },
}

/// Keeps the gate for ever. `is_used` says whether CDI is in use, as soon as that is known.
pub async fn keep(
    settings: Settings,
    mut is_used: watch::Receiver<Option<bool>>,
    gate: watch::Sender<CdiGate>,
    component: daemon::Component,
) {
    loop {
        let now = *is_used.borrow_and_update();
        let proving = async {
            match now {
                None => std::future::pending().await,
                Some(false) => {
                    gate.send_replace(CdiGate::NotNeeded);
                    component.ready();
                    std::future::pending().await
                }
                Some(true) => {
                    gate.send_if_modified(|gate| {
                        let is_new = *gate == CdiGate::NotNeeded;
                        if is_new {
                            *gate = CdiGate::Revoked { reason: "the runtime was not asked yet".to_owned() };
                        }
                        is_new
                    });
                    prove(&settings, &gate, &component).await;
                }
            }
        };
        tokio::select! {
            () = proving => {}
            Ok(()) = is_used.changed() => {}
        }
    }
}

/// Keeps the proof for ever.
async fn prove(settings: &Settings, gate: &watch::Sender<CdiGate>, component: &daemon::Component) {
    let (sockets, spec_dir) = match settings {
        Settings::Assume => {
            tracing::warn!(
                "CDI is assumed, not proven: if the runtime does not resolve it, pods start without their GPUs"
            );
            component.ready();
            gate.send_replace(CdiGate::Open);
            return std::future::pending().await;
        }
        Settings::Ask { sockets, spec_dir } => (sockets, spec_dir),
    };
    // A runtime that is restarted with CDI off starts pods without their GPUs until this is noticed.
    let mut watches: Vec<FileWatch> = sockets.iter().cloned().map(FileWatch::new).collect();
    let mut last = None;
    loop {
        let seen = identities(sockets);
        let answer = cdi_proof::ask(sockets, spec_dir).await;
        let is_news = last.as_ref() != Some(&answer);
        apply(&answer, gate, component, is_news, spec_dir);
        let is_proven = answer.is_ok();
        last = Some(answer);
        if !is_proven {
            sleep(RETRY).await;
            continue;
        }
        while identities(sockets) == seen {
            any_changed(&mut watches).await;
        }
    }
}

fn apply(
    answer: &Result<Proof, Unproven>,
    gate: &watch::Sender<CdiGate>,
    component: &daemon::Component,
    is_news: bool,
    spec_dir: &HostPath,
) {
    match answer {
        Ok(proof) => {
            component.ready();
            gate.send_replace(CdiGate::Open);
            if is_news {
                tracing::info!(runtime = proof.by, %spec_dir, "CDI is proven");
            }
        }
        // A runtime that is only away says nothing about CDI that was proven.
        Err(Unproven::NoAnswer { .. }) if *gate.borrow() == CdiGate::Open => {}
        Err(unproven) => {
            let reason = unproven.to_string();
            // The gate first: who reads that it is not proven may rely on nothing being handed out.
            gate.send_modify(|gate| {
                if *gate != CdiGate::Closed {
                    *gate = CdiGate::Revoked { reason: reason.clone() };
                }
            });
            component.not_ready("cdi-unproven", &reason);
            if is_news {
                tracing::warn!(reason, "CDI is not proven; no device is offered");
            }
        }
    }
}

async fn any_changed(watches: &mut [FileWatch]) {
    let mut changes: Vec<_> = watches.iter_mut().map(|watch| Box::pin(watch.changed())).collect();
    poll_fn(|context| {
        let is_any = changes.iter_mut().any(|change| change.as_mut().poll(context).is_ready());
        if is_any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn identities(sockets: &[PathBuf]) -> Vec<Option<FileIdentity>> {
    sockets.iter().map(|socket| FileIdentity::of(socket).ok()).collect()
}
