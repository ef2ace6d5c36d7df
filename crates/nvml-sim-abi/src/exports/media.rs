//! Media engines: their utilisation, and the sessions of encoders and frame buffer captures. No simulated program opens a
//! session: loads use the engines from within.

use nvml_sim::{Call, Code, ENGINE_SAMPLE_US, Engine};
use nvml_wrapper_sys::bindings::*;

use super::telemetry::without_mig;
use super::{exports, gpu};
use crate::from_c::Out;

/// One more than the highest `nvmlEncoderType_t`, and the one that came with Ada: AV1.
const CODECS: u32 = 3;
const AV1: u32 = 2;

fn utilization(
    call: &Call<'_>,
    device: &Out<nvmlDevice_st>,
    engine: Engine,
    percent: &Out<u32>,
    period: &Out<u32>,
) -> Result<(), Code> {
    let view = without_mig(gpu(call, device)?)?;
    period.present()?;
    percent.put(view.engine_utilization(engine))?;
    period.put(ENGINE_SAMPLE_US)
}

exports! {
    fn nvmlDeviceGetEncoderUtilization(device: nvmlDevice_t, percent: *mut u32, period: *mut u32) => |call| {
        utilization(call, &device, Engine::Encoder, &percent, &period)
    };
    fn nvmlDeviceGetDecoderUtilization(device: nvmlDevice_t, percent: *mut u32, period: *mut u32) => |call| {
        utilization(call, &device, Engine::Decoder, &percent, &period)
    };
    fn nvmlDeviceGetJpgUtilization(device: nvmlDevice_t, percent: *mut u32, period: *mut u32) => |call| {
        gpu(call, &device)?.has_jpeg()?;
        utilization(call, &device, Engine::Jpeg, &percent, &period)
    };
    fn nvmlDeviceGetOfaUtilization(device: nvmlDevice_t, percent: *mut u32, period: *mut u32) => |call| {
        gpu(call, &device)?.has_jpeg()?;
        utilization(call, &device, Engine::Ofa, &percent, &period)
    };
    // What is not in use can be had. A GPU without encoders can encode nothing, and before Ada none encodes AV1.
    fn nvmlDeviceGetEncoderCapacity(device: nvmlDevice_t, codec: u32, percent: *mut u32) => |call| {
        let view = gpu(call, &device)?;
        let model = &view.gpu.model;
        match codec {
            CODECS.. => Err(Code::INVALID_ARGUMENT),
            _ if model.encoders == 0 => Err(Code::NOT_SUPPORTED),
            AV1 if model.architecture < nvml_sim::Architecture::Ada => Err(Code::NOT_SUPPORTED),
            _ => percent.put(100 - view.engine_utilization(Engine::Encoder)),
        }
    };
    fn nvmlDeviceGetEncoderStats(
        device: nvmlDevice_t, sessions: *mut u32, frames: *mut u32, latency: *mut u32
    ) => |call| {
        gpu(call, &device)?;
        for out in [&sessions, &frames, &latency] {
            out.present()?;
        }
        sessions.put(0)?;
        frames.put(0)?;
        latency.put(0)
    };
    fn nvmlDeviceGetEncoderSessions(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlEncoderSessionInfo_t
    ) => |call| {
        gpu(call, &device)?;
        count.put(0)
    };
    fn nvmlDeviceGetFBCStats(device: nvmlDevice_t, stats: *mut nvmlFBCStats_t) => |call| {
        gpu(call, &device)?;
        stats.put(nvmlFBCStats_t { sessionsCount: 0, averageFPS: 0, averageLatency: 0 })
    };
    fn nvmlDeviceGetFBCSessions(
        device: nvmlDevice_t, count: *mut u32, _list: *mut nvmlFBCSessionInfo_t
    ) => |call| {
        gpu(call, &device)?;
        count.put(0)
    };
}
