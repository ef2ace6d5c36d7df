//! Temperature, utilisation and fans.

use nvml_sim::{Code, GpuView};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlTemperatureSensors_t`: the GPU's die.
const DIE: u32 = 0;
/// How long a utilisation sample of an engine spans.
const SAMPLE_US: u32 = 167_000;

/// "On MIG-enabled GPUs, querying … utilization is not currently supported", says NVML's documentation.
fn without_mig(view: GpuView<'_>) -> Result<GpuView<'_>, Code> {
    if view.is_mig_enabled() { Err(Code::NOT_SUPPORTED) } else { Ok(view) }
}

exports! {
    fn nvmlDeviceGetTemperature(device: nvmlDevice_t, sensor: u32, celsius: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        if sensor != DIE { Err(Code::INVALID_ARGUMENT) } else { celsius.put(view.temperature()) }
    };
    fn nvmlDeviceGetTemperatureV(device: nvmlDevice_t, temperature: *mut nvmlTemperature_t) => |call| {
        let version = temperature.expect_version(1)?;
        let view = gpu(call, &device)?;
        if temperature.get()?.sensorType != DIE {
            return Err(Code::INVALID_ARGUMENT);
        }
        let celsius = view.temperature() as i32;
        temperature.put(nvmlTemperature_t { version, sensorType: DIE, temperature: celsius })
    };
    fn nvmlDeviceGetTemperatureThreshold(device: nvmlDevice_t, threshold: u32, celsius: *mut u32) => |call| {
        let model = &gpu(call, &device)?.gpu.model;
        match threshold {
            0 => celsius.put(model.temperature_shutdown_celsius),
            1 => celsius.put(model.temperature_slowdown_celsius),
            3 => celsius.put(model.temperature_max_celsius),
            2 | 4..=7 => Err(Code::NOT_SUPPORTED),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceGetUtilizationRates(device: nvmlDevice_t, rates: *mut nvmlUtilization_t) => |call| {
        let (gpu, memory) = without_mig(gpu(call, &device)?)?.utilization();
        rates.put(nvmlUtilization_t { gpu, memory })
    };
    fn nvmlDeviceGetEncoderUtilization(device: nvmlDevice_t, percent: *mut u32, period: *mut u32) => |call| {
        without_mig(gpu(call, &device)?)?;
        period.put(SAMPLE_US)?;
        percent.put(0)
    };
    fn nvmlDeviceGetDecoderUtilization(device: nvmlDevice_t, percent: *mut u32, period: *mut u32) => |call| {
        without_mig(gpu(call, &device)?)?;
        period.put(SAMPLE_US)?;
        percent.put(0)
    };
    // All presets are cooled by their machine's fans.
    fn nvmlDeviceGetNumFans(device: nvmlDevice_t, fans: *mut u32) => |call| {
        gpu(call, &device)?;
        fans.put(0)
    };
}
