//! The command line.

use std::env;
use std::io::{self, IsTerminal};

use clap::Parser;

/// Shows a GPU node at work: a simulated driver, a kubelet stand-in, and the real daemons as processes.
///
/// It needs no GPU, no root and no cluster, ends by itself, and leaves nothing behind. The exit code is 0 when all
/// that it showed was as expected, and 1 otherwise.
#[derive(Debug, Parser)]
#[command(name = "demo", version)]
pub struct Args {
    /// Keep the node up afterwards, and say what to try; ctrl-c ends it
    #[arg(long)]
    pub stay: bool,

    /// No colours and no signs beyond ASCII; NO_COLOR drops the colours alone
    #[arg(long)]
    pub plain: bool,

    /// The node: an 8-GPU preset of nvml-sim
    #[arg(long, value_name = "NODE", default_value = "dgx-a100", value_parser = ["dgx-a100", "dgx-h100"])]
    pub preset: String,
}

/// How the screen may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// Colours are welcome.
    pub colours: bool,
    /// ASCII only.
    pub ascii: bool,
    /// Somebody watches: leave time to read.
    pub paced: bool,
}

impl Args {
    /// Looks for this terminal, or for none.
    pub fn looks(&self) -> Looks {
        let watched = io::stdout().is_terminal();
        let refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Looks { colours: watched && !self.plain && !refused && !dumb, ascii: self.plain, paced: watched }
    }
}
