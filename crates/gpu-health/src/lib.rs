//! Rules of GPU health: evidence goes in, and for each GPU and GPU instance comes out whether work may be placed on it,
//! why, and what would bring it back. Pure: time arrives as a value, and nothing here asks a driver or opens a file.
//!
//! ```text
//!                 XID that says little, a reading                 critical XID, lost, vanished, recovery wanted
//!    Healthy <-------------------------------> Degraded    (any) ----------------------------------> Unhealthy
//!       ^   time, or the reading ends                                                                    |
//!       |                                                                                                |
//!       +----- an answer ---- Unknown <---- no answer --- (Healthy, Degraded)        three good probes,  |
//!       |                        |                                                   after the proof     |
//!       |                        +---- 60 s ----> Unhealthy until an answer                              |
//!       +------------------------------------------------------------------------------------------------+
//! ```
//!
//! **Order of evidence.** NVML's recovery action first (field 230): whatever it asks for makes the GPU Unhealthy. Then
//! the table of XIDs ([`xid`]), with the operator's changes to it ([`HealthChecks`]). Then what probes find. The first
//! reason stays: what follows a fallen GPU are consequences. A person's fence stands above all, and a lease
//! ([`Ledger::lease`]) above all but that.
//!
//! **Scope.** An XID that the driver pins on a GPU instance concerns that instance alone, unless its row says that it
//! concerns the GPU. A whole GPU is as ill as its worst instance; an instance is as ill as its GPU.
//!
//! **Proof.** Unhealthy ends after [`GOOD_PROBES`] probes in a row that were answered with no recovery asked for, apart
//! by [`Settings::proof_spacing`], and only after what the reason needs ([`xid::Proof`]) was seen: a driver that asks for
//! nothing; or a reset, which shows in a GPU that was away and is back, in a recovery that the driver asked for and
//! asks for no more, in a driver that was gone, or of another version; or another boot. A GPU that could merely not be
//! asked is back with its first answer.
//!
//! **Restart.** A ledger is kept whole ([`SavedLedger`]) and goes on where it was in the same boot, timers included:
//! a restart launders nothing. Another boot starts afresh, but for people's fences of whole GPUs. What of it cannot be
//! read counts as the worst that it may have been ([`SavedLedger::mend`]).
//!
//! **Breaker.** One cause other than an XID takes at most half of the GPUs (at least one) in five minutes. The others
//! are Unknown, which is schedulable, until a look at least one spacing later says the same of them.
//!
//! What is not judged: a storm of application XIDs, since NVML does not tell which process raised them.

mod breaker;
mod checks;
mod entry;
mod evidence;
mod ledger;
mod level;
mod remains;
mod transition;
pub mod xid;

use std::time::Duration;

pub use breaker::BREAKER_WINDOW;
pub use checks::{DISABLE, ENABLE, HealthChecks, HealthChecksError, Ruling};
pub use entry::{DEGRADED_FOR, GRACE, SLOW_FOR};
pub use evidence::{Condition, Evidence, Moment, Recovery};
pub use ledger::{Boot, Ledger, Record, SavedLedger, UnknownSubjectError};
pub use level::GOOD_PROBES;
pub use transition::{Cause, ParseSubjectError, Subject, Transition, Word, what_to_do};

/// The longest time between two probes that count as two.
pub const LONGEST_PROOF_SPACING: Duration = Duration::from_secs(10);

/// What the rules go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which evidence counts.
    pub checks: HealthChecks,
    /// How far apart probes have to be to count as two. [`LONGEST_PROOF_SPACING`] by default.
    pub proof_spacing: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { checks: HealthChecks::default(), proof_spacing: LONGEST_PROOF_SPACING }
    }
}
