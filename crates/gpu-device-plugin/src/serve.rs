//! Wires the parts together and runs them until the daemon is told to end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use config_file::{Hooks, InForce};
use daemon::files::Files;
use gpu_health::Ledger;
use node_contract::{LeaseFolder, MAX_REQUESTS, REPORT_PATH};
use node_driver::{NvmlMetrics, Role};
use node_host::HostRoot;
use nvml::Nvml;
use tokio::sync::{mpsc, watch};

use crate::board::{Board, Opened};
use crate::cdi_gate::{self, CdiGate};
use crate::config::Config;
use crate::endpoint::{Endpoint, Surroundings};
use crate::fixed::Fixed;
use crate::health::{self, HealthPaths, Keeper, Kept};
use crate::held::Granted;
use crate::holders::{self, Holders, Holdings, Use};
use crate::kubelet_socket::KubeletWatch;
use crate::kubelet_view::KubeletView;
use crate::leases::{Claims, HandedLists, Leases, Yielded};
use crate::metrics::{self, Metrics};
use crate::observe::{Components, Healths, Leasing, Observer};
use crate::offering::{Offering, OfferingFlags};
use crate::outlook::Outlook;
use crate::report::{self, Reporter};
use crate::spec_file::SpecFile;
use crate::standing::Standings;

/// Serves until a signal or a failure, and gives the exit code.
pub async fn serve(config: Config, args: &daemon::RuntimeArgs) -> ExitCode {
    let runtime = match daemon::Runtime::start(args, crate::ABOUT).await {
        Ok(runtime) => runtime,
        Err(error) => return daemon::fail(&error),
    };
    match wire(config, &runtime) {
        Ok(()) => runtime.run_until_done().await,
        Err(error) => {
            tracing::error!(error = %format!("{error:#}"), "cannot start");
            ExitCode::from(1)
        }
    }
}

fn wire(config: Config, runtime: &daemon::Runtime) -> anyhow::Result<()> {
    let Config {
        fails_without_driver,
        offering,
        config_file,
        fixed,
        kubelet_socket,
        holders,
        instance,
        driver,
        nvml,
        cdi_dir,
        cdi_hook,
        cdi_gate,
        run_dir,
        probe_interval,
        health,
        health_paths,
        warnings,
    } = config;
    for warning in warnings {
        tracing::warn!(warning, "a setting is not used");
    }
    let readiness = runtime.readiness();
    let metrics = Metrics::register(&runtime.registry())?;
    let (board, opened) = Board::new();
    let (gate, cdi) = watch::channel(CdiGate::Closed);
    let (handed, first_list) = watch::channel(false);
    let asked = runtime.hang_ups().context("cannot catch SIGHUP")?;
    let in_force = keep_config(config_file, fixed, runtime, &metrics, asked.clone())?;
    let (uses_cdi, is_used) = watch::channel(None);
    let foretold = foretell(in_force.clone(), offering.clone(), uses_cdi.clone());

    let nvml = Nvml::start(nvml, driver.library_source())?;
    NvmlMetrics::register(
        &runtime.registry(),
        metrics::PREFIX,
        &[Role::Queries, Role::Events],
        nvml.status(),
    )?;
    let (findings, found) = watch::channel(None);
    let files = Files::start().context("no thread for file work")?;
    // Its own thread: the report's readers are other daemons, and a search that hangs is not theirs.
    let report_files = Files::start().context("no thread for the report")?;
    let (lists, handed_lists) = watch::channel(HandedLists::default());
    let pod_resources = holders.socket.clone();
    let holding = keep_holders(holders, &driver.host, asked.clone(), &metrics, runtime)?;
    let reporter = Reporter::new(&run_dir, &driver.host, report_files, report::LOOK);
    let spec = SpecFile::new(cdi_dir, driver.host.clone(), cdi_hook);
    let outlook = Outlook::new().context("no thread for what recurs")?;
    let (kubelet, watching) = outlook.within(|| KubeletView::of(KubeletWatch::new(kubelet_socket)));
    let (health, keeper) = keep_health(health, health_paths, &driver, runtime)?;
    let boot = node_host::boot_id(&driver.host).ok();
    let (claims, claimed) = watch::channel(Claims::default());
    let (yielding, yielded) = watch::channel(Yielded::default());
    let leases = Leases {
        folder: LeaseFolder::new(&run_dir),
        instance,
        boot: boot.clone(),
        kubelet: pod_resources.clone(),
        claims,
        yielded,
        handed: handed_lists,
        holdings: holding.holdings.clone(),
        files: Files::start().context("no thread for leases")?,
        metrics: metrics.clone(),
        component: readiness.component("leases"),
    };
    let observer = Observer {
        health,
        flags: offering,
        config: in_force,
        asked,
        files: files.clone(),
        cdi: cdi.clone(),
        uses_cdi,
        fails_without_driver,
        findings,
        holdings: holding.holdings,
        used: holding.used,
        leasing: Leasing { claims: claimed, yielded: yielding },
        report: run_dir.join(REPORT_PATH),
        boot,
        driver,
        nvml: nvml.clone(),
        modprobe: Arc::default(),
        board,
        first_list,
        probe_interval,
        metrics: metrics.clone(),
        components: Components {
            driver: readiness.component("driver"),
            nodes: readiness.component("device-nodes"),
            spec: readiness.component("cdi-spec").into(),
            devices: readiness.component("devices"),
            topology: readiness.component("topology"),
        },
    };
    let surroundings = Surroundings {
        instance,
        kubelet,
        pod_resources,
        files,
        cdi,
        granted: holding.granted,
        metrics,
        standings: Standings::new(readiness.component("kubelet")),
        handed,
        lists,
    };

    let stop = runtime.shutdown();
    runtime.spawn_vital("observer", {
        let stop = stop.clone();
        async move {
            let ended = tokio::select! {
                ended = observer.run(spec) => ended,
                () = stop.requested() => Ok(()),
            };
            nvml.shutdown().await;
            ended
        }
    });
    runtime.spawn_until_stopped("report", reporter.run(found));
    let gate = cdi_gate::keep(cdi_gate, is_used, gate, readiness.component("cdi"));
    let keeping_health = async {
        match keeper {
            Some(keeper) => drop(keeper.run().await),
            None => std::future::pending().await,
        }
    };
    let watched = outlook.run(
        async move {
            tokio::select! {
                () = foretold => "nobody keeps the config any more",
                () = gate => "nobody keeps the proof of CDI any more",
                () = watching => "nobody looks out for the kubelet any more",
                () = keeping_health => "nobody keeps health any more",
                _ = leases.run() => "nobody heeds leases any more",
            }
        },
        stop.clone(),
    )?;
    runtime.spawn_vital("outlook", watched);
    runtime.spawn_vital("resources", open_endpoints(opened, surroundings, runtime.tasks(), stop));
    Ok(())
}

/// Gives each resource its endpoint when it is offered for the first time.
async fn open_endpoints(
    mut opened: mpsc::UnboundedReceiver<Vec<Opened>>,
    surroundings: Surroundings,
    tasks: daemon::Tasks,
    stop: daemon::Shutdown,
) -> anyhow::Result<()> {
    loop {
        let next = tokio::select! {
            next = opened.recv() => next,
            () = stop.requested() => None,
        };
        let Some(opened) = next else { return Ok(()) };
        // Made before the first of them runs: none is registered, and the daemon ready, before all are known.
        let endpoints: Vec<Endpoint> = opened
            .into_iter()
            .map(|Opened { resource, state }| Endpoint::new(resource, state, surroundings.clone()))
            .collect();
        for endpoint in endpoints {
            tasks.spawn_vital(endpoint.resource().to_string(), endpoint.run(stop.clone()));
        }
    }
}

/// The ledger as it was kept, and what keeps it from now on, if it can be kept.
fn keep_health(
    settings: gpu_health::Settings,
    paths: HealthPaths,
    driver: &node_driver::Settings,
    runtime: &daemon::Runtime,
) -> anyhow::Result<(Healths, Option<Keeper>)> {
    let checks = settings.checks.clone();
    let component = runtime.readiness().component("health");
    let (asks, asked) = mpsc::channel(MAX_REQUESTS);
    let (ledger, newest, keeper) = match node_host::boot_id(&driver.host) {
        Ok(boot) => {
            let (ledger, kept) = health::restore(&paths, &boot, settings);
            let (newest, kept) = watch::channel(kept);
            let files = Files::start().context("no thread for the health file")?;
            (ledger, newest, Some(Keeper { paths, boot, kept, asks, files, component }))
        }
        Err(error) => {
            let error = daemon::error_chain(&error).to_string();
            component
                .ready_but(format!("health is not kept, and nobody can overrule it: no boot id: {error}"));
            (Ledger::new(settings), watch::channel(Kept::default()).0, None)
        }
    };
    let (causes, probed) = (BTreeMap::new(), None);
    Ok((Healths { ledger, checks, kept: newest, asks: asked, causes, probed }, keeper))
}

/// Tells whether CDI will be in use as soon as the config is known, so that its proof need not wait for the driver.
/// Afterwards the observer tells.
async fn foretell(
    mut in_force: watch::Receiver<InForce>,
    flags: OfferingFlags,
    uses_cdi: watch::Sender<Option<bool>>,
) {
    let config = in_force.wait_for(Option::is_some).await.ok().and_then(|config| config.clone());
    if let Ok(offering) = Offering::new(&flags, config.as_deref()) {
        uses_cdi.send_if_modified(|told| {
            let is_first = told.is_none();
            if is_first {
                *told = Some(offering.injection.uses_cdi());
            }
            is_first
        });
    }
    std::future::pending().await
}

/// The ends of the channels to and from the task that asks what pods hold.
struct Holding {
    holdings: watch::Receiver<Holdings>,
    used: watch::Sender<Use>,
    granted: mpsc::UnboundedSender<Granted>,
}

fn keep_holders(
    settings: holders::Settings,
    host: &HostRoot,
    asked: watch::Receiver<u64>,
    metrics: &Metrics,
    runtime: &daemon::Runtime,
) -> anyhow::Result<Holding> {
    let (granted, grants) = mpsc::unbounded_channel();
    let (used, uses) = watch::channel(Use::default());
    let (sender, holdings) = watch::channel(Holdings::default());
    let boot = node_host::boot_id(host).inspect_err(|error| {
        let error = daemon::error_chain(error).to_string();
        tracing::warn!(error, "no boot id, so what pods hold is not kept for the next start");
    });
    let holders = Holders {
        settings,
        boot: boot.ok(),
        granted: grants,
        asked,
        used: uses,
        holdings: sender,
        files: Files::start().context("no thread for what pods hold")?,
        metrics: metrics.clone(),
        component: runtime.readiness().component("holders"),
    };
    runtime.spawn_until_stopped("holders", holders.run());
    Ok(Holding { holdings, used, granted })
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
        without: "nothing is offered until there is one that can be used",
    };
    config_file::keep(settings, hooks, asked, runtime).context("no thread for the config file")
}
