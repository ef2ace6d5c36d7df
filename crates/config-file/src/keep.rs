//! The config in force as a task of a daemon, whether or not there is a file.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;

use daemon::Runtime;
use daemon::files::Files;
use tokio::sync::watch::{self, Receiver};

use crate::in_force::{ConfigFile, Hooks, InForce, Settings};

/// Keeps the config that is in force, with a component `config` of the readiness; without a file that is an empty one.
///
/// # Errors
/// When the system has no thread to give.
pub fn keep(
    settings: Option<Settings>,
    hooks: Hooks,
    asked: Receiver<u64>,
    runtime: &Runtime,
) -> io::Result<Receiver<InForce>> {
    let Some(settings) = settings else {
        let (in_force, reader) = watch::channel(Some(Arc::default()));
        runtime.spawn_until_stopped("config", async move {
            // A config that nobody changes is one all the same: readers must not see it end.
            let _in_force = in_force;
            std::future::pending::<Result<(), Infallible>>().await
        });
        return Ok(reader);
    };
    let (in_force, reader) = watch::channel(None);
    let component = runtime.readiness().component("config");
    let keeper = ConfigFile { settings, in_force, asked, files: Files::start()?, component, hooks };
    runtime.spawn_until_stopped("config", keeper.run());
    Ok(reader)
}
