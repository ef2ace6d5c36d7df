//! Faults on command.

use std::time::Duration;

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks without an answer: as with a server that is down or a load balancer with nobody behind it.
    Down,
    /// An answer of that code, with a `Status`, and `Retry-After` in seconds.
    Code {
        /// HTTP's code.
        code: u16,
        /// The header.
        retry_after: Option<u64>,
    },
    /// The request is served, after that long.
    Slow(Duration),
    /// Code 200 and a page of some proxy.
    Garbage,
}

impl Fault {
    /// An answer of that code.
    pub fn code(code: u16) -> Fault {
        Fault::Code { code, retry_after: None }
    }
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next requests.
    Next(usize),
    /// All, until the faults are cleared.
    UntilCleared,
}

#[derive(Debug)]
struct Injected {
    fault: Fault,
    times: Times,
    verb: Option<String>,
}

/// The faults that wait for requests, in the order in which they were injected.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Injected>);

impl Faults {
    pub fn inject(&mut self, fault: Fault, times: Times, verb: Option<&str>) {
        self.0.push(Injected { fault, times, verb: verb.map(str::to_owned) });
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The fault of a request that came now.
    pub fn next(&mut self, verb: &str) -> Option<Fault> {
        self.0.retain(|it| it.times != Times::Next(0));
        let injected = self.0.iter_mut().find(|it| it.verb.as_deref().is_none_or(|wanted| wanted == verb))?;
        if let Times::Next(left) = &mut injected.times {
            *left -= 1;
        }
        Some(injected.fault)
    }
}
