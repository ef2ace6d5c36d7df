//! Loads through the C interface: readings and counters of a busy GPU, GPM, and the limits that root sets.

use std::mem::zeroed;
use std::ptr::null_mut;
use std::time::Duration;

use nvml_sim::{Clock, Code};
use nvml_wrapper::Nvml;
use nvml_wrapper_sys::bindings::*;

use crate::sim::{in_child, nvml, own_folder};

/// 2026-01-01, by the node's clock.
const NOW_US: u64 = 1_767_225_600_000_000;

/// Calls a function of the library and gives its code.
macro_rules! call {
    ($nvml:ident.$name:ident($($argument:expr),*)) => {{
        let function = *$nvml.lib().$name.as_ref().unwrap();
        // SAFETY: each pointer is valid for what the function reads and writes there, or a handle.
        unsafe { function($($argument),*) }
    }};
}

fn gpu(nvml: &Nvml, index: u32) -> nvmlDevice_t {
    // SAFETY: the handle is a number.
    unsafe { nvml.device_by_index(index).unwrap().handle() }
}

/// The clock stands, and GPU 0 trains.
fn training() -> Nvml {
    let folder = own_folder();
    folder.update(|state| state.clock = Clock::Frozen(NOW_US)).unwrap();
    folder.set("0", "load", "training").unwrap();
    // In the middle of a step.
    folder.advance_clock(Duration::from_millis(10_100)).unwrap();
    nvml()
}

fn advance(seconds: u64) {
    own_folder().advance_clock(Duration::from_secs(seconds)).unwrap();
}

fn sample(nvml: &Nvml) -> nvmlGpmSample_t {
    let mut sample = null_mut();
    assert_eq!(call!(nvml.nvmlGpmSampleAlloc(&mut sample)), 0);
    sample
}

/// As a program of an old header has it: room for few metrics, and something of its own behind.
#[repr(C)]
struct Asked<const N: usize> {
    version: u32,
    count: u32,
    samples: [nvmlGpmSample_t; 2],
    metrics: [nvmlGpmMetric_t; N],
    behind: u64,
}

fn metrics<const N: usize>(
    nvml: &Nvml,
    samples: [nvmlGpmSample_t; 2],
    ids: [u32; N],
) -> [Result<f64, u32>; N] {
    // SAFETY: a C struct of numbers and pointers.
    let mut asked: Asked<N> = unsafe { zeroed() };
    (asked.version, asked.count, asked.samples, asked.behind) = (1, N as u32, samples, 0x5A5A);
    asked.metrics.iter_mut().zip(ids).for_each(|(metric, id)| metric.metricId = id);
    assert_eq!(call!(nvml.nvmlGpmMetricsGet((&raw mut asked).cast())), 0);
    assert_eq!(asked.behind, 0x5A5A, "written beyond what was asked");
    asked.metrics.map(|metric| if metric.nvmlReturn == 0 { Ok(metric.value) } else { Err(metric.nvmlReturn) })
}

#[test]
fn busy_gpu_reads_busy_and_counts() {
    in_child("loads::busy_gpu_reads_busy_and_counts", "dgx-a100", || {
        let nvml = training();
        let (busy, idle) = (nvml.device_by_index(0).unwrap(), nvml.device_by_index(1).unwrap());
        assert!(busy.utilization_rates().unwrap().gpu > 90 && idle.utilization_rates().unwrap().gpu == 0);
        assert!(busy.power_usage().unwrap() > 200_000, "{}", busy.power_usage().unwrap());
        assert!(busy.memory_info().unwrap().used > 60 << 30);
        assert_eq!(idle.memory_info().unwrap().used, 0);
        let (before, time) = (busy.total_energy_consumption().unwrap(), Duration::from_secs(5));
        advance(5);
        let grown = busy.total_energy_consumption().unwrap() - before;
        assert!(grown > 5 * 200_000 && grown < 5 * 400_000, "{grown} mJ in {time:?}");
        let samples =
            busy.samples(nvml_wrapper::enum_wrappers::device::Sampling::GpuUtilization, None).unwrap();
        assert!(samples.len() > 80 && samples.iter().all(|sample| sample.timestamp <= NOW_US + 15_100_000));
        let last = samples.last().unwrap().timestamp;
        let kind = nvml_wrapper::enum_wrappers::device::Sampling::GpuUtilization;
        assert!(busy.samples(kind, last).is_err(), "nothing newer");
        advance(1);
        assert!((5..=6).contains(&busy.samples(kind, last).unwrap().len()));
    });
}

#[test]
fn gpm_measures_between_two_samples() {
    in_child("loads::gpm_measures_between_two_samples", "dgx-h100", || {
        let nvml = training();
        let (first, second) = (sample(&nvml), sample(&nvml));
        let ids = [1, 2, 5, 10, 61, 0, 248];
        // Never filled, and of different GPUs.
        let mut asked: Asked<1> = unsafe_zeroed();
        (asked.version, asked.count, asked.samples) = (1, 1, [first, second]);
        assert_eq!(call!(nvml.nvmlGpmMetricsGet((&raw mut asked).cast())), Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlGpmSampleGet(gpu(&nvml, 0), first)), 0);
        assert_eq!(call!(nvml.nvmlGpmSampleGet(gpu(&nvml, 1), second)), 0);
        assert_eq!(call!(nvml.nvmlGpmMetricsGet((&raw mut asked).cast())), Code::INVALID_ARGUMENT.0);
        asked.version = 2;
        let code = call!(nvml.nvmlGpmMetricsGet((&raw mut asked).cast()));
        assert_eq!(code, Code::ARGUMENT_VERSION_MISMATCH.0);

        advance(10);
        assert_eq!(call!(nvml.nvmlGpmSampleGet(gpu(&nvml, 0), second)), 0);
        let [graphics, sm, tensor, dram, nvlink, none, total] = metrics(&nvml, [first, second], ids);
        // Twenty steps: 480 ms of kernels and 20 ms at three tenths in each.
        assert!((graphics.unwrap() - 97.2).abs() < 0.1, "{graphics:?}");
        let within = |value: Result<f64, u32>, low: f64, high: f64| (low..high).contains(&value.unwrap());
        assert!(within(sm, 70.0, 85.0) && within(tensor, 40.0, 50.0) && within(dram, 48.0, 52.0));
        // 18 links of 26.6 GB/s, busy to 19.6 percent.
        assert!(within(nvlink, 85_000.0, 95_000.0), "{nvlink:?}");
        assert_eq!((none, total), (Err(Code::INVALID_ARGUMENT.0), Err(Code::INVALID_ARGUMENT.0)));
        assert!(metrics(&nvml, [second, second], [2])[0].unwrap().is_nan(), "no time, no rate");

        assert_eq!(call!(nvml.nvmlGpmSampleFree(first)), 0);
        assert_eq!(call!(nvml.nvmlGpmSampleFree(first)), Code::INVALID_ARGUMENT.0);
        assert_eq!(call!(nvml.nvmlGpmSampleFree(null_mut())), Code::INVALID_ARGUMENT.0);
        let code = call!(nvml.nvmlGpmMigSampleGet(gpu(&nvml, 0), 1, second));
        assert_eq!(code, Code::NOT_SUPPORTED.0, "MIG is off");
    });
}

fn unsafe_zeroed<T>() -> T {
    // SAFETY: a C struct of numbers and pointers.
    unsafe { zeroed() }
}

#[test]
fn gpu_instance_has_its_share_of_the_load() {
    in_child("loads::gpu_instance_has_its_share_of_the_load", "dgx-h100", || {
        let nvml = training();
        let folder = own_folder();
        let id = folder.change_mig("0", |mig, gpu| {
            let _ = mig.set_mode(gpu, true)?;
            let id = mig.create(gpu, 9, None)?;
            mig.create_compute(gpu, id, 2, None)?;
            mig.create(gpu, 19, None).map(|empty| (id, empty))
        });
        let (id, empty) = id.unwrap();
        let samples = [0; 6].map(|_| sample(&nvml));
        let take = |at: usize| {
            let device = gpu(&nvml, 0);
            assert_eq!(call!(nvml.nvmlGpmSampleGet(device, samples[at])), 0);
            assert_eq!(call!(nvml.nvmlGpmMigSampleGet(device, id, samples[at + 1])), 0);
            assert_eq!(call!(nvml.nvmlGpmMigSampleGet(device, empty, samples[at + 2])), 0);
        };
        take(0);
        advance(10);
        take(3);
        let [whole, part, nothing] =
            [0, 1, 2].map(|at| metrics(&nvml, [samples[at], samples[at + 3]], [2, 21]));
        assert_eq!(whole[0], part[0], "its own multiprocessors are as busy");
        let half = part[1].unwrap() / whole[1].unwrap();
        assert!((half - 0.5).abs() < 1e-9, "four of eight slices: {half}");
        assert_eq!(nothing, [Ok(0.0), Ok(0.0)], "nothing runs without a compute instance");
        let code = call!(nvml.nvmlGpmMigSampleGet(gpu(&nvml, 0), 77, samples[0]));
        assert_eq!(code, Code::NOT_FOUND.0);
        let mut rates = nvmlUtilization_t { gpu: 0, memory: 0 };
        let code = call!(nvml.nvmlDeviceGetUtilizationRates(gpu(&nvml, 0), &mut rates));
        assert_eq!(code, Code::NOT_SUPPORTED.0);
    });
}

#[test]
fn power_limit_of_root_holds_power_and_clocks_down_until_a_reload() {
    in_child("loads::power_limit_of_root_holds_power_and_clocks_down_until_a_reload", "dgx-a100", || {
        let nvml = training();
        let device = nvml.device_by_index(0).unwrap();
        let capped = || {
            let mut time = nvmlViolationTime_t { referenceTime: 0, violationTime: 0 };
            assert_eq!(call!(nvml.nvmlDeviceGetViolationStatus(gpu(&nvml, 0), 0, &mut time)), 0);
            time.violationTime
        };
        assert_eq!(capped(), 0);
        assert_eq!(
            call!(nvml.nvmlDeviceSetPowerManagementLimit(gpu(&nvml, 0), 99_000)),
            Code::INVALID_ARGUMENT.0
        );
        let code = call!(nvml.nvmlDeviceSetPowerManagementLimit(gpu(&nvml, 0), 150_000));
        if !rustix::process::geteuid().is_root() {
            return assert_eq!(code, Code::NO_PERMISSION.0);
        }
        assert_eq!(code, 0);
        advance(10);
        assert_eq!(device.enforced_power_limit().unwrap(), 150_000);
        assert!(device.power_usage().unwrap() <= 150_000);
        assert!(capped() > 7_000_000_000 && capped() < 10_000_000_000, "{}", capped());

        assert_eq!(
            call!(nvml.nvmlDeviceSetGpuLockedClocks(gpu(&nvml, 0), 900, 600)),
            Code::INVALID_ARGUMENT.0
        );
        assert_eq!(call!(nvml.nvmlDeviceSetGpuLockedClocks(gpu(&nvml, 1), 600, 600)), 0);
        let mut mhz = 0;
        assert_eq!(call!(nvml.nvmlDeviceGetClockInfo(gpu(&nvml, 1), 1, &mut mhz)), 0);
        assert_eq!(mhz, 600, "also while nothing runs");
        assert_eq!(
            call!(nvml.nvmlDeviceSetApplicationsClocks(gpu(&nvml, 1), 1593, 1001)),
            Code::INVALID_ARGUMENT.0
        );

        own_folder().reload(None).unwrap();
        drop(nvml);
        let nvml = self::nvml();
        let device = nvml.device_by_index(0).unwrap();
        assert_eq!(device.enforced_power_limit().unwrap(), 400_000);
        assert_eq!(device.total_energy_consumption().unwrap(), 0, "since the driver was loaded");
    });
}
