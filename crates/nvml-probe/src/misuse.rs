//! Misuse of every getter, in a fixed order: null pointers, handles of nothing, version words that no header has, too
//! little room, calls after the shutdown. It asks getters alone, so it may be tried on real GPUs; each wrong call is made
//! in a process apart, so that a crash is seen and told like a code.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::call::{About, Call};
use crate::code::Code;
use crate::ffi::{Behind, Block};
use crate::fuzz::{Flaw, control, put};
use crate::session::{Session, SessionError};
use crate::table::{self, Argument, Getter, Scope};
use crate::walk;

/// Bytes of the memory that is no handle: more than what a library keeps of a GPU.
const NOTHING_BYTES: usize = 1 << 16;

/// What a wrong call got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Misuse {
    /// The function, and what was wrong.
    pub call: String,
    /// The code, or the signal that ended the process.
    pub code: String,
    /// The codes that NVML's header allows.
    pub allowed: Vec<String>,
}

impl Misuse {
    /// Whether the code is one of those that are allowed.
    pub fn is_right(&self) -> bool {
        self.allowed.contains(&self.code)
    }
}

/// What can be wrong with a call, with its name. Numbers: see [`Flaw`].
const FLAWS: &[(&str, Flaw)] = &[
    ("null pointer", Flaw::Null(0)),
    ("second pointer null", Flaw::Null(1)),
    ("null handle", Flaw::Handle(0)),
    ("version 0", Flaw::Version(0)),
    ("version 7", Flaw::Version(7)),
    ("version word of ones", Flaw::Version(u32::MAX)),
    ("no room", Flaw::Short(0)),
    ("room for one", Flaw::Short(1)),
];
/// Beside those: a handle that points to zeros, and a call after the shutdown.
const DEAD_HANDLE: &str = "handle of nothing";
const AFTER_SHUTDOWN: &str = "after the shutdown";
/// In the place of a code: the library wrote before its memory.
const TRESPASS: &str = "a write outside of its memory";

/// A wrong call before it is made, and what it got afterwards; a line of the process that tries them.
#[derive(Serialize, Deserialize)]
enum Line {
    Begins(usize, String),
    Got(Misuse),
    DoesNotFit,
}

/// Tries everything by processes of `program`, which is this one: one goes on until a call ends it, then the next one
/// takes over behind that call.
pub fn try_all(program: &Path, library: &Path, variables: &[(&str, &Path)]) -> std::io::Result<Vec<Misuse>> {
    let mut tried = Vec::new();
    let mut from = 0;
    loop {
        let mut command = Command::new(program);
        command.arg("--library").arg(library).args(["misuse", "--from", &from.to_string()]);
        command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut begun = None;
        for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()) {
            match serde_json::from_str(&line?) {
                Ok(Line::Begins(index, call)) => begun = Some((index, call)),
                Ok(Line::Got(misuse)) => {
                    begun = None;
                    tried.push(misuse);
                }
                Ok(Line::DoesNotFit) => begun = None,
                Err(_) => {}
            }
        }
        let status = child.wait()?;
        let Some((index, call)) = begun else {
            if status.success() {
                return Ok(tried);
            }
            return Err(std::io::Error::other(format!("the process that misuses the library: {status}")));
        };
        let code = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
        tried.push(Misuse { call, code, allowed: Vec::new() });
        from = index + 1;
    }
}

/// Makes all wrong calls from one on, in this process, and tells of each before and after.
pub fn play(library: &Path, from: usize, out: &mut impl Write) -> Result<(), PlayError> {
    let mut session = Session::begin(library)?;
    let abouts = abouts(&mut session);
    let nothing = Block::new(NOTHING_BYTES, Behind::Wall);
    let dead = Flaw::Handle(nothing.as_ref().map_or(0, Block::address));
    let flaws: Vec<(&str, Flaw)> = FLAWS.iter().copied().chain([(DEAD_HANDLE, dead)]).collect();
    let asked: Vec<(&Getter, &About)> = asked(&abouts).collect();
    // Each has its number whether or not the flaw fits, so that every process counts alike.
    let pairs = asked.iter().flat_map(|asked| flaws.iter().map(move |flaw| (asked, flaw)));
    for (index, ((getter, about), (name, flaw))) in pairs.enumerate().skip(from) {
        // The right call, with which it begins, may end the process too.
        tell(&Line::Begins(index, format!("{}: {name}", getter.name)), out)?;
        let laid = lay(&session, getter, about, *flaw);
        try_one(format!("{}: {name}", getter.name), laid, out)?;
    }
    session.end();
    let begin = asked.len() * flaws.len();
    for (at, (getter, about)) in asked.iter().enumerate().skip(from.saturating_sub(begin)) {
        let name = format!("{}: {AFTER_SHUTDOWN}", getter.name);
        tell(&Line::Begins(begin + at, name.clone()), out)?;
        let call = right(&session, getter, about).filter(|_| !getter.is_early());
        try_one(name, call.map(|call| (call, vec![Code::UNINITIALIZED])), out)?;
    }
    Ok(())
}

/// Makes one wrong call, and tells of it.
fn try_one(call: String, laid: Option<(Call, Vec<Code>)>, out: &mut impl Write) -> Result<(), PlayError> {
    let Some((mut wrong, allowed)) = laid else { return tell(&Line::DoesNotFit, out) };
    let code = wrong.make();
    let code = if wrong.is_intact() { code.to_string() } else { TRESPASS.to_owned() };
    let allowed = allowed.iter().map(ToString::to_string).collect();
    tell(&Line::Got(Misuse { call, code, allowed }), out)
}

/// A line is out before the next call: who dies of that has told it.
fn tell(line: &Line, out: &mut impl Write) -> Result<(), PlayError> {
    serde_json::to_writer(&mut *out, line)?;
    writeln!(out)?;
    Ok(out.flush()?)
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub enum PlayError {
    /// The library cannot be asked.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// Nobody listens.
    #[error("cannot tell of a call")]
    Tell(#[from] std::io::Error),
    /// What is told cannot be written.
    #[error("cannot write a call")]
    Write(#[from] serde_json::Error),
}

/// What there is to ask about: the first GPU, GPU instance and compute instance.
struct Abouts {
    gpu: About,
    gpu_instance: Option<About>,
    compute_instance: Option<About>,
}

fn abouts(session: &mut Session) -> Abouts {
    let handles = walk::gpus(session);
    let first = handles.iter().copied().find(|handle| *handle != 0).unwrap_or(0);
    let gpu = About { other: first, ..walk::about(session, first) };
    let handle = |name: &str, of: &About| (0..16).find_map(|id| session.handle(name, of, &[id]));
    let of = |handle: u64| About { handle, ..About::default() };
    let gpu_instance =
        handles.iter().find_map(|gpu| handle("nvmlDeviceGetGpuInstanceById", &of(*gpu))).map(of);
    let compute_instance = gpu_instance
        .as_ref()
        .and_then(|instance| handle("nvmlGpuInstanceGetComputeInstanceById", instance))
        .map(of);
    Abouts { gpu, gpu_instance, compute_instance }
}

/// All getters that there is something to ask about.
fn asked(abouts: &Abouts) -> impl Iterator<Item = (&'static Getter, &About)> {
    table::all().filter_map(|getter| {
        let about = match getter.scope() {
            Scope::System | Scope::Device => Some(&abouts.gpu),
            Scope::GpuInstance => abouts.gpu_instance.as_ref(),
            Scope::ComputeInstance => abouts.compute_instance.as_ref(),
        };
        Some((getter, about?))
    })
}

/// Lays a wrong call out, with the codes that it may get. Nothing where the flaw does not fit the function, or the library
/// lacks it.
fn lay(session: &Session, getter: &Getter, about: &About, flaw: Flaw) -> Option<(Call, Vec<Code>)> {
    let function = session.library.function(getter.name)?;
    let choices = first_choices(getter);
    let (code, same, version) = control(function, getter, about, &choices)?;
    let mut call = Call::prepare(function, getter, about, &choices, version, Behind::Guard)?;
    // Where there is one pointer alone, the second one would be the first again.
    if matches!(flaw, Flaw::Null(which) if usize::from(which) >= call.slots.len()) {
        return None;
    }
    let allowed = put(&mut call, getter, flaw, (&[], &[]), (&same, code))?;
    Some((call, allowed))
}

/// The same call without a flaw.
fn right(session: &Session, getter: &Getter, about: &About) -> Option<Call> {
    let function = session.library.function(getter.name)?;
    Call::prepare(function, getter, about, &first_choices(getter), 0, Behind::Guard)
}

fn first_choices(getter: &Getter) -> Vec<u32> {
    getter.arguments.iter().filter_map(Argument::range).map(|(first, ..)| first).collect()
}
