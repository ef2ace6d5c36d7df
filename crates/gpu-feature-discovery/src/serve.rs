//! Wires the parts together and runs them until the daemon is told to end.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use config_file::{Hooks, InForce};
use daemon::files::Files;
use node_api::OwnNode;
use node_contract::{LeaseFolder, REPORT_PATH};
use node_driver::{NvmlMetrics, Role};
use nvml::Nvml;
use tokio::sync::watch;

use crate::config::{Config, Outputs};
use crate::discovery::{Components, Discovery};
use crate::facts::Face;
use crate::fixed::Fixed;
use crate::kept;
use crate::leases::Leases;
use crate::look::Looker;
use crate::metrics::{Metrics, PREFIX};
use crate::nfd;
use crate::outputs::file::FeatureFile;
use crate::outputs::{cluster, stdout};
use crate::plugin::Plugin;

/// Serves until a signal or a failure, and gives the exit code.
pub async fn serve(config: Config, face: Face, args: &daemon::RuntimeArgs) -> ExitCode {
    let runtime = match daemon::Runtime::start(args, crate::ABOUT).await {
        Ok(runtime) => runtime,
        Err(error) => return daemon::fail(&error),
    };
    match wire(config, face, &runtime) {
        Ok(()) => runtime.run_until_done().await,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "cannot start");
            ExitCode::from(1)
        }
    }
}

fn wire(config: Config, face: Face, runtime: &daemon::Runtime) -> anyhow::Result<()> {
    let Config {
        oneshot: _,
        fails_without_driver,
        labels,
        config_file,
        fixed,
        outputs,
        driver,
        nvml,
        run_dir,
        state_dir,
        presence,
        warnings,
    } = config;
    for warning in warnings {
        tracing::warn!(warning, "a setting is not used");
    }
    let readiness = runtime.readiness();
    let metrics = Metrics::register(&runtime.registry())?;
    let asked = runtime.hang_ups().context("cannot catch SIGHUP")?;
    let in_force = keep_config(config_file, fixed, runtime, &metrics, asked.clone())?;
    let nvml = Nvml::start(nvml, driver.library_source())?;
    NvmlMetrics::register(&runtime.registry(), PREFIX, &[Role::Queries, Role::Events], nvml.status())?;
    let boot = node_host::boot_id(&driver.host).ok();
    let leases = LeaseFolder::new(&run_dir);
    let (show, shown) = watch::channel(None);
    let node = start_outputs(&outputs, face, &shown, &metrics, runtime)?;
    let silenced = state_dir.join(kept::SILENCED);
    let discovery = Discovery {
        lease_folder: leases.path().clone(),
        leases: Leases::new(leases, boot.clone(), presence),
        plugin: Plugin::new(kept::silenced(&silenced), Instant::now()),
        nfd: nfd_says(node, runtime),
        looker: Looker {
            driver,
            nvml: nvml.clone(),
            files: Files::start().context("no thread for file work")?,
            report: run_dir.join(REPORT_PATH),
            boot,
        },
        flags: labels,
        config: in_force,
        asked,
        fails_without_driver,
        kept: state_dir.join(kept::FILE),
        silenced,
        show,
        metrics,
        components: Components {
            driver: readiness.component("driver"),
            labels: readiness.component("labels"),
            leases: readiness.component("leases"),
        },
    };
    let stop = runtime.shutdown();
    runtime.spawn_vital("discovery", async move {
        let ended = tokio::select! {
            ended = discovery.run() => ended,
            () = stop.requested() => Ok(()),
        };
        nvml.shutdown().await;
        ended
    });
    Ok(())
}

/// Starts the outputs, and gives what is seen of the own Node, if one of them watches it.
fn start_outputs(
    outputs: &Outputs,
    face: Face,
    shown: &watch::Receiver<Option<Arc<crate::discovery::Shown>>>,
    metrics: &Metrics,
    runtime: &daemon::Runtime,
) -> anyhow::Result<Option<watch::Receiver<OwnNode>>> {
    if let Some(format) = outputs.stdout {
        runtime.spawn_until_stopped("stdout", stdout::follow(shown.clone(), format));
    }
    if let Some(path) = &outputs.file {
        let file = FeatureFile {
            path: path.clone(),
            expires: face == Face::Native,
            files: Files::start().context("no thread for the file of labels")?,
            metrics: metrics.clone(),
            component: runtime.readiness().component("file"),
        };
        runtime.spawn_until_stopped("file", file.follow(shown.clone()));
    }
    match &outputs.cluster {
        Some(settings) => Ok(cluster::start(settings, face, shown, metrics, runtime)?),
        None => Ok(None),
    }
}

/// What Node Feature Discovery says of the Node; that there is no GPU where that is not watched.
fn nfd_says(
    node: Option<watch::Receiver<OwnNode>>,
    runtime: &daemon::Runtime,
) -> watch::Receiver<Option<bool>> {
    let (says, said) = watch::channel(node.is_none().then_some(false));
    if let Some(node) = node {
        runtime.spawn_until_stopped("nfd", async move {
            nfd::follow(node, says).await;
            Ok::<(), Infallible>(())
        });
    }
    said
}

/// Keeps the config that is in force; without a config file that is an empty one.
fn keep_config(
    settings: Option<config_file::Settings>,
    fixed: Fixed,
    runtime: &daemon::Runtime,
    metrics: &Metrics,
    asked: watch::Receiver<u64>,
) -> anyhow::Result<watch::Receiver<InForce>> {
    let metrics = metrics.clone();
    let hooks = Hooks {
        read: Box::new(move |is_valid| metrics.config(is_valid)),
        late: Box::new(move |config| fixed.changes(&Fixed::of(config))),
        without: "no label is made until there is one that can be used",
    };
    config_file::keep(settings, hooks, asked, runtime).context("no thread for the config file")
}
