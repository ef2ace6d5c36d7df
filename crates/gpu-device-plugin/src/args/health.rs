//! The subcommand `health`, as it is typed.

use std::time::Duration;

use clap::Subcommand;
use daemon::parse_duration;

use super::Output;

/// What is wanted of the GPUs' health.
#[derive(Clone, Debug, Subcommand)]
pub enum HealthCommand {
    /// Show the health of each GPU as the plugin keeps it, and what would bring a sick one back
    List {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Take a GPU or GPU instance out of service, until a clear
    Fence(PersonArgs),
    /// End a fence, and accept all that is known of the GPU so far
    ///
    /// What is learnt later counts again; a reading, such as the recovery that the driver asks for, once it is another
    /// one.
    Clear(PersonArgs),
}

/// What a person says.
#[derive(Clone, Debug, clap::Args)]
pub struct PersonArgs {
    /// GPU-UUID, its index, MIG-UUID for the GPU instance of a MIG device, or one of the first two with /giNUMBER
    pub subject: String,
    /// Why; it is kept and shown
    #[arg(long)]
    pub why: String,
    /// Who says it
    #[arg(long, env = "GANTRY_WHO")]
    pub who: Option<String>,
    /// How long to wait until the plugin has done it; 0s to leave the request there and not to wait
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub wait: Duration,
}
