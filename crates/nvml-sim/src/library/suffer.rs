//! What a fault does to the call that it strikes: wrong codes, hangs, crashes. It knows faults and the state folder
//! in which they are counted, not what the call was for.

use rustix::process::{Signal, getpid, kill_process};

use super::complaints::Complaints;
use crate::code::Code;
use crate::faults::{CallSite, Effect, Fault, Occurrence, strike};
use crate::freeze;
use crate::node::Node;
use crate::state::{State, StateFolder, Watch};

/// A call that meets faults.
pub struct Met<'a> {
    /// The function.
    pub function: &'a str,
    /// UUID of its GPU.
    pub gpu: Option<&'a str>,
    /// The node with every GPU, where it can be read.
    pub node: Option<&'a Node>,
    /// Where faults are counted.
    pub folder: &'a StateFolder,
    /// Where failures to count are told.
    pub complaints: &'a Complaints,
}

/// A call that was to hang in the kernel cannot.
#[derive(Debug, thiserror::Error)]
#[error("no frozen file system to be seen from here: the call hangs, but SIGKILL ends it")]
struct NotFrozen;

/// What a call that goes on has met.
pub enum Suffered {
    /// Nothing.
    Nothing,
    /// The node is no longer what it was: the call hung, or something befell a GPU.
    Change,
    /// It will answer nonsense.
    Garbage {
        /// Which.
        seed: u64,
    },
}

impl Met<'_> {
    /// Meets the faults that waited when the call began.
    pub fn suffer(&self, state: &State) -> Result<Suffered, Code> {
        let Some(fault) = self.struck_by(state) else { return Ok(Suffered::Nothing) };
        match fault.effect {
            Effect::Return(code) => Err(Code(code)),
            Effect::Hang => {
                self.hang(&fault);
                Ok(Suffered::Change)
            }
            Effect::Freeze => {
                if !freeze::hang(self.folder.dir()) {
                    self.complaints.say(&NotFrozen);
                    self.hang(&fault);
                }
                Ok(Suffered::Change)
            }
            Effect::Crash => crash(),
            Effect::Garbage { seed } => Ok(Suffered::Garbage { seed }),
            Effect::Befall(_) => Ok(Suffered::Change),
        }
    }

    /// The fault that strikes this call. It is counted in the state, so that "once" is once over all processes.
    /// Where the folder cannot be written (a read-only mount) the first fault strikes each time.
    fn struck_by(&self, state: &State) -> Option<Fault> {
        let now = self.at(state);
        let first = state.faults.iter().find(|fault| fault.concerns(now))?;
        let mut counted = state.faults.clone();
        let struck = strike(&mut counted, now);
        let befalls = struck.as_ref().is_some_and(|fault| matches!(fault.effect, Effect::Befall(_)));
        if counted == state.faults && !befalls {
            return struck;
        }
        let strike = |state: &mut State| {
            let now = self.at(state);
            let struck = strike(&mut state.faults, now)?;
            if let (Effect::Befall(what), Some(node)) = (&struck.effect, self.node) {
                let now_us = state.clock.now_us();
                // What the driver refuses does not happen.
                let _ = state.befall(node, struck.gpu.as_deref(), what, now_us);
            }
            Some(struck)
        };
        self.folder.update(strike).unwrap_or_else(|error| {
            self.complaints.say(&error);
            Some(first.clone())
        })
    }

    fn at(&self, state: &State) -> CallSite<'_> {
        // Only a fault that begins later asks for the time.
        let asks = state.faults.iter().any(|fault| fault.at.is_some());
        let now_us = if asks { state.clock.now_us() } else { 0 };
        CallSite { function: self.function, gpu: self.gpu, now_us }
    }

    /// Blocks until no lasting hang waits for this call any more. A hang that strikes a number of calls holds each
    /// of them for ever: nothing is left in the state that could be cleared.
    fn hang(&self, fault: &Fault) {
        let lasts = |fault: &Fault| fault.occurrence == Occurrence::Always;
        let holds = |state: &State| {
            let (mut faults, now) = (state.faults.iter(), self.at(state));
            let hangs = |fault: &Fault| matches!(fault.effect, Effect::Hang | Effect::Freeze);
            faults.any(|fault| hangs(fault) && lasts(fault) && fault.concerns(now))
        };
        let watch = Watch::new(self.folder.dir());
        while !lasts(fault) || self.folder.state().is_ok_and(|state| holds(&state)) {
            watch.wait(None);
        }
    }
}

/// Ends the process by SIGSEGV. A runtime that catches the first one resets its handler, so a second ends it.
fn crash() -> ! {
    loop {
        let _ = kill_process(getpid(), Signal::SEGV);
    }
}
