//! One call of each function that programs of others call, as they call it, and the code that it gives.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::mem::zeroed;
use std::ptr::null_mut;

use nvml_sim::{Code, StateFolder};
use nvml_wrapper::Nvml;
use nvml_wrapper_sys::bindings::*;

use crate::mig::{call, gpu, make, switch_on, version_word};

/// Function -> its code.
pub type Answers = BTreeMap<&'static str, u32>;

/// Bit of critical XIDs.
const XIDS: u64 = 8;
/// The profiles of one slice, and the compute instance that takes one.
const ONE_SLICE: u32 = 0;

struct Asking<'a> {
    nvml: &'a Nvml,
    answers: Answers,
}

/// Calls a function, and keeps its code.
macro_rules! ask {
    ($asking:ident.$name:ident($($argument:expr),*)) => {{
        let nvml = $asking.nvml;
        let code = call!(nvml.$name($($argument),*));
        $asking.answers.insert(stringify!($name), code);
        code
    }};
}

/// Asks whatever programs ask of the first GPU of the node, and of its MIG devices where it can have such.
pub fn answers(nvml: &Nvml, folder: &StateFolder) -> Answers {
    let mut asking = Asking { nvml, answers: Answers::new() };
    asking.node(folder);
    asking.finding();
    asking.identity();
    asking.links();
    asking.processes_and_licences();
    asking.events(folder);
    asking.mig(folder);
    asking.answers
}

impl Asking<'_> {
    fn node(&mut self, folder: &StateFolder) {
        ask!(self.nvmlInit_v2());
        ask!(self.nvmlShutdown());
        ask!(self.nvmlInitWithFlags(1));
        let mut version = [0; 80];
        ask!(self.nvmlSystemGetDriverVersion(version.as_mut_ptr(), 80));
        ask!(self.nvmlSystemGetNVMLVersion(version.as_mut_ptr(), 80));
        ask!(self.nvmlSystemGetCudaDriverVersion(&mut 0));
        let nvml = self.nvml;
        let text = call!(nvml.nvmlErrorString(Code::GPU_IS_LOST.0));
        self.answers.insert("nvmlErrorString", text.is_null().into());
        // What is set must be settable at all: by root.
        let device = gpu(nvml, 0);
        ask!(self.nvmlDeviceSetPersistenceMode(device, 1));
        assert!(folder.state().is_ok());
    }

    fn finding(&mut self) {
        let mut device = null_mut();
        ask!(self.nvmlDeviceGetCount_v2(&mut 0));
        ask!(self.nvmlDeviceGetHandleByIndex_v2(0, &mut device));
        let known = self.nvml.device_by_index(0).unwrap();
        let uuid = CString::new(known.uuid().unwrap()).unwrap();
        ask!(self.nvmlDeviceGetHandleByUUID(uuid.as_ptr(), &mut device));
        let pci = CString::new(known.pci_info().unwrap().bus_id).unwrap();
        ask!(self.nvmlDeviceGetHandleByPciBusId_v2(pci.as_ptr(), &mut device));
    }

    fn identity(&mut self) {
        let (device, mut text) = (gpu(self.nvml, 0), [0; 96]);
        ask!(self.nvmlDeviceGetName(device, text.as_mut_ptr(), 96));
        ask!(self.nvmlDeviceGetUUID(device, text.as_mut_ptr(), 96));
        ask!(self.nvmlDeviceGetMinorNumber(device, &mut 0));
        ask!(self.nvmlDeviceGetIndex(device, &mut 0));
        ask!(self.nvmlDeviceGetArchitecture(device, &mut 0));
        ask!(self.nvmlDeviceGetBrand(device, &mut 0));
        ask!(self.nvmlDeviceGetVirtualizationMode(device, &mut 0));
        ask!(self.nvmlDeviceGetDriverModel_v2(device, &mut 0, &mut 0));
        ask!(self.nvmlDeviceGetCudaComputeCapability(device, &mut 0, &mut 0));
        // SAFETY: all are plain numbers and texts.
        let (mut pci, mut memory, mut addressing): (_, _, nvmlDeviceAddressingMode_t) = unsafe { zeroed() };
        ask!(self.nvmlDeviceGetPciInfo_v2(device, &mut pci));
        ask!(self.nvmlDeviceGetPciInfo_v3(device, &mut pci));
        ask!(self.nvmlDeviceGetMemoryInfo(device, &mut memory));
        addressing.version = version_word::<nvmlDeviceAddressingMode_t>(1);
        ask!(self.nvmlDeviceGetAddressingMode(device, &mut addressing));
    }

    fn links(&mut self) {
        let (device, other) = (gpu(self.nvml, 0), gpu(self.nvml, 1));
        ask!(self.nvmlDeviceGetTopologyCommonAncestor(device, other, &mut 0));
        ask!(self.nvmlDeviceGetNvLinkState(device, 0, &mut 0));
        // SAFETY: all are plain numbers and texts.
        let (mut pci, mut info, mut versioned): (_, _, nvmlGpuFabricInfoV_t) = unsafe { zeroed() };
        ask!(self.nvmlDeviceGetNvLinkRemotePciInfo_v2(device, 0, &mut pci));
        ask!(self.nvmlDeviceGetGpuFabricInfo(device, &mut info));
        versioned.version = version_word::<nvmlGpuFabricInfo_v2_t>(2);
        ask!(self.nvmlDeviceGetGpuFabricInfoV(device, &mut versioned));
    }

    fn processes_and_licences(&mut self) {
        let (device, none) = (gpu(self.nvml, 0), &mut 0);
        ask!(self.nvmlDeviceGetComputeRunningProcesses_v2(device, none, null_mut()));
        ask!(self.nvmlDeviceGetComputeRunningProcesses_v3(device, none, null_mut()));
        ask!(self.nvmlDeviceGetGraphicsRunningProcesses_v2(device, none, null_mut()));
        ask!(self.nvmlDeviceGetGraphicsRunningProcesses_v3(device, none, null_mut()));
        ask!(self.nvmlDeviceGetMPSComputeRunningProcesses_v2(device, none, null_mut()));
        ask!(self.nvmlDeviceGetMPSComputeRunningProcesses_v3(device, none, null_mut()));
        // SAFETY: both are plain numbers and texts.
        let (mut features, mut licence) = unsafe { zeroed() };
        ask!(self.nvmlDeviceGetGridLicensableFeatures_v2(device, &mut features));
        ask!(self.nvmlDeviceGetGridLicensableFeatures_v3(device, &mut features));
        ask!(self.nvmlDeviceGetGridLicensableFeatures_v4(device, &mut features));
        ask!(self.nvmlVgpuInstanceGetLicenseInfo_v2(1, &mut licence));
    }

    fn events(&mut self, folder: &StateFolder) {
        let (device, mut set) = (gpu(self.nvml, 0), null_mut());
        ask!(self.nvmlDeviceGetSupportedEventTypes(device, &mut 0));
        ask!(self.nvmlEventSetCreate(&mut set));
        ask!(self.nvmlDeviceRegisterEvents(device, XIDS, set));
        folder.inject_xid("0", 43, None, None).unwrap();
        // SAFETY: a handle and plain numbers.
        let mut event = unsafe { zeroed() };
        ask!(self.nvmlEventSetWait_v2(set, &mut event, 1000));
        ask!(self.nvmlEventSetFree(set));
    }

    fn mig(&mut self, folder: &StateFolder) {
        let (device, mut status) = (gpu(self.nvml, 0), 0);
        ask!(self.nvmlDeviceGetMigMode(device, &mut 0, &mut 0));
        ask!(self.nvmlDeviceGetMaxMigDeviceCount(device, &mut 0));
        ask!(self.nvmlDeviceIsMigDeviceHandle(device, &mut 0));
        // SAFETY: plain numbers.
        let mut profile: nvmlGpuInstanceProfileInfo_t = unsafe { zeroed() };
        let is_capable = ask!(self.nvmlDeviceGetGpuInstanceProfileInfo(device, ONE_SLICE, &mut profile)) == 0;
        ask!(self.nvmlDeviceSetMigMode(device, 1, &mut status));
        if is_capable {
            // Before Hopper a reset has to follow, and only root may do any of it.
            switch_on(folder, "0");
        }
        // SAFETY: plain numbers.
        let mut places: [nvmlGpuInstancePlacement_t; 16] = unsafe { zeroed() };
        let (id, mut count) = (profile.id, 16);
        ask!(self.nvmlDeviceGetGpuInstancePossiblePlacements_v2(device, id, places.as_mut_ptr(), &mut count));
        let (mut instance, mut second) = (null_mut(), null_mut());
        let is_made = ask!(self.nvmlDeviceCreateGpuInstance(device, id, &mut instance)) == 0;
        // SAFETY: plain numbers and a handle.
        let mut first: nvmlGpuInstanceInfo_t = unsafe { zeroed() };
        if is_made {
            let nvml = self.nvml;
            assert_eq!(call!(nvml.nvmlGpuInstanceGetInfo(instance, &mut first)), 0);
        } else if is_capable {
            first.id = make(folder, id, ONE_SLICE).0;
        }
        let free = places.iter().find(|place| place.start != first.placement.start).unwrap_or(&places[0]);
        ask!(self.nvmlDeviceCreateGpuInstanceWithPlacement(device, id, free, &mut second));
        let gi = first.id;
        ask!(self.nvmlDeviceGetGpuInstanceById(device, gi, &mut instance));
        let (mut list, mut count) = ([null_mut(); 16], 0);
        ask!(self.nvmlDeviceGetGpuInstances(device, id, list.as_mut_ptr(), &mut count));
        if is_capable {
            self.mig_device(instance);
        }
        let mut device_of_mig = null_mut();
        ask!(self.nvmlDeviceGetMigDeviceHandleByIndex(device, 0, &mut device_of_mig));
        if is_capable {
            self.ends(device_of_mig, instance, second);
        }
    }

    fn mig_device(&mut self, instance: nvmlGpuInstance_t) {
        // SAFETY: handles and plain numbers.
        let (mut info, mut profile): (_, nvmlComputeInstanceProfileInfo_t) = unsafe { zeroed() };
        ask!(self.nvmlGpuInstanceGetInfo(instance, &mut info));
        ask!(self.nvmlGpuInstanceGetComputeInstanceProfileInfo(instance, ONE_SLICE, 0, &mut profile));
        let mut compute = null_mut();
        ask!(self.nvmlGpuInstanceCreateComputeInstance(instance, profile.id, &mut compute));
        let (mut list, mut count) = ([null_mut(); 16], 0);
        ask!(self.nvmlGpuInstanceGetComputeInstances(instance, profile.id, list.as_mut_ptr(), &mut count));
        assert_eq!(count, 1);
        ask!(self.nvmlGpuInstanceGetComputeInstanceById(instance, 0, &mut compute));
        // SAFETY: handles and plain numbers.
        let mut info = unsafe { zeroed() };
        ask!(self.nvmlComputeInstanceGetInfo_v2(compute, &mut info));
    }

    /// What a MIG device tells, and its end.
    fn ends(&mut self, mig: nvmlDevice_t, instance: nvmlGpuInstance_t, second: nvmlGpuInstance_t) {
        let (nvml, mut compute) = (self.nvml, null_mut());
        ask!(self.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(mig, &mut null_mut()));
        ask!(self.nvmlDeviceGetGpuInstanceId(mig, &mut 0));
        ask!(self.nvmlDeviceGetComputeInstanceId(mig, &mut 0));
        // SAFETY: plain numbers.
        let mut attributes = unsafe { zeroed() };
        ask!(self.nvmlDeviceGetAttributes_v2(mig, &mut attributes));
        assert_eq!(call!(nvml.nvmlGpuInstanceGetComputeInstanceById(instance, 0, &mut compute)), 0);
        ask!(self.nvmlComputeInstanceDestroy(compute));
        let first = ask!(self.nvmlGpuInstanceDestroy(instance));
        if first == 0 {
            assert_eq!(call!(nvml.nvmlGpuInstanceDestroy(second)), 0);
        }
    }
}
