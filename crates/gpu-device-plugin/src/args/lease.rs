//! The subcommand `lease`, as it is typed.

use std::ffi::OsString;
use std::time::Duration;

use clap::Subcommand;
use daemon::parse_duration;

use super::Output;

/// What is wanted of leases.
#[derive(Clone, Debug, Subcommand)]
pub enum LeaseCommand {
    /// Take GPUs for yourself: the daemons of the node let go of them first, and take them back afterwards
    ///
    /// It waits until every Gantry daemon has let go of the GPUs and no pod holds one, and then runs COMMAND, or stays in
    /// the foreground until it is interrupted. The lease ends with this process, however that ends. Exit code: that of
    /// COMMAND; 1 if there was no lease.
    Hold(HoldArgs),
    /// Ask the owner of a lease to give it back, or clear away what is left of one that counts no more
    ///
    /// A lease is its owner's as long as that lives: nobody can take it away.
    Release(ReleaseArgs),
    /// Show the leases, who has let go, and what still stands in the way
    List {
        /// Form of the list
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
}

/// What is leased, and for what.
#[derive(Clone, Debug, clap::Args)]
pub struct HoldArgs {
    /// GPU-UUID, its index, or all; several by commas, or by the flag again. A MIG device is leased with its whole GPU
    #[arg(long = "gpu", value_name = "GPU", required = true, value_delimiter = ',')]
    pub gpus: Vec<String>,
    /// What for; it is shown to whoever waits for these GPUs
    #[arg(long)]
    pub purpose: String,
    /// Who takes it [default: the user who is logged in]
    #[arg(long, env = "GANTRY_WHO")]
    pub who: Option<String>,
    /// When the lease ends at the latest, at most 24h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    pub expires: Duration,
    /// How long to wait for daemons and pods before giving up
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Do not wait for pods that hold one of the GPUs to end
    #[arg(long)]
    pub despite_pods: bool,
    /// Form of what is said on standard output once the lease is there; progress goes to standard error
    #[arg(long, value_enum, default_value_t)]
    pub output: Output,
    /// What to run while the lease is held, and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Which lease is to end.
#[derive(Clone, Debug, clap::Args)]
pub struct ReleaseArgs {
    /// The lease, as `lease list` names it
    pub lease: String,
    /// Why; its owner is told
    #[arg(long)]
    pub why: String,
    /// Who asks [default: the user who is logged in]
    #[arg(long, env = "GANTRY_WHO")]
    pub who: Option<String>,
    /// How long to wait until it is over
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub wait: Duration,
}
