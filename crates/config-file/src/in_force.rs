//! The config file, read at the start, when it changes, and when a person asks for it (SIGHUP).
//!
//! A file that cannot be used changes nothing: the last good one stays in force, and is kept in the state folder, so that
//! it does also when the daemon starts anew. `/ready` and the log say what is wrong.

use std::path::PathBuf;
use std::sync::Arc;

use daemon::files::{Files, FilesGone};
use daemon::{ConfigError, Given, absolute};
use file_watch::FileWatch;
use gpu_config::{Checked, Config, Mode};
use node_host::{LocalPath, atomic};
use tokio::sync::watch::{Receiver, Sender};

use crate::text;

/// Name of the last good config in the state folder.
const KEPT: &str = "config.yaml";

/// Readable by people who want to know what is in force.
const KEPT_MODE: u32 = 0o644;

/// What is in force: none as long as there was no config that can be used.
pub type InForce = Option<Arc<Config>>;

/// Where the config file is, and how it is read.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The file.
    pub path: PathBuf,
    /// How strictly.
    pub mode: Mode,
    /// The folder for the last good one.
    pub state_dir: LocalPath,
}

impl Settings {
    /// Those of a file that was given.
    ///
    /// # Errors
    /// When its path is not absolute.
    pub fn new(given: Given, mode: Mode, state_dir: &LocalPath) -> Result<Settings, ConfigError> {
        Ok(Settings { path: absolute(given)?, mode, state_dir: state_dir.clone() })
    }

    /// The config that holds at the start: the file's, or the last good one. A file that cannot be used is told later, when
    /// there is a log to tell it in.
    pub fn at_start(&self) -> Option<Config> {
        let kept = Settings { path: self.state_dir.join(KEPT).into(), ..self.clone() };
        read(self).or_else(|_| read(&kept)).ok().map(|read| read.checked.config)
    }
}

/// Keeps the config that is in force.
pub struct ConfigFile {
    /// Where it is.
    pub settings: Settings,
    /// Where it goes.
    pub in_force: Sender<InForce>,
    /// Counts the requests to read it now.
    pub asked: Receiver<u64>,
    /// A thread of its own: a config on a disk that hangs holds up nothing else.
    pub files: Files,
    /// Readiness.
    pub component: daemon::Component,
    /// What else the daemon does about it.
    pub hooks: Hooks,
}

/// Says in words what of a config comes too late.
pub type Late = Box<dyn Fn(&Config) -> Option<String> + Send + Sync>;

/// What a daemon does about its config file beside taking up what is in force.
pub struct Hooks {
    /// Told of each file that was read and differs from the one before: whether it can be used.
    pub read: Box<dyn Fn(bool) + Send + Sync>,
    /// What of a config has no effect before the next start, in words; nothing where all has.
    pub late: Late,
    /// What it means that there is no config that can be used, in words.
    pub without: &'static str,
}

/// What was read.
struct Read {
    text: String,
    checked: Checked,
}

impl ConfigFile {
    /// Keeps it for ever.
    ///
    /// # Errors
    /// When the thread for file work has died.
    pub async fn run(mut self) -> Result<(), FilesGone> {
        let mut watch = FileWatch::new(self.settings.path.clone());
        let mut last = None;
        loop {
            let settings = self.settings.clone();
            let newest = self.files.run(move || read(&settings)).await?;
            let text = match &newest {
                Ok(read) => read.text.clone(),
                Err(problem) => problem.clone(),
            };
            // The folder holds other files, too, and a file may be written anew with the same text.
            if last.as_ref() != Some(&text) {
                last = Some(text);
                match newest {
                    Ok(read) => self.adopt(read).await?,
                    Err(problem) => self.refuse(problem).await?,
                }
            }
            tokio::select! {
                () = watch.changed() => {}
                Ok(()) = self.asked.changed() => tracing::info!("the config file is read again, as asked"),
            }
        }
    }

    async fn adopt(&self, Read { text, checked }: Read) -> Result<(), FilesGone> {
        let path = self.settings.path.display();
        for warning in &checked.warnings {
            tracing::warn!(%path, %warning, "config");
        }
        tracing::info!(%path, "config in force");
        match (self.hooks.late)(&checked.config) {
            Some(late) => {
                tracing::warn!(%path, late, "config");
                self.component.ready_but(late);
            }
            None => self.component.ready(),
        }
        self.put_in_force(checked.config);
        (self.hooks.read)(true);
        let kept = self.settings.state_dir.join(KEPT);
        if let Err(problem) = self.files.run(move || keep(&kept, &text)).await? {
            tracing::warn!(problem, "the config is in force, and cannot be kept for the next start");
        }
        Ok(())
    }

    async fn refuse(&self, problem: String) -> Result<(), FilesGone> {
        (self.hooks.read)(false);
        if self.in_force.borrow().is_none() {
            let kept = Settings { path: self.settings.state_dir.join(KEPT).into(), ..self.settings.clone() };
            if let Ok(Read { checked, .. }) = self.files.run(move || read(&kept)).await? {
                self.put_in_force(checked.config);
            }
        }
        let consequence = if self.in_force.borrow().is_some() {
            "the last good one stays in force"
        } else {
            self.hooks.without
        };
        tracing::error!(problem, consequence, "the config cannot be used");
        self.component.not_ready("config-invalid", format!("{problem}\n{consequence}"));
        Ok(())
    }

    fn put_in_force(&self, config: Config) {
        self.in_force.send_replace(Some(Arc::new(config)));
    }
}

fn read(settings: &Settings) -> Result<Read, String> {
    let text = text::of_file(&settings.path).map_err(|error| daemon::error_chain(&error).to_string())?;
    let name = settings.path.display().to_string();
    let checked = gpu_config::read(&name, &text, settings.mode).map_err(|invalid| invalid.to_string())?;
    Ok(Read { text, checked })
}

/// Keeps the text for the next start, unless it is kept already.
fn keep(path: &LocalPath, text: &str) -> Result<(), String> {
    if text::of_file(path.as_path()).is_ok_and(|kept| kept == text) {
        return Ok(());
    }
    atomic::make_folder_of(path)?;
    atomic::write(path, text.as_bytes(), KEPT_MODE).map_err(|error| daemon::error_chain(&error).to_string())
}

/// That these keys of a config file changed since the start, in words: (whether it did, key). Nothing where none did.
pub fn changed_keys(keys: &[(bool, &str)]) -> Option<String> {
    let changed: Vec<&str> = keys.iter().filter(|(changed, _)| *changed).map(|(_, key)| *key).collect();
    let verb = if changed.len() == 1 { "takes" } else { "take" };
    (!changed.is_empty()).then(|| {
        format!("{} changed since the start and {verb} effect at the next start", changed.join(", "))
    })
}

#[cfg(test)]
mod tests;
