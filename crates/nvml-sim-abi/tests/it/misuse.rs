//! Wrong arguments and wrong times: each gets its code, none a crash.

use nvml_sim::{Code, FaultEntry};
use nvml_wrapper_sys::bindings::{NvmlLib, nvmlMemory_v2_t};

use crate::sim::{in_child, library, nvml, own_folder};

#[test]
fn call_before_initialisation_and_after_shutdown_is_refused() {
    in_child("misuse::call_before_initialisation_and_after_shutdown_is_refused", "t4", || {
        // SAFETY: the library runs no code when it is loaded.
        let lib = unsafe { NvmlLib::new(library()) }.unwrap();
        let mut count = 0;
        let get_count = *lib.nvmlDeviceGetCount_v2.as_ref().unwrap();
        let units = *lib.nvmlUnitGetCount.as_ref().unwrap();
        let (init, shutdown) = (*lib.nvmlInit_v2.as_ref().unwrap(), *lib.nvmlShutdown.as_ref().unwrap());
        // SAFETY: `count` is valid for writes; the others take nothing.
        unsafe {
            assert_eq!(get_count(&mut count), Code::UNINITIALIZED.0);
            assert_eq!(units(&mut count), Code::UNINITIALIZED.0);
            assert_eq!(shutdown(), Code::UNINITIALIZED.0);
            assert_eq!(init(), 0);
            assert_eq!(init(), 0);
            assert_eq!(shutdown(), 0);
            assert_eq!((get_count(&mut count), count), (0, 1), "initialisations are counted");
            assert_eq!(shutdown(), 0);
            assert_eq!(get_count(&mut count), Code::UNINITIALIZED.0);
        }
    });
}

#[test]
fn wrong_arguments_get_their_codes() {
    in_child("misuse::wrong_arguments_get_their_codes", "t4", || {
        let nvml = nvml();
        let lib = nvml.lib();
        let device = nvml.device_by_index(0).unwrap();
        let memory = *lib.nvmlDeviceGetMemoryInfo_v2.as_ref().unwrap();
        let name = *lib.nvmlDeviceGetName.as_ref().unwrap();
        let count = *lib.nvmlDeviceGetCount_v2.as_ref().unwrap();
        let mut info = nvmlMemory_v2_t { version: 1 << 24 | 40, total: 0, reserved: 0, free: 0, used: 0 };
        let mut buffer = [0; 96];
        let dangling = std::ptr::without_provenance_mut(0x1234);
        // SAFETY: pointers are valid, null, or handles that the library must not follow.
        unsafe {
            let gpu = device.handle();
            assert_eq!(memory(gpu, &mut info), Code::ARGUMENT_VERSION_MISMATCH.0);
            info.version = 2 << 24 | 40;
            assert_eq!(memory(gpu, &mut info), 0);
            assert_eq!(info.total, info.reserved + info.free + info.used);
            assert_eq!(memory(gpu, std::ptr::null_mut()), Code::INVALID_ARGUMENT.0);
            assert_eq!(name(gpu, buffer.as_mut_ptr(), 4), Code::INSUFFICIENT_SIZE.0);
            assert_eq!(name(gpu, std::ptr::null_mut(), 96), Code::INVALID_ARGUMENT.0);
            assert_eq!(name(dangling, buffer.as_mut_ptr(), 96), Code::INVALID_ARGUMENT.0);
            assert_eq!(name(std::ptr::null_mut(), buffer.as_mut_ptr(), 96), Code::INVALID_ARGUMENT.0);
            assert_eq!(count(std::ptr::null_mut()), Code::INVALID_ARGUMENT.0);
        }
    });
}

#[test]
fn versions_of_the_library_are_told_before_initialisation() {
    in_child("misuse::versions_of_the_library_are_told_before_initialisation", "t4", || {
        // SAFETY: the library runs no code when it is loaded.
        let lib = unsafe { NvmlLib::new(library()) }.unwrap();
        let nvml = *lib.nvmlSystemGetNVMLVersion.as_ref().unwrap();
        let driver = *lib.nvmlSystemGetDriverVersion.as_ref().unwrap();
        let mut text = [0; 80];
        // SAFETY: the buffer is as long as is said.
        unsafe {
            assert_eq!(nvml(text.as_mut_ptr(), 80), 0);
            assert_eq!(driver(text.as_mut_ptr(), 80), Code::UNINITIALIZED.0);
        }
        for cuda in [&lib.nvmlSystemGetCudaDriverVersion, &lib.nvmlSystemGetCudaDriverVersion_v2] {
            let mut version = 0;
            // SAFETY: `version` is valid for writes.
            assert_eq!((unsafe { cuda.as_ref().unwrap()(&mut version) }, version), (0, 13000));
        }
    });
}

#[test]
fn refused_function_says_not_supported() {
    in_child("misuse::refused_function_says_not_supported", "dgx-a100", || {
        let nvml = nvml();
        let error = nvml.device_by_index(0).unwrap().auto_boosted_clocks_enabled();
        assert!(matches!(error, Err(nvml_wrapper::error::NvmlError::NotSupported)), "{error:?}");
    });
}

#[test]
fn refused_function_looks_at_its_handle_and_meets_faults_of_its_gpu() {
    in_child("misuse::refused_function_looks_at_its_handle_and_meets_faults_of_its_gpu", "dgx-a100", || {
        let nvml = nvml();
        let bridge = *nvml.lib().nvmlDeviceGetBridgeChipInfo.as_ref().unwrap();
        let gpu = |index| {
            // SAFETY: the handle lives as long as the library.
            unsafe { nvml.device_by_index(index).unwrap().handle() }
        };
        let ask = |gpu| {
            // SAFETY: the function follows no pointer.
            Code(unsafe { bridge(gpu, std::ptr::null_mut()) })
        };
        own_folder().lose("1", None).unwrap();
        let (function, code) = ("nvmlDeviceGetBridgeChipInfo".to_owned(), "NOT_READY".to_owned());
        let entry = FaultEntry { r#return: Some(function), code: Some(code), ..FaultEntry::default() };
        own_folder().declare(FaultEntry { gpu: Some("2".to_owned()), ..entry }).unwrap();
        assert_eq!(ask(gpu(0)), Code::NOT_SUPPORTED);
        assert_eq!(ask(gpu(1)), Code::GPU_IS_LOST);
        assert_eq!(ask(gpu(2)), Code::NOT_READY);
        assert_eq!(ask(std::ptr::null_mut()), Code::INVALID_ARGUMENT);
    });
}

#[test]
fn persistence_mode_is_roots_to_set() {
    in_child("misuse::persistence_mode_is_roots_to_set", "t4", || {
        let nvml = nvml();
        let mut device = nvml.device_by_index(0).unwrap();
        assert!(device.is_in_persistent_mode().unwrap());
        let set = device.set_persistent(false);
        if rustix::process::geteuid().is_root() {
            set.unwrap();
            assert!(!device.is_in_persistent_mode().unwrap());
        } else {
            assert!(matches!(set, Err(nvml_wrapper::error::NvmlError::NoPermission)), "{set:?}");
            assert!(device.is_in_persistent_mode().unwrap());
        }
    });
}

#[test]
fn child_forked_during_a_change_does_not_keep_others_from_changing() {
    in_child("misuse::child_forked_during_a_change_does_not_keep_others_from_changing", "t4", || {
        let folder = own_folder();
        // SAFETY: the child does nothing but wait for a signal.
        let child = folder.update(|_| unsafe {
            match fork() {
                0 => loop {
                    pause();
                },
                child => child,
            }
        });
        let lock = std::fs::File::open(folder.dir().join("lock")).unwrap();
        let locked = rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        let child = rustix::process::Pid::from_raw(child.unwrap()).unwrap();
        rustix::process::kill_process(child, rustix::process::Signal::KILL).unwrap();
        rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty()).unwrap();
        assert_eq!(locked, Ok(()));
    });
}

unsafe extern "C" {
    fn fork() -> i32;
    fn pause() -> i32;
}
