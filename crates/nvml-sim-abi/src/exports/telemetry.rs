//! Temperature, utilisation, and the samples of both.

use nvml_sim::{Code, Engine, GpuView};
use nvml_wrapper_sys::bindings::*;

use super::{exports, gpu};

/// `nvmlTemperatureSensors_t`: the GPU's die.
const DIE: u32 = 0;
/// `nvmlThermalTarget_t` and `nvmlThermalController_t` of the sensor within the die, and all sensors.
const TARGET_GPU: nvmlThermalTarget_t = 1;
const CONTROLLER_GPU_INTERNAL: nvmlThermalController_t = 1;
const TARGET_ALL: u32 = 15;
/// `nvmlGpuUtilizationDomainId_t`: GPU, frame buffer, video and bus come first among eight.
const DOMAINS: usize = 4;
/// `nvmlValueType_t`.
const UNSIGNED_INT: nvmlValueType_t = 1;

/// "On MIG-enabled GPUs, querying … utilization is not currently supported", says NVML's documentation.
pub(super) fn without_mig(view: GpuView<'_>) -> Result<GpuView<'_>, Code> {
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
        let view = gpu(call, &device)?;
        let model = &view.gpu.model;
        match threshold {
            0 => celsius.put(model.temperature_shutdown_celsius),
            1 => celsius.put(model.temperature_slowdown_celsius),
            2 if model.temperature_memory_max_celsius > 0 => celsius.put(model.temperature_memory_max_celsius),
            3 => celsius.put(model.temperature_max_celsius),
            4 => celsius.put(view.acoustic_limits()?.0),
            5 => celsius.put(view.acoustic_limits()?.1),
            6 => celsius.put(view.acoustic_limits()?.2),
            2 | 7 => Err(Code::NOT_SUPPORTED),
            _ => Err(Code::INVALID_ARGUMENT),
        }
    };
    fn nvmlDeviceGetUtilizationRates(device: nvmlDevice_t, rates: *mut nvmlUtilization_t) => |call| {
        let (gpu, memory) = without_mig(gpu(call, &device)?)?.utilization();
        rates.put(nvmlUtilization_t { gpu, memory })
    };
    fn nvmlDeviceGetMarginTemperature(device: nvmlDevice_t, margin: *mut nvmlMarginTemperature_t) => |call| {
        let version = margin.expect_version(1)?;
        let celsius = gpu(call, &device)?.temperature_margin()?;
        margin.put(nvmlMarginTemperature_t { version, marginTemperature: celsius })
    };
    fn nvmlDeviceGetThermalSettings(
        device: nvmlDevice_t, sensor: u32, settings: *mut nvmlGpuThermalSettings_t
    ) => |call| {
        let view = gpu(call, &device)?;
        if sensor != 0 && sensor != TARGET_ALL {
            return Err(Code::INVALID_ARGUMENT);
        }
        let none = nvmlGpuThermalSettings_t__bindgen_ty_1 {
            controller: 0, defaultMinTemp: 0, defaultMaxTemp: 0, currentTemp: 0, target: 0,
        };
        let die = nvmlGpuThermalSettings_t__bindgen_ty_1 {
            controller: CONTROLLER_GPU_INTERNAL,
            defaultMinTemp: 0,
            defaultMaxTemp: view.gpu.model.temperature_shutdown_celsius as i32,
            currentTemp: view.temperature() as i32,
            target: TARGET_GPU,
        };
        settings.put(nvmlGpuThermalSettings_t { count: 1, sensor: [die, none, none] })
    };
    fn nvmlDeviceGetDynamicPstatesInfo(
        device: nvmlDevice_t, info: *mut nvmlGpuDynamicPstatesInfo_t
    ) => |call| {
        let view = without_mig(gpu(call, &device)?)?;
        let (busy, memory) = view.utilization();
        let engine = |engine| view.engine_utilization(engine);
        let video = engine(Engine::Encoder).max(engine(Engine::Decoder));
        let percents = [busy, memory, video, view.bus_utilization()];
        let none = nvmlGpuDynamicPstatesInfo_st__bindgen_ty_1 {
            bIsPresent: 0, percentage: 0, incThreshold: 0, decThreshold: 0,
        };
        let mut utilization = [none; 8];
        for (place, percentage) in utilization.iter_mut().zip(percents).take(DOMAINS) {
            *place = nvmlGpuDynamicPstatesInfo_st__bindgen_ty_1 { bIsPresent: 1, percentage, ..none };
        }
        info.put(nvmlGpuDynamicPstatesInfo_t { flags: 0, utilization })
    };
    // Without an array: how many there are.
    fn nvmlDeviceGetSamples(
        device: nvmlDevice_t, kind: u32, last: u64, of: *mut nvmlValueType_t, count: *mut u32, list: *mut nvmlSample_t
    ) => |call| {
        let view = gpu(call, &device)?;
        of.present()?;
        let room = count.get()? as usize;
        if !list.is_null() && room == 0 {
            return Err(Code::INVALID_ARGUMENT);
        }
        let samples = view.samples(kind, last)?;
        of.put(UNSIGNED_INT)?;
        if list.is_null() {
            return count.put(samples.len() as u32);
        }
        count.put(samples.len().min(room) as u32)?;
        list.put_all(samples.iter().take(room).map(|sample| nvmlSample_t {
            timeStamp: sample.at_us,
            sampleValue: nvmlValue_t { ullVal: sample.value.into() },
        }))
    };
}
