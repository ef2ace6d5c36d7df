//! Plays one sequence in this process and holds each answer against what must be. It keeps count of initialisations,
//! handles and instances, and knows the code of each step from that.

use std::collections::BTreeSet;
use std::path::Path;

use nvml_wrapper_sys::bindings::nvmlGpuInstanceInfo_t;
use serde_json::Value;

use super::crowd;
use super::flaw;
use super::mig::GpuBooks;
use super::step::{Ask, Case, Flaw, Step};
use crate::call::{About, Call};
use crate::code::Code;
use crate::ffi::{Behind, Block, Function, WORDS};
use crate::layout::number;
use crate::session::Session;
use crate::table::{self, Argument, Getter, Scope};
use crate::walk;

/// A flag of `nvmlInitWithFlags` that no header defines.
const NO_FLAG: u64 = 0x8000;
/// One more than the highest id of a compute instance profile.
const COMPUTE_PROFILES_END: u8 = 10;

/// The books of one process.
pub struct Player {
    pub(super) session: Session,
    pub(super) initialisations: u32,
    pub(super) gpus: Vec<GpuBooks>,
    /// Handles of GPUs that have others now, and of GPU and compute instances that were ended.
    pub(super) gone: Vec<u64>,
    /// Event sets, and whether each one lives.
    pub(super) sets: Vec<(u64, bool)>,
    pub(super) may_change: bool,
    /// Whether handles of GPUs are others than at the beginning.
    pub(super) has_moved: bool,
}

/// Plays a sequence; an error says which step did what it must not. `before` hears of each step before it is played.
pub fn play(library: &Path, case: &Case, mut before: impl FnMut(usize)) -> Result<(), String> {
    let mut player = Player::begin(library)?;
    for (index, step) in case.steps.iter().enumerate() {
        before(index);
        player.step(step).map_err(|problem| format!("step {index}, {step:?}: {problem}"))?;
    }
    Ok(())
}

/// Fails unless a code is one of those that it may be.
pub(super) fn expect(what: &str, code: Code, allowed: &[Code]) -> Result<(), String> {
    if allowed.contains(&code) { Ok(()) } else { Err(format!("{what} gives {code}, not one of {allowed:?}")) }
}

impl Player {
    /// Ends all instances that an earlier sequence left, and looks at the GPUs once.
    fn begin(library: &Path) -> Result<Player, String> {
        let mut session = Session::begin(library).map_err(|error| error.to_string())?;
        for handle in walk::gpus(&mut session) {
            let gpu = About { handle, ..About::default() };
            for (id, of) in instances(&session, &gpu) {
                for compute in 0..COMPUTE_PROFILES_END {
                    let about = About { handle: of, ..About::default() };
                    let name = "nvmlGpuInstanceGetComputeInstanceById";
                    if let Some(handle) = session.handle(name, &about, &[compute.into()]) {
                        call(&session, "nvmlComputeInstanceDestroy", &[handle])?;
                    }
                }
                expect(
                    &format!("ending instance {id}"),
                    call(&session, "nvmlGpuInstanceDestroy", &[of])?,
                    &[Code::SUCCESS],
                )?;
            }
        }
        let gpus = walk::gpus(&mut session).into_iter().map(|handle| {
            let about = walk::about(&session, handle);
            GpuBooks::open(&session, about)
        });
        let gpus = gpus.collect();
        expect("nvmlShutdown", session.end(), &[Code::SUCCESS])?;
        let may_change = is_root();
        Ok(Player {
            session,
            initialisations: 0,
            gpus,
            gone: Vec::new(),
            sets: Vec::new(),
            may_change,
            has_moved: false,
        })
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Init(way) => self.init(*way),
            Step::Shutdown => self.shutdown(),
            Step::Ask(ask) => self.ask(ask),
            Step::SetMig(gpu, on) => self.set_mig(usize::from(*gpu), *on),
            Step::Create(gpu, profile, place) => self.create(usize::from(*gpu), (*profile).into(), *place),
            Step::CreateCompute(instance, profile) => self.create_compute((*instance).into(), *profile),
            Step::Destroy(instance) => self.destroy((*instance).into()),
            Step::DestroyCompute(instance) => self.destroy_compute((*instance).into()),
            Step::Events(set, free) => self.events((*set).into(), *free),
            Step::Samples(gpu, metrics) => self.samples((*gpu).into(), *metrics),
            Step::Remove(gpu, how) => self.remove((*gpu).into(), *how),
            Step::Crowd(seed) => self.crowd(*seed),
        }
    }

    fn init(&mut self, way: u8) -> Result<(), String> {
        let (name, words, right): (_, &[u64], _) = match way % 5 {
            0 => ("nvmlInit", &[], Code::SUCCESS),
            1 => ("nvmlInitWithFlags", &[NO_FLAG], Code::INVALID_ARGUMENT),
            2 => ("nvmlInitWithFlags", &[0], Code::SUCCESS),
            _ => ("nvmlInit_v2", &[], Code::SUCCESS),
        };
        expect(name, call(&self.session, name, words)?, &[right])?;
        self.initialisations += u32::from(right == Code::SUCCESS);
        // A program that begins anew counts its GPUs anew.
        if self.initialisations == 1 && std::mem::take(&mut self.has_moved) {
            self.take_handles()
        } else {
            Ok(())
        }
    }

    fn shutdown(&mut self) -> Result<(), String> {
        let right = if self.initialisations > 0 { Code::SUCCESS } else { Code::UNINITIALIZED };
        expect("nvmlShutdown", call(&self.session, "nvmlShutdown", &[])?, &[right])?;
        self.initialisations = self.initialisations.saturating_sub(1);
        if self.initialisations == 0 {
            self.sets.iter_mut().for_each(|(_, lives)| *lives = false);
        }
        Ok(())
    }

    /// What may be given instead of the right code: before initialisation, or where only root may change anything.
    pub(super) fn right(&self, code: Code, is_change: bool) -> Vec<Code> {
        match () {
            () if self.initialisations == 0 => vec![Code::UNINITIALIZED],
            () if is_change && !self.may_change => {
                vec![code, Code::NO_PERMISSION].into_iter().filter(|right| *right != Code::SUCCESS).collect()
            }
            () => vec![code],
        }
    }

    fn ask(&mut self, ask: &Ask) -> Result<(), String> {
        let getters: Vec<&'static Getter> = table::misused().collect();
        let Some(getter) = getters.get(usize::from(ask.getter) % getters.len().max(1)).copied() else {
            return Ok(());
        };
        let (Some(function), Some(about)) =
            (self.session.library.function(getter.name), self.about(getter, ask.about))
        else {
            return Ok(());
        };
        let choices = choices(getter, &ask.numbers);
        let Some((code, mut same, version)) = control(function, getter, &about, &choices) else {
            return Ok(());
        };
        if self.initialisations == 0 && !getter.is_early() {
            expect(getter.name, code, &[Code::UNINITIALIZED])?;
        }
        if flaw::is_failure(getter, code) || !same.is_intact() {
            return Err(format!("{} gives {code}, or wrote beside its memory", getter.name));
        }
        let Some(mut flawed) = Call::prepare(function, getter, &about, &choices, version, Behind::Guard)
        else {
            return Ok(());
        };
        let handles = self.handles();
        let Some(mut allowed) =
            flaw::put(&mut flawed, getter, ask.flaw, (&handles, &self.same_kind(getter)), (&same, code))
        else {
            return Ok(());
        };
        if code == Code::UNINITIALIZED {
            allowed = vec![code];
        }
        let given = flawed.make();
        expect(getter.name, given, &allowed)?;
        if !flawed.is_intact() {
            return Err(format!("{} wrote before its memory", getter.name));
        }
        if ask.flaw == Flaw::None && getter.steadiness == table::Steadiness::Steady && given == Code::SUCCESS
        {
            let answer = |call: &Call| call.answer(&|handle| Value::from(handle));
            if answer(&same) != answer(&flawed) {
                return Err(format!("{} gives {} and then {}", getter.name, answer(&same), answer(&flawed)));
            }
        }
        Ok(())
    }

    /// What a getter is asked about, if there is such a thing.
    fn about(&self, getter: &Getter, which: u8) -> Option<About> {
        let which = usize::from(which);
        let pick = |handles: Vec<u64>| {
            let handle = *handles.get(which.checked_rem(handles.len())?)?;
            Some(About { handle, ..About::default() })
        };
        match getter.scope() {
            Scope::System => Some(About::default()),
            Scope::Device => {
                let gpu = self.gpus.get(which.checked_rem(self.gpus.len())?)?;
                let other = self.gpus.get((which / 16).checked_rem(self.gpus.len())?)?;
                Some(About { other: other.about.handle, ..gpu.about.clone() })
            }
            Scope::GpuInstance | Scope::ComputeInstance => pick(self.same_kind(getter)),
        }
    }

    /// All handles that were ever given.
    fn handles(&self) -> Vec<u64> {
        let gpus = self.gpus.iter().map(|gpu| gpu.about.handle);
        let instances = self.gpus.iter().flat_map(|gpu| &gpu.instances);
        let instances = instances.flat_map(|(handle, of)| of.compute.iter().copied().chain([*handle]));
        gpus.chain(instances)
            .chain(self.gone.iter().copied())
            .chain(self.sets.iter().map(|(set, _)| *set))
            .collect()
    }

    /// Living handles of the kind that a getter takes.
    fn same_kind(&self, getter: &Getter) -> Vec<u64> {
        let instances = || self.gpus.iter().flat_map(|gpu| &gpu.instances);
        match getter.scope() {
            Scope::System => Vec::new(),
            Scope::Device => self.gpus.iter().map(|gpu| gpu.about.handle).collect(),
            Scope::GpuInstance => instances().map(|(handle, _)| *handle).collect(),
            Scope::ComputeInstance => instances().flat_map(|(_, of)| of.compute.clone()).collect(),
        }
    }

    fn set_mig(&mut self, gpu: usize, on: bool) -> Result<(), String> {
        let (is_up, may_change) = (self.initialisations > 0, self.may_change);
        let count = self.gpus.len();
        let Some(books) = gpu.checked_rem(count).and_then(|gpu| self.gpus.get_mut(gpu)) else {
            return Ok(());
        };
        let mut status = block(4)?;
        let handle = books.about.handle;
        let given = call(&self.session, "nvmlDeviceSetMigMode", &[handle, on.into(), status.address()])?;
        if !is_up {
            return expect("nvmlDeviceSetMigMode", given, &[Code::UNINITIALIZED]);
        }
        if !may_change {
            return expect("nvmlDeviceSetMigMode", given, &[Code::NO_PERMISSION, Code::NOT_SUPPORTED]);
        }
        let (right, activation) = books.set_mode(on);
        expect("nvmlDeviceSetMigMode", given, &[right])?;
        if right == Code::SUCCESS {
            expect("the activation status", Code(number(status.bytes(), 4) as u32), &[activation])?;
            let mode = self.session.value("nvmlDeviceGetMigMode", &books.about, &[]);
            let part = |name: &str| mode.as_ref().and_then(|mode| mode.get(name)?.as_u64());
            let (current, pending) = (part("currentMode"), part("pendingMode"));
            if (current, pending) != (Some(books.enabled.into()), Some(on.into())) {
                return Err(format!("the mode is {current:?}, pending {pending:?}"));
            }
        }
        if status.is_intact() {
            Ok(())
        } else {
            Err("nvmlDeviceSetMigMode wrote before its memory".to_owned())
        }
    }

    fn create(&mut self, gpu: usize, profile: usize, place: Option<u8>) -> Result<(), String> {
        let Some(gpu) = gpu.checked_rem(self.gpus.len()) else { return Ok(()) };
        let Some(books) = self.gpus.get(gpu) else { return Ok(()) };
        let Some(profile) =
            profile.checked_rem(books.profiles.len()).and_then(|at| books.profiles.get(at)).cloned()
        else {
            return Ok(());
        };
        // One place more than there are: that is none.
        let place = place.map(|place| {
            let at = usize::from(place) % (profile.1.len() + 1);
            profile.1.get(at).copied().unwrap_or((90, 1))
        });
        let handle = books.about.handle;
        let room =
            self.session.value("nvmlDeviceGetGpuInstanceRemainingCapacity", &books.about, &[profile.0]);
        let room = room.and_then(|room| room.as_u64()).unwrap_or(0);
        if books.enabled && room > books.free_places(&profile) {
            return Err(format!(
                "room for {room} of profile {}, but only {} free places",
                profile.0,
                books.free_places(&profile)
            ));
        }
        let right = self.right(books.may_create(&profile, place, room), true);
        let out = block(8)?;
        let given = match place {
            None => call(
                &self.session,
                "nvmlDeviceCreateGpuInstance",
                &[handle, profile.0.into(), out.address()],
            )?,
            Some((start, size)) => {
                let mut at = block(8)?;
                let bytes: Vec<u8> = [start, size].iter().flat_map(|part| part.to_ne_bytes()).collect();
                at.bytes_mut().copy_from_slice(&bytes);
                let words = [handle, profile.0.into(), at.address(), out.address()];
                call(&self.session, "nvmlDeviceCreateGpuInstanceWithPlacement", &words)?
            }
        };
        expect("making a GPU instance", given, &right)?;
        if given != Code::SUCCESS {
            return Ok(());
        }
        let made = number(out.bytes(), 8);
        let info = block(size_of::<nvmlGpuInstanceInfo_t>())?;
        expect(
            "nvmlGpuInstanceGetInfo",
            call(&self.session, "nvmlGpuInstanceGetInfo", &[made, info.address()])?,
            &[Code::SUCCESS],
        )?;
        let about = About { handle: made, ..About::default() };
        let told = self.session.value("nvmlGpuInstanceGetInfo", &about, &[]);
        let part = |name: &str| told.as_ref().and_then(|info| info.get("placement")?.get(name)?.as_u64());
        let at = part("start").zip(part("size")).ok_or("no place is told")?;
        let books = self.gpus.get_mut(gpu).ok_or("no such GPU")?;
        books.made(made, (at.0 as u32, at.1 as u32), place)?;
        self.check_instances(gpu)
    }

    /// The library has exactly the instances that are in the books.
    fn check_instances(&self, gpu: usize) -> Result<(), String> {
        let Some(books) = self.gpus.get(gpu) else { return Ok(()) };
        let there: BTreeSet<u64> =
            instances(&self.session, &books.about).into_iter().map(|(_, handle)| handle).collect();
        let right: BTreeSet<u64> = books.instances.keys().copied().collect();
        if there == right {
            Ok(())
        } else {
            Err(format!("GPU {gpu} has {} instances, not {}", there.len(), right.len()))
        }
    }

    fn create_compute(&mut self, instance: usize, profile: u8) -> Result<(), String> {
        let id = u64::from(profile % COMPUTE_PROFILES_END);
        let living: Vec<(usize, u64)> = self.living();
        let Some((gpu, handle)) = instance.checked_rem(living.len()).and_then(|at| living.get(at)).copied()
        else {
            return Ok(());
        };
        let room = block(4)?;
        let asked = call(
            &self.session,
            "nvmlGpuInstanceGetComputeInstanceRemainingCapacity",
            &[handle, id, room.address()],
        )?;
        let right = match (asked, number(room.bytes(), 4)) {
            (Code::SUCCESS, 0) => Code::INSUFFICIENT_RESOURCES,
            (code, _) => code,
        };
        let out = block(8)?;
        let mut place = block(8)?;
        place.bytes_mut().copy_from_slice(&[90, 0, 0, 0, 1, 0, 0, 0]);
        for place in [0, place.address()] {
            let words = [handle, id, place, out.address()];
            let given = call(&self.session, "nvmlGpuInstanceCreateComputeInstanceWithPlacement", &words)?;
            let wrong = self.right(Code::INVALID_ARGUMENT, true).into_iter().chain(self.right(right, true));
            let wrong: Vec<Code> = wrong.filter(|code| *code != Code::SUCCESS).collect();
            expect("making a compute instance where none can be", given, &wrong)?;
        }
        let given =
            call(&self.session, "nvmlGpuInstanceCreateComputeInstance", &[handle, id, out.address()])?;
        expect("making a compute instance", given, &self.right(right, true))?;
        if given == Code::SUCCESS {
            let books = self
                .gpus
                .get_mut(gpu)
                .and_then(|gpu| gpu.instances.get_mut(&handle))
                .ok_or("no such instance")?;
            books.compute.push(number(out.bytes(), 8));
        }
        Ok(())
    }

    /// GPU and handle of each living instance.
    fn living(&self) -> Vec<(usize, u64)> {
        let gpus = self.gpus.iter().enumerate();
        gpus.flat_map(|(index, gpu)| gpu.instances.keys().map(move |handle| (index, *handle))).collect()
    }

    fn destroy(&mut self, instance: usize) -> Result<(), String> {
        let living = self.living();
        let all = living.iter().map(|(_, handle)| *handle).chain(self.gone.iter().copied());
        let all: Vec<u64> = all.collect();
        let Some(handle) = instance.checked_rem(all.len()).and_then(|at| all.get(at)).copied() else {
            return Ok(());
        };
        let of = living.iter().find(|(_, living)| *living == handle).map(|(gpu, _)| *gpu);
        let books = of.and_then(|gpu| self.gpus.get(gpu)?.instances.get(&handle));
        let right = match books {
            None => Code::INVALID_ARGUMENT,
            Some(instance) if instance.compute.is_empty() => Code::SUCCESS,
            Some(_) => Code::IN_USE,
        };
        let given = call(&self.session, "nvmlGpuInstanceDestroy", &[handle])?;
        expect("ending a GPU instance", given, &self.right(right, true))?;
        let Some(gpu) = of.filter(|_| given == Code::SUCCESS) else { return Ok(()) };
        if let Some(books) = self.gpus.get_mut(gpu) {
            books.instances.remove(&handle);
        }
        self.gone.push(handle);
        self.check_instances(gpu)
    }

    fn destroy_compute(&mut self, instance: usize) -> Result<(), String> {
        let living =
            self.gpus.iter().flat_map(|gpu| gpu.instances.values()).flat_map(|of| of.compute.clone());
        let living: Vec<u64> = living.collect();
        let all: Vec<u64> = living.iter().copied().chain(self.gone.iter().copied()).collect();
        let Some(handle) = instance.checked_rem(all.len()).and_then(|at| all.get(at)).copied() else {
            return Ok(());
        };
        let right = if living.contains(&handle) { Code::SUCCESS } else { Code::INVALID_ARGUMENT };
        let given = call(&self.session, "nvmlComputeInstanceDestroy", &[handle])?;
        expect("ending a compute instance", given, &self.right(right, true))?;
        if given == Code::SUCCESS {
            for of in self.gpus.iter_mut().flat_map(|gpu| gpu.instances.values_mut()) {
                of.compute.retain(|known| *known != handle);
            }
            self.gone.push(handle);
        }
        Ok(())
    }

    /// Others misuse the library while this thread makes and ends instances.
    fn crowd(&mut self, seed: u64) -> Result<(), String> {
        if self.initialisations == 0 {
            return Ok(());
        }
        let abouts: Vec<About> = self.gpus.iter().map(|gpu| gpu.about.clone()).collect();
        let crowd = crowd::Crowd { library: self.session.library, abouts, handles: self.handles() };
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..crowd::THREADS)
                .map(|thread| {
                    let crowd = &crowd;
                    scope.spawn(move || crowd.misuse(seed.wrapping_add(thread)))
                })
                .collect();
            let mut done = Ok(());
            for byte in seed.to_le_bytes() {
                done = done.and_then(|()| self.create(byte.into(), (byte >> 3).into(), None));
                done = done.and_then(|()| self.create_compute(byte.into(), 0));
                done = done.and_then(|()| self.destroy_compute((byte >> 1).into()));
                done = done.and_then(|()| self.destroy((byte >> 2).into()));
            }
            let joined =
                others.into_iter().map(|thread| thread.join().unwrap_or(Err("a thread panicked".to_owned())));
            joined.fold(done, Result::and)
        })
    }
}

/// Makes a call that is right, or is what would be right; also tells which version of its structs the library knows.
pub fn control(
    function: Function,
    getter: &Getter,
    about: &About,
    choices: &[u32],
) -> Option<(Code, Call, usize)> {
    let mut last = None;
    for version in 0..2 {
        let mut call = Call::prepare(function, getter, about, choices, version, Behind::Wall)?;
        let code = call.make();
        last = Some((code, call, version));
        if code != Code::ARGUMENT_VERSION_MISMATCH {
            break;
        }
    }
    last
}

fn choices(getter: &Getter, numbers: &[u8]) -> Vec<u32> {
    let ranges = getter.arguments.iter().filter_map(Argument::range);
    ranges
        .zip(numbers)
        .map(|((first, end, step), number)| first + u32::from(*number) % ((end - first) / step).max(1) * step)
        .collect()
}

/// Ids and handles of a GPU's instances.
fn instances(session: &Session, gpu: &About) -> Vec<(u32, u64)> {
    let of = |id: u32| Some((id, session.handle("nvmlDeviceGetGpuInstanceById", gpu, &[id])?));
    (0..32).filter_map(of).collect()
}

pub(super) fn block(bytes: usize) -> Result<Block, String> {
    Block::new(bytes, Behind::Guard).ok_or_else(|| "no memory".to_owned())
}

pub(super) fn call(session: &Session, name: &str, words: &[u64]) -> Result<Code, String> {
    let function = session.library.function(name).ok_or_else(|| format!("the library has no {name}"))?;
    let mut all = [0; WORDS];
    all.iter_mut().zip(words).for_each(|(place, word)| *place = *word);
    Ok(Code(function.call(&all)))
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
