//! The subcommand `devices`: what the driver shows, through the same client as the daemon, and who has
//! leased what of it.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Context;
use config_file::text;
use daemon::aligned;
use daemon::stdout;
use gpu_model::names::RESOURCE_GPU_MANAGEMENT;
use gpu_model::{GpuUuid, Inventory, Reading};
use jiff::Timestamp;
use node_contract::Lease;
use nvml::Nvml;
use serde::Serialize;

use crate::args::Output;
use crate::config::Config;
use crate::leases::LeasePlaces;
use crate::offering;

/// What programs read: an inventory, which has more than `explain --node` asks for.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    inventory: &'a Inventory,
    leases: Vec<Leased<'a>>,
}

/// A lease that counts.
#[derive(Serialize)]
struct Leased<'a> {
    id: &'a str,
    gpus: &'a BTreeSet<GpuUuid>,
    who: &'a str,
    purpose: &'a str,
    expires_at: Timestamp,
}

impl<'a> Leased<'a> {
    fn of(lease: &'a Lease) -> Leased<'a> {
        let Lease { id, gpus, who, purpose, expires_at, .. } = lease;
        Leased { id, gpus, who, purpose, expires_at: *expires_at }
    }
}

/// Lists the GPUs on standard output.
pub async fn list(config: &Config, output: Output) -> ExitCode {
    match try_list(config, output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => daemon::fail(error.as_ref()),
    }
}

async fn try_list(config: &Config, output: Output) -> anyhow::Result<()> {
    let leases = LeasePlaces::of(config).live()?;
    let inventory = inventory(config).await?;
    let text = match output {
        Output::Json => {
            let leases = leases.iter().map(Leased::of).collect();
            serde_json::to_string_pretty(&Shown { inventory: &inventory, leases })? + "\n"
        }
        Output::Table => table(&inventory) + &management(config)? + &leased(&leases),
    };
    Ok(stdout::write(text.as_bytes())?)
}

/// What the driver shows. While GPUs are leased it is not asked, since that would touch them: then this is what the plugin
/// saw last.
pub async fn inventory(config: &Config) -> anyhow::Result<Inventory> {
    let leases = LeasePlaces::of(config);
    if !leases.live()?.is_empty() {
        return leases.inventory().context("GPUs are leased, and the driver is left alone meanwhile");
    }
    let nvml = Nvml::start(config.nvml.clone(), config.driver.library_source())?;
    let inventory = nvml.inventory().await;
    nvml.shutdown().await;
    Ok(inventory?)
}

/// What is offered besides GPUs.
fn management(config: &Config) -> anyhow::Result<String> {
    let flags = &config.offering;
    let file = config.config_file.as_ref().map(|file| {
        let text = text::of_file(&file.path)?;
        let checked = gpu_config::read(&file.path.display().to_string(), &text, flags.injection.mode)?;
        anyhow::Ok(checked.config)
    });
    let daemons = offering::management(flags, file.transpose()?.as_ref());
    Ok(match daemons {
        0 => String::new(),
        daemons => format!("{RESOURCE_GPU_MANAGEMENT} for {daemons} daemons: all device nodes\n"),
    })
}

fn table(inventory: &Inventory) -> String {
    let mut rows = vec![["INDEX", "DEVICE", "PRODUCT", "MEMORY", "PCI", "NODE"].map(str::to_owned).to_vec()];
    for gpu in &inventory.gpus {
        rows.push(vec![
            gpu.index.to_string(),
            gpu.uuid.to_string(),
            shown(&gpu.product, String::clone),
            shown(&gpu.memory_bytes, mib),
            shown(&gpu.pci, ToString::to_string),
            shown(&gpu.minor, |minor| format!("/dev/nvidia{minor}")),
        ]);
        rows.extend(gpu.mig_devices.iter().map(|part| {
            vec![
                format!("{}:{}", gpu.index, part.index),
                format!("  {}", part.uuid),
                format!("  {}", part.profile),
                shown(&part.memory_bytes, mib),
                String::new(),
                format!("gi{}/ci{}", part.gpu_instance, part.compute_instance),
            ]
        }));
    }
    let mut text = aligned(&rows);
    for failure in &inventory.failures {
        text.push_str(&format!(
            "{}  cannot be identified: {} = {}\n",
            failure.index, failure.call, failure.code
        ));
    }
    for gpu in &inventory.gpus {
        for failure in &gpu.mig_failures {
            let index = failure.index.map_or("*".to_owned(), |index| index.to_string());
            let (call, code) = (&failure.call, gpu_model::failure::describe(failure.code));
            text.push_str(&format!("{}:{index}  cannot be read: {call} = {code}\n", gpu.index));
        }
    }
    text.push_str(&format!(
        "\ndriver {}, NVML {}, CUDA {}\n",
        inventory.driver.driver,
        inventory.driver.nvml,
        shown(&inventory.driver.cuda, |(major, minor)| format!("{major}.{minor}"))
    ));
    text
}

/// Who has which of them.
fn leased(leases: &[Lease]) -> String {
    let mut text = String::new();
    for Lease { id, gpus, purpose, who, expires_at, .. } in leases {
        for gpu in gpus {
            text.push_str(&format!(
                "{gpu} is leased by {who} until {expires_at:.0}: {purpose} (lease {id})\n"
            ));
        }
    }
    if !leases.is_empty() {
        text.push_str("The driver is left alone meanwhile: this is what the device plugin saw last.\n");
    }
    text
}

fn mib(bytes: &u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn shown<T>(reading: &Reading<T>, show: impl FnOnce(&T) -> String) -> String {
    match reading {
        Reading::Value(value) => show(value),
        Reading::NotSupported => "-".to_owned(),
        Reading::Failed { call, code } => format!("{call}={code}"),
    }
}
