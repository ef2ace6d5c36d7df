//! GPM: samples of a GPU or GPU instance, and the metrics between two of them.

use std::ffi::CStr;
use std::ptr;

use nvml_sim::{Code, GpmSpan, METRICS_END, gpm_names_of};
use nvml_wrapper_sys::bindings::*;

use super::{device as device_of, exports, gpu};
use crate::from_c::handle;

/// `NVML_GPM_METRICS_GET_VERSION` and `NVML_GPM_SUPPORT_VERSION`, which tell no size.
const VERSION: u32 = 1;

/// What stands before the metrics of `nvmlGpmMetricsGet_t`, whose array is longer in each newer header while its version
/// stays: only as many entries as the caller asks for are touched.
#[repr(C)]
#[derive(Clone, Copy)]
struct Asked {
    version: u32,
    metrics: u32,
    sample1: nvmlGpmSample_t,
    sample2: nvmlGpmSample_t,
}

const _: () = assert!(size_of::<Asked>() == std::mem::offset_of!(nvmlGpmMetricsGet_t, metrics));

fn names(id: u32) -> nvmlGpmMetric_t__bindgen_ty_1 {
    let c = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr).cast_mut();
    let names = gpm_names_of(id);
    nvmlGpmMetric_t__bindgen_ty_1 {
        shortName: c(names.map(|it| it.short)),
        longName: c(names.map(|it| it.long)),
        unit: c(names.map(|it| it.unit)),
    }
}

exports! {
    fn nvmlGpmQueryDeviceSupport(device: nvmlDevice_t, support: *mut nvmlGpmSupport_t) => |call| {
        let view = device_of(call, &device)?.gpu();
        if support.version()? != VERSION {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        let is_supported = view.needs_gpm().is_ok();
        support.put(nvmlGpmSupport_t { version: VERSION, isSupportedDevice: is_supported.into() })
    };
    fn nvmlGpmSampleAlloc(sample: *mut nvmlGpmSample_t) => |call| {
        sample.present()?;
        sample.put(handle(call.library.make_gpm_sample()?))
    };
    fn nvmlGpmSampleFree(sample: nvmlGpmSample_t) => |call| call.library.free_gpm_sample(sample.number());
    fn nvmlGpmSampleGet(device: nvmlDevice_t, sample: nvmlGpmSample_t) => |call| {
        call.library.fill_gpm_sample(sample.number(), gpu(call, &device)?.gpm_sample()?)
    };
    fn nvmlGpmMigSampleGet(device: nvmlDevice_t, instance: u32, sample: nvmlGpmSample_t) => |call| {
        let taken = gpu(call, &device)?.gpm_instance_sample(instance)?;
        call.library.fill_gpm_sample(sample.number(), taken)
    };
    fn nvmlGpmMetricsGet(metrics: *mut nvmlGpmMetricsGet_t) => |call| {
        let asked = metrics.beginning::<Asked>().get()?;
        if asked.version != VERSION {
            return Err(Code::ARGUMENT_VERSION_MISMATCH);
        }
        if asked.metrics > METRICS_END {
            return Err(Code::INVALID_ARGUMENT);
        }
        let sample = |sample: nvmlGpmSample_t| call.library.gpm_sample(sample.addr() as u64);
        let (first, second) = (sample(asked.sample1)?, sample(asked.sample2)?);
        let span = GpmSpan::between(&first, &second)?;
        let list = metrics.behind::<Asked, nvmlGpmMetric_t>();
        for index in 0..asked.metrics as usize {
            let id = list.get_at(index)?.metricId;
            let (code, value) = span.metric(id).map_or_else(|code| (code.0, 0.0), |value| (0, value));
            let metric = nvmlGpmMetric_t { metricId: id, nvmlReturn: code, value, metricInfo: names(id) };
            list.put_at(index, metric)?;
        }
        Ok(())
    };
    fn nvmlGpmQueryIfStreamingEnabled(device: nvmlDevice_t, state: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        view.needs_gpm()?;
        state.put(view.modes().gpm_streaming.into())
    };
    fn nvmlGpmSetStreamingEnabled(device: nvmlDevice_t, state: u32) => |call| {
        call.library.set_gpm_streaming(gpu(call, &device)?, state)
    };
}
