//! One look, its labels handed out, and the end.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use daemon::files::Files;
use node_api::{LabelKeeper, NodeFeatureKeeper, NodeWatcher};
use node_contract::{LeaseFolder, REPORT_PATH};
use nvml::Nvml;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::{ClusterOutputs, Config};
use crate::discovery::{Outcome, Shown, judge};
use crate::facts::Face;
use crate::kept;
use crate::leases::Leases;
use crate::look::Looker;
use crate::memory::Memory;
use crate::outputs::{cluster, file, stdout};
use crate::plugin::Plugin;
use crate::reach::Reach;

/// How long the API server may take for all of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does it, and gives the exit code.
pub async fn run(config: Config, face: Face) -> ExitCode {
    match once(config, face).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => daemon::fail(&*error.into_boxed_dyn_error()),
    }
}

async fn once(config: Config, face: Face) -> anyhow::Result<()> {
    let Outcome { shown, away, remarks, .. } = look(&config).await?;
    if let Some(away) = away {
        if config.fails_without_driver {
            bail!("no driver: {}", away.reason);
        }
        say(&format!("without a driver there are few labels: {}", away.reason));
    }
    for remark in config.warnings.iter().chain(&remarks) {
        say(remark);
    }
    if let Some(format) = config.outputs.stdout {
        stdout::print(&shown.labels, format)?;
    }
    if let Some(path) = &config.outputs.file {
        // Nobody renews it, so it does not expire.
        file::write(path, &shown.labels, None).map_err(anyhow::Error::msg)?;
    }
    if let Some(settings) = &config.outputs.cluster {
        let done = timeout(PATIENCE, hand_over(settings, face, &shown)).await;
        done.with_context(|| format!("the API server did not take the labels within {PATIENCE:?}"))??;
    }
    Ok(())
}

/// A remark for people: standard output is for labels.
fn say(remark: &str) {
    use std::io::Write as _;
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "warning: {remark}");
}

async fn look(config: &Config) -> anyhow::Result<Outcome> {
    let in_file = match &config.config_file {
        Some(file) => {
            let text = config_file::text::of_file(&file.path)?;
            gpu_config::read(&file.path.display().to_string(), &text, file.mode)?.config
        }
        None => gpu_config::Config::default(),
    };
    let plan = config.labels.plan(&in_file);
    let files = Files::start().context("no thread for file work")?;
    let boot = node_host::boot_id(&config.driver.host).ok();
    let mut leases = Leases::new(LeaseFolder::new(&config.run_dir), boot.clone(), config.presence.clone());
    let silenced = kept::silenced(&config.state_dir.join(kept::SILENCED));
    let mut plugin = Plugin::new(silenced, Instant::now());
    leases.read(&files, &mut plugin).await?;
    if let Some(leased) = leases.in_words() {
        bail!("the driver is left alone: {leased}");
    }
    let nvml = Nvml::start(config.nvml.clone(), config.driver.library_source())?;
    let driver = config.driver.clone();
    let report = config.run_dir.join(REPORT_PATH);
    let looker = Looker { driver, nvml: nvml.clone(), files, report, boot };
    // Nobody asks a program of one look whether it is ready.
    let component = daemon::Readiness::new().component("driver");
    let look = looker.look(&plan, &Reach::All, &mut plugin, &component).await;
    nvml.shutdown().await;
    let mut outcome = judge(look?, &plan, &mut Memory::default(), Instant::now());
    outcome.shown.generation = 1;
    Ok(outcome)
}

async fn hand_over(settings: &ClusterOutputs, face: Face, shown: &Shown) -> anyhow::Result<()> {
    let api = cluster::connect(settings);
    if settings.node {
        let (watcher, node) = NodeWatcher::new(api.clone(), &settings.node_name);
        let (_desire, desired) = watch::channel(Some(cluster::on_node(shown, face)));
        let (keeper, mut kept) = LabelKeeper::new(api.clone(), node, cluster::MANAGER, desired, None);
        let done = kept.wait_for(|kept| kept.applied == Some(shown.generation));
        let refused = tokio::select! {
            done = done => done.context("the labels are kept no more")?.refused.clone(),
            () = watcher.run() => bail!("the Node is watched no more"),
            () = keeper.run() => bail!("the labels are kept no more"),
        };
        for (field, why) in refused {
            say(&format!("{field}: {why}"));
        }
    }
    if let Some(place) = cluster::place(settings) {
        let (_desire, desired) = watch::channel(Some(cluster::in_object(shown, face)));
        let (keeper, mut kept) = NodeFeatureKeeper::new(api, place, desired);
        tokio::select! {
            done = kept.wait_for(|kept| kept.applied == Some(shown.generation)) => {
                done.context("the NodeFeature object is kept no more")?;
            }
            () = keeper.run() => bail!("the NodeFeature object is kept no more"),
        }
    }
    Ok(())
}
