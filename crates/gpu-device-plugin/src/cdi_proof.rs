//! The proof that the container runtime resolves CDI names, asked of the runtime itself.
//!
//! A runtime without CDI drops the names silently, and the container starts without its GPU. So nothing is
//! registered before the runtime has said that it reads the folder of our spec. It is asked again when its
//! socket changes, which is when it was restarted, perhaps with another configuration.
//!
//! The rules are in [`judge`], which is pure; the wire is in `cri`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use node_host::HostPath;
use serde::Deserialize;
use thiserror::Error;

pub mod cri;
mod version;

use cri::Answer;
use version::Version;

/// Folders that a runtime reads when it is not told otherwise, by CDI's own convention.
const DEFAULT_SPEC_DIRS: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// From this containerd on, CDI cannot be switched off (source: containerd's table of deprecations).
const CONTAINERD_ALWAYS: Version = Version(2, 4);

/// First containerd that takes CDI names from the CRI message rather than from annotations.
const CONTAINERD_FIRST: Version = Version(1, 7);

/// First CRI-O of the Kubernetes release whose kubelet passes on a device plugin's CDI names without being told to
/// (KEP-4009, `DevicePluginCDIDevices`: off in 1.28, on from 1.29). CRI-O has CDI on by default since 1.23, and its
/// status does not tell.
const CRIO_FIRST: Version = Version(1, 29);

/// How long one question to the runtime may take.
pub const QUESTION_TIMEOUT: Duration = Duration::from_secs(5);

/// Why CDI is not proven. Each text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unproven {
    /// The runtime was asked and has CDI switched off.
    #[error("{runtime} has CDI switched off: set enable_cdi = true in the CRI section of its configuration")]
    SwitchedOff {
        /// Name and version.
        runtime: String,
    },
    /// The runtime does not read the folder of our spec.
    #[error(
        "{runtime} reads CDI specs from {dirs:?}, and not from {ours}: add it to cdi_spec_dirs, or give one of these as --cdi-dir"
    )]
    OtherFolder {
        /// Name and version.
        runtime: String,
        /// What it reads.
        dirs: Vec<String>,
        /// Where we write.
        ours: String,
    },
    /// The runtime is older than CDI by CRI.
    #[error("{runtime} does not take CDI names from the kubelet: {name} {first} or later is needed")]
    TooOld {
        /// Name and version.
        runtime: String,
        /// Name alone.
        name: String,
        /// First sufficient version.
        first: String,
    },
    /// Nobody knows how this runtime tells.
    #[error(
        "whether {runtime} resolves CDI names cannot be asked; --cdi-proof=assume takes your word for it"
    )]
    UnknownRuntime {
        /// Name and version.
        runtime: String,
    },
    /// Several runtimes are there, and not all are proven: nobody knows which one the kubelet uses.
    #[error(
        "{answered} container runtimes are there, and the kubelet may use any: {reason}; name the kubelet's with --cri-socket"
    )]
    OneOfSeveral {
        /// How many.
        answered: usize,
        /// What is wrong with one of them.
        reason: String,
    },
    /// The runtime did not answer.
    #[error("no answer of a container runtime at {tried}: {reason}; name the kubelet's with --cri-socket")]
    NoAnswer {
        /// Sockets that were tried.
        tried: String,
        /// What came of the last one.
        reason: String,
    },
}

/// CDI is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// By what, for the log.
    pub by: String,
}

/// The part of containerd's configuration that matters here, as its `Status` shows it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerdConfig {
    #[serde(rename = "enableCDI")]
    enable_cdi: Option<bool>,
    cdi_spec_dirs: Option<Vec<String>>,
}

/// Whether a runtime that gave this answer resolves names in a spec that we write to `our_dir` on the host.
///
/// # Errors
/// When it does not, or that cannot be told from the answer.
pub fn judge(answer: &Answer, our_dir: &HostPath) -> Result<Proof, Unproven> {
    let runtime = format!("{} {}", answer.runtime, answer.version);
    let too_old = |first: Version| Unproven::TooOld {
        runtime: runtime.clone(),
        name: answer.runtime.clone(),
        first: first.to_string(),
    };
    let version = Version::parse(&answer.version);
    let dirs = match (answer.runtime.as_str(), version) {
        ("containerd", Some(version)) if version >= CONTAINERD_FIRST => {
            let config: ContainerdConfig =
                answer.config.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
            if !config.enable_cdi.unwrap_or(version >= CONTAINERD_ALWAYS) && version < CONTAINERD_ALWAYS {
                return Err(Unproven::SwitchedOff { runtime });
            }
            config.cdi_spec_dirs
        }
        ("containerd", Some(_)) => return Err(too_old(CONTAINERD_FIRST)),
        ("cri-o", Some(version)) if version >= CRIO_FIRST => None,
        ("cri-o", Some(_)) => return Err(too_old(CRIO_FIRST)),
        _ => return Err(Unproven::UnknownRuntime { runtime }),
    };
    let dirs =
        dirs.filter(|dirs| !dirs.is_empty()).unwrap_or_else(|| DEFAULT_SPEC_DIRS.map(str::to_owned).to_vec());
    if dirs.iter().any(|dir| same_folder(dir, our_dir.as_str())) {
        return Ok(Proof { by: runtime });
    }
    Err(Unproven::OtherFolder { runtime, dirs, ours: our_dir.to_string() })
}

/// `/var/run` is a link to `/run` on every distribution that runs a kubelet.
fn same_folder(a: &str, b: &str) -> bool {
    let plain = |path: &Path| match path.strip_prefix("/var/run") {
        Ok(rest) => Path::new("/run").join(rest),
        Err(_) => path.components().collect::<PathBuf>(),
    };
    plain(Path::new(a)) == plain(Path::new(b))
}

/// What came of asking one socket.
enum Asked {
    /// A runtime answered.
    Answer(Answer),
    /// Nobody is there whom a kubelet could use.
    Nobody,
    /// Somebody is, or may be, and did not answer.
    Silence(String),
}

/// Asks the runtime behind each of `sockets`. All that are there have to be proven, because nothing tells which one
/// the kubelet uses.
///
/// # Errors
/// When none answers, one that is there does not, or an answer is no proof.
pub async fn ask(sockets: &[PathBuf], our_dir: &HostPath) -> Result<Proof, Unproven> {
    let mut answers = Vec::new();
    let mut silent = None;
    for socket in sockets {
        match ask_one(socket).await {
            Asked::Answer(answer) => answers.push(answer),
            Asked::Nobody => {}
            Asked::Silence(reason) => silent = Some(reason),
        }
    }
    // One that is not proven says more than one that is silent.
    let proof = judge_all(&answers, our_dir)?;
    if answers.is_empty() || silent.is_some() {
        let tried: Vec<String> = sockets.iter().map(|socket| socket.display().to_string()).collect();
        let reason = silent.unwrap_or_else(|| "nobody listens there".to_owned());
        return Err(Unproven::NoAnswer { tried: tried.join(", "), reason });
    }
    Ok(proof)
}

async fn ask_one(socket: &Path) -> Asked {
    match tokio::time::timeout(QUESTION_TIMEOUT, cri::ask(socket)).await {
        Ok(Ok(answer)) => Asked::Answer(answer),
        Ok(Err(error)) if error.is_no_runtime() => Asked::Nobody,
        Ok(Err(error)) => Asked::Silence(daemon::error_chain(&error).to_string()),
        Err(_) => Asked::Silence(format!("{} did not answer within {QUESTION_TIMEOUT:?}", socket.display())),
    }
}

fn judge_all(answers: &[Answer], our_dir: &HostPath) -> Result<Proof, Unproven> {
    let mut by = Vec::new();
    for answer in answers {
        match judge(answer, our_dir) {
            Ok(proof) => by.push(proof.by),
            Err(unproven) if answers.len() == 1 => return Err(unproven),
            Err(unproven) => {
                return Err(Unproven::OneOfSeveral { answered: answers.len(), reason: unproven.to_string() });
            }
        }
    }
    Ok(Proof { by: by.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(runtime: &str, version: &str, config: Option<&str>) -> Answer {
        Answer { runtime: runtime.into(), version: version.into(), config: config.map(str::to_owned) }
    }

    fn ours(path: &str) -> HostPath {
        path.parse().unwrap()
    }

    fn judged(runtime: &str, version: &str, config: Option<&str>) -> Result<Proof, Unproven> {
        judge(&answer(runtime, version, config), &ours("/var/run/cdi"))
    }

    const ON: &str = r#"{"enableCDI":true,"cdiSpecDirs":["/etc/cdi","/var/run/cdi"],"other":{"deep":[1]}}"#;
    const OFF: &str = r#"{"enableCDI":false,"cdiSpecDirs":["/etc/cdi","/var/run/cdi"]}"#;

    #[test]
    fn containerd_is_believed_what_its_configuration_says() {
        assert!(judged("containerd", "2.1.4", Some(ON)).is_ok());
        assert!(judged("containerd", "v1.7.28", Some(ON)).is_ok());
        assert!(matches!(judged("containerd", "1.7.28", Some(OFF)), Err(Unproven::SwitchedOff { .. })));
        assert!(matches!(judged("containerd", "2.0.0", Some(OFF)), Err(Unproven::SwitchedOff { .. })));
    }

    #[test]
    fn containerd_that_does_not_say_is_believed_only_where_cdi_cannot_be_off() {
        assert!(matches!(judged("containerd", "2.0.0", None), Err(Unproven::SwitchedOff { .. })));
        assert!(matches!(
            judged("containerd", "2.0.0", Some("{not json")),
            Err(Unproven::SwitchedOff { .. })
        ));
        assert!(judged("containerd", "2.4.2", None).is_ok());
        assert!(judged("containerd", "3.0.0-rc.1", Some("{}")).is_ok());
    }

    #[test]
    fn folder_that_the_runtime_does_not_read_is_no_proof() {
        let config = r#"{"enableCDI":true,"cdiSpecDirs":["/etc/cdi"]}"#;
        let error = judged("containerd", "2.1.4", Some(config)).unwrap_err().to_string();
        assert!(error.contains("/etc/cdi") && error.contains("/var/run/cdi"), "{error}");
        let run = judge(&answer("containerd", "2.1.4", Some(ON)), &ours("/run/cdi"));
        assert!(run.is_ok(), "/var/run is a link to /run");
    }

    #[test]
    fn old_and_unknown_runtimes_are_no_proof() {
        assert!(matches!(judged("containerd", "1.6.36", Some(ON)), Err(Unproven::TooOld { .. })));
        assert!(judged("cri-o", "1.31.2", Some(r#"{"sandboxImage":"pause"}"#)).is_ok());
        assert!(judged("cri-o", "1.29.0", None).is_ok());
        // Its kubelet drops the names of a device plugin, unless a gate is set that nobody sees from here.
        assert!(matches!(judged("cri-o", "1.28.11", None), Err(Unproven::TooOld { .. })));
        assert!(matches!(judged("docker", "28.0.0", None), Err(Unproven::UnknownRuntime { .. })));
        assert!(matches!(judged("containerd", "dev", None), Err(Unproven::UnknownRuntime { .. })));
    }

    #[test]
    fn of_several_runtimes_each_has_to_be_proven() {
        let (on, off) = (answer("containerd", "2.1.4", Some(ON)), answer("containerd", "1.7.28", Some(OFF)));
        let dir = &ours("/var/run/cdi");
        assert!(judge_all(&[on.clone(), answer("cri-o", "1.31.0", None)], dir).is_ok());
        for answers in [[on.clone(), off.clone()], [off, on]] {
            let error = judge_all(&answers, dir).unwrap_err().to_string();
            assert!(
                ["2 container", "1.7.28", "--cri-socket"].iter().all(|part| error.contains(part)),
                "{error}"
            );
        }
    }
}
