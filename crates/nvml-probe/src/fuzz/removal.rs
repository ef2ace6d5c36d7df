//! GPUs that come and go under a program: one drains, is removed and is discovered again. It knows which codes and handles
//! each of that gives.

use std::mem::offset_of;

use nvml_wrapper_sys::bindings::{
    nvmlPciInfo_t, nvmlSystemEventData_v1_t, nvmlSystemEventSetCreateRequest_v1_t,
    nvmlSystemEventSetFreeRequest_v1_t, nvmlSystemEventSetWaitRequest_v1_t,
    nvmlSystemRegisterEventRequest_v1_t,
};

use super::mig::GpuBooks;
use super::play::{Player, block, call, expect};
use crate::call::version_word;
use crate::code::Code;
use crate::ffi::Block;
use crate::layout::number;
use crate::session::Session;
use crate::walk;

/// What the oldest header has of `nvmlPciInfo_t`; the library may touch no more of it here.
const PCI_BYTES: usize = offset_of!(nvmlPciInfo_t, pciSubSystemId);
/// `nvmlSystemEventTypeGpuDriverUnbind` and `…Bind`.
const UNBIND: u64 = 1;
const BIND: u64 = 2;

/// Memory with numbers of four or eight bytes at their places.
fn laid(size: usize, parts: &[(usize, u64, usize)]) -> Result<Block, String> {
    let mut block = block(size)?;
    for (at, number, bytes) in parts {
        let place = block.bytes_mut().iter_mut().skip(*at).take(*bytes);
        place.zip(number.to_le_bytes()).for_each(|(place, byte)| *place = byte);
    }
    Ok(block)
}

/// Domain, bus and device of an address such as `00000000:07:00.0`.
fn address(text: &str) -> Option<[u64; 3]> {
    let mut parts = text.split([':', '.']).map(|part| u64::from_str_radix(part, 16).ok());
    Some([parts.next()??, parts.next()??, parts.next()??])
}

fn pci(address: [u64; 3]) -> Result<Block, String> {
    let [domain, bus, device] = address;
    let at = [
        offset_of!(nvmlPciInfo_t, domain),
        offset_of!(nvmlPciInfo_t, bus),
        offset_of!(nvmlPciInfo_t, device),
    ];
    let [of_domain, of_bus, of_device] = at;
    laid(PCI_BYTES, &[(of_domain, domain, 4), (of_bus, bus, 4), (of_device, device, 4)])
}

/// A set of system events.
struct SystemEvents(u64);

impl SystemEvents {
    fn begin(session: &Session) -> Result<SystemEvents, String> {
        type Create = nvmlSystemEventSetCreateRequest_v1_t;
        let word = version_word(size_of::<Create>(), 1);
        let made = laid(size_of::<Create>(), &[(0, word.into(), 4)])?;
        let code = call(session, "nvmlSystemEventSetCreate", &[made.address()])?;
        expect("nvmlSystemEventSetCreate", code, &[Code::SUCCESS])?;
        let set = number(made.bytes().get(offset_of!(Create, set)..).unwrap_or_default(), 8);
        type Register = nvmlSystemRegisterEventRequest_v1_t;
        for (kinds, right) in [(!0, Code::NOT_SUPPORTED), (UNBIND | BIND, Code::SUCCESS)] {
            let word = version_word(size_of::<Register>(), 1);
            let (of_kinds, of_set) = (offset_of!(Register, eventTypes), offset_of!(Register, set));
            let wanted =
                laid(size_of::<Register>(), &[(0, word.into(), 4), (of_kinds, kinds, 8), (of_set, set, 8)])?;
            let code = call(session, "nvmlSystemRegisterEvents", &[wanted.address()])?;
            expect("nvmlSystemRegisterEvents", code, &[right])?;
        }
        Ok(SystemEvents(set))
    }

    /// The kinds of what there is to tell, of which there is room for `room`; or the code.
    fn take(&self, session: &Session, room: usize) -> Result<Result<Vec<u64>, Code>, String> {
        type Wait = nvmlSystemEventSetWaitRequest_v1_t;
        let events = block(room * size_of::<nvmlSystemEventData_v1_t>())?;
        let word = version_word(size_of::<Wait>(), 1);
        let parts = [
            (0, word.into(), 4),
            (offset_of!(Wait, set), self.0, 8),
            (offset_of!(Wait, data), events.address(), 8),
            (offset_of!(Wait, dataSize), room as u64, 4),
        ];
        let wait = laid(size_of::<Wait>(), &parts)?;
        match call(session, "nvmlSystemEventSetWait", &[wait.address()])? {
            Code::SUCCESS => {}
            code => return Ok(Err(code)),
        }
        let count = number(wait.bytes().get(offset_of!(Wait, numEvent)..).unwrap_or_default(), 4) as usize;
        let each = events.bytes().chunks_exact(size_of::<nvmlSystemEventData_v1_t>());
        Ok(Ok(each.take(count).map(|event| number(event, 8)).collect()))
    }

    fn free(&self, session: &Session, right: Code) -> Result<(), String> {
        type Free = nvmlSystemEventSetFreeRequest_v1_t;
        let word = version_word(size_of::<Free>(), 1);
        let parts = [(0, word.into(), 4), (offset_of!(Free, set), self.0, 8)];
        let freed = laid(size_of::<Free>(), &parts)?;
        expect(
            "nvmlSystemEventSetFree",
            call(session, "nvmlSystemEventSetFree", &[freed.address()])?,
            &[right],
        )
    }
}

impl Player {
    /// Lets a GPU drain, removes it, and discovers it again; `how` says by which of the functions.
    pub(super) fn remove(&mut self, gpu: usize, how: u8) -> Result<(), String> {
        let Some(gpu) = gpu.checked_rem(self.gpus.len()) else { return Ok(()) };
        let known = self
            .gpus
            .get(gpu)
            .and_then(|books| Some((books.about.handle, address(books.about.known.pci.as_deref()?)?)));
        let Some((handle, at)) = known else { return Ok(()) };
        let (pci, nowhere, whole) = (pci(at)?, pci([at[0], 0xFE, 0x1F])?, pci([0; 3])?);
        let modify = |session: &Session, pci: &Block, to: u64, right: Code| {
            let code = call(session, "nvmlDeviceModifyDrainState", &[pci.address(), to])?;
            expect(&format!("draining a GPU ({to})"), code, &[right])
        };
        if self.initialisations == 0 {
            return modify(&self.session, &pci, 1, Code::UNINITIALIZED);
        }
        modify(&self.session, &nowhere, 1, Code::INVALID_ARGUMENT)?;
        modify(&self.session, &pci, 2, Code::INVALID_ARGUMENT)?;
        if !self.may_change {
            return modify(&self.session, &pci, 1, Code::NO_PERMISSION);
        }
        let persistence = call(&self.session, "nvmlDeviceSetPersistenceMode", &[handle, 0])?;
        expect("nvmlDeviceSetPersistenceMode", persistence, &[Code::SUCCESS])?;
        modify(&self.session, &pci, 1, Code::SUCCESS)?;
        let state = block(4)?;
        let query = call(&self.session, "nvmlDeviceQueryDrainState", &[pci.address(), state.address()])?;
        expect("nvmlDeviceQueryDrainState", query, &[Code::SUCCESS])?;
        if number(state.bytes(), 4) != 1 {
            return Err("a GPU that drains says that it does not".to_owned());
        }
        let events = SystemEvents::begin(&self.session)?;
        let remove = |session: &Session, right| {
            let code = match how % 3 {
                0 => call(session, "nvmlDeviceRemoveGpu", &[pci.address()])?,
                kept => call(session, "nvmlDeviceRemoveGpu_v2", &[pci.address(), u64::from(kept) - 1, 0])?,
            };
            expect("removing a GPU", code, &[right])
        };
        if self.is_in_use(gpu) {
            remove(&self.session, Code::IN_USE)?;
            modify(&self.session, &pci, 0, Code::SUCCESS)?;
            return events.free(&self.session, Code::SUCCESS);
        }
        remove(&self.session, Code::SUCCESS)?;
        self.check_handles(gpu)?;
        remove(&self.session, Code::INVALID_ARGUMENT)?;
        modify(&self.session, &pci, 0, Code::INVALID_ARGUMENT)?;
        let found = if how < 128 { &pci } else { &whole };
        let discover = call(&self.session, "nvmlDeviceDiscoverGpus", &[found.address()])?;
        expect("nvmlDeviceDiscoverGpus", discover, &[Code::SUCCESS])?;
        let told =
            [events.take(&self.session, 1)?, events.take(&self.session, 2)?, events.take(&self.session, 2)?];
        if told != [Ok(vec![UNBIND]), Ok(vec![BIND]), Err(Code::TIMEOUT)] {
            return Err(format!("system events tell {told:?}"));
        }
        events.free(&self.session, Code::SUCCESS)?;
        events.free(&self.session, Code::INVALID_ARGUMENT)?;
        self.has_moved = true;
        if let Some(books) = self.gpus.get_mut(gpu) {
            self.gone.push(books.about.handle);
            self.gone.extend(books.instances.iter().flat_map(|(own, of)| of.compute.iter().chain([own])));
            books.instances.clear();
        }
        self.take_handles()?;
        let Some(books) = self.gpus.get_mut(gpu) else { return Ok(()) };
        *books = GpuBooks::open(&self.session, books.about.clone());
        Ok(())
    }

    /// Whether processes run on a GPU.
    fn is_in_use(&self, gpu: usize) -> bool {
        let Some(books) = self.gpus.get(gpu) else { return false };
        walk::PROCESSES.iter().any(|(list, _)| {
            let processes = self.session.value(list, &books.about, &[]);
            processes.and_then(|list| Some(!list.as_array()?.is_empty())).unwrap_or(false)
        })
    }

    /// A GPU was removed: those before it keep their handles, and nobody else does.
    fn check_handles(&self, gone: usize) -> Result<(), String> {
        for (place, books) in self.gpus.iter().enumerate() {
            let index = self.session.value("nvmlDeviceGetIndex", &books.about, &[]);
            let index = index.and_then(|index| index.as_u64());
            if index != Some(place as u64).filter(|_| place < gone) {
                return Err(format!("the handle of GPU {place} gives index {index:?} without GPU {gone}"));
            }
        }
        Ok(())
    }

    /// Takes the handles that the GPUs have now.
    pub(super) fn take_handles(&mut self) -> Result<(), String> {
        let handles = walk::gpus(&mut self.session);
        if handles.len() != self.gpus.len() {
            return Err(format!("{} GPUs, not {}", handles.len(), self.gpus.len()));
        }
        for (books, handle) in self.gpus.iter_mut().zip(handles) {
            if books.about.handle != handle {
                self.gone.push(books.about.handle);
                books.about.handle = handle;
            }
        }
        Ok(())
    }
}
