//! GPM: samples of a GPU or GPU instance, and metrics as averages between two of them. It knows NVML's numbers of metrics,
//! not who keeps the samples.

mod names;

use crate::code::Code;
use crate::counters::{Quantity, Totals};
use crate::model::Model;
use crate::snapshot::GpuView;

pub use names::{MetricNames, names_of};

/// One more than the highest metric of NVML 13.3.
pub const METRICS_END: u32 = 333;
/// The links from 18 on and the totals came after the header of NVML 13.0, whose driver is of branch 580; with the next one (assumed).
const LATER_SINCE: u32 = 590;
const MIB: f64 = 1_048_576.0;

/// A sample.
#[derive(Clone, Debug, PartialEq)]
pub struct GpmSample {
    /// UUID of the GPU.
    gpu: String,
    /// The GPU instance, if it is one's.
    instance: Option<u32>,
    /// When it was taken, in microseconds since 1970.
    at_us: u64,
    totals: Totals,
    /// Memory slices of the instance, and of the GPU: in this relation it has of the GPU's bandwidth.
    share: (u32, u32),
    /// Whether anything can run on it: not on an instance without compute instances.
    runs: bool,
    links: u32,
    engines: [u32; 4],
    branch: u32,
}

impl GpuView<'_> {
    fn gpm_sample_of(&self, instance: Option<u32>, share: (u32, u32), runs: bool) -> GpmSample {
        let (totals, at_us) = self.totals();
        let Model { decoders, jpeg_decoders, optical_flow_accelerators, encoders, .. } = self.gpu.model;
        GpmSample {
            gpu: self.gpu.uuid.clone(),
            instance,
            at_us,
            totals,
            share,
            runs,
            links: u32::try_from(self.gpu.links.len()).unwrap_or(u32::MAX),
            engines: [decoders, jpeg_decoders, optical_flow_accelerators, encoders],
            branch: self.driver_branch(),
        }
    }

    /// Fails where the GPU does not measure itself: before Hopper, as NVML's header says.
    pub fn needs_gpm(&self) -> Result<(), Code> {
        if self.gpu.model.has_gpm() { Ok(()) } else { Err(Code::NOT_SUPPORTED) }
    }

    /// A sample of the whole GPU.
    pub fn gpm_sample(&self) -> Result<GpmSample, Code> {
        self.needs_gpm()?;
        Ok(self.gpm_sample_of(None, (1, 1), true))
    }

    /// A sample of a GPU instance.
    pub fn gpm_instance_sample(&self, id: u32) -> Result<GpmSample, Code> {
        self.needs_gpm()?;
        let slices = self.mig()?.0.slices;
        let instance = self.gpu_instances().find(|instance| instance.id == id).ok_or(Code::NOT_FOUND)?;
        let runs = !instance.made.compute.is_empty();
        Ok(self.gpm_sample_of(Some(id), (instance.profile.size, slices.max(1)), runs))
    }
}

/// Two samples of one GPU or GPU instance.
#[derive(Clone, Copy, Debug)]
pub struct GpmSpan<'a> {
    first: &'a GpmSample,
    second: &'a GpmSample,
}

impl<'a> GpmSpan<'a> {
    /// The time between two samples; `INVALID_ARGUMENT` if they are not of the same GPU or instance, or in the wrong order.
    pub fn between(first: &'a GpmSample, second: &'a GpmSample) -> Result<GpmSpan<'a>, Code> {
        let is_same = first.gpu == second.gpu && first.instance == second.instance;
        if is_same && first.at_us <= second.at_us {
            Ok(GpmSpan { first, second })
        } else {
            Err(Code::INVALID_ARGUMENT)
        }
    }

    fn grown(&self, of: Quantity) -> f64 {
        let grown = self.second.totals.fine(of).saturating_sub(self.first.totals.fine(of));
        if self.second.runs { grown as f64 } else { 0.0 }
    }

    fn us(&self) -> f64 {
        self.second.at_us.saturating_sub(self.first.at_us) as f64
    }

    fn part(&self) -> f64 {
        let (own, all) = self.second.share;
        f64::from(own) / f64::from(all)
    }

    /// Percent of the time.
    fn time(&self, of: Quantity) -> f64 {
        self.grown(of) / self.us() / 10.0
    }

    /// Percent of the cycles of multiprocessors.
    fn cycles(&self, of: Quantity) -> f64 {
        let all = self.second.totals.fine(Quantity::SmCycles);
        let all = all.saturating_sub(self.first.totals.fine(Quantity::SmCycles));
        self.grown(of) / all as f64 * 100.0
    }

    /// MiB a second; a quantity is kept in millionths of a byte, and time in microseconds.
    fn mib(&self, of: Quantity) -> f64 {
        self.grown(of) / self.us() / MIB * self.part()
    }

    /// Percent of an engine; those beyond the GPU's are not there.
    fn engine(&self, kind: usize, number: u32, of: Quantity) -> Result<f64, Code> {
        let there = self.second.engines.get(kind).copied().unwrap_or(0);
        if number < there { Ok(self.time(of)) } else { Err(Code::NOT_SUPPORTED) }
    }

    fn link(&self, link: u32, value: f64) -> Result<f64, Code> {
        if link < self.second.links { Ok(value) } else { Err(Code::NOT_SUPPORTED) }
    }

    fn links(&self, of: Quantity) -> Result<f64, Code> {
        match self.second.links {
            0 => Err(Code::NOT_SUPPORTED),
            links => Ok(self.mib(of) * f64::from(links)),
        }
    }

    /// What has come together since the driver was loaded, in the quantity's unit.
    fn total(&self, of: Quantity, part: f64) -> f64 {
        if self.second.runs { self.second.totals.get(of) as f64 * part } else { 0.0 }
    }

    /// A metric by NVML's number. All that loads do on tensor cores is in half precision. Between two samples of the same
    /// moment a rate is no number.
    pub fn metric(&self, id: u32) -> Result<f64, Code> {
        use Quantity::{NvlinkRx, NvlinkTx, PcieRx, PcieTx};
        if id >= 210 && self.second.branch < LATER_SINCE {
            return Err(Code::INVALID_ARGUMENT);
        }
        match id {
            1 => Ok(self.time(Quantity::Busy)),
            2 => Ok(self.cycles(Quantity::SmActive)),
            3 => Ok(self.cycles(Quantity::SmOccupancy)),
            4 => Ok(self.cycles(Quantity::Integer)),
            5 | 7 => Ok(self.cycles(Quantity::Tensor)),
            6 | 8 | 9 => Ok(self.cycles(Quantity::Tensor) * 0.0),
            10 => Ok(self.time(Quantity::Dram)),
            11 => Ok(self.cycles(Quantity::Fp64)),
            12 => Ok(self.cycles(Quantity::Fp32)),
            13 => Ok(self.cycles(Quantity::Fp16)),
            20 => Ok(self.mib(PcieTx)),
            21 => Ok(self.mib(PcieRx)),
            30..=37 => self.engine(0, id - 30, Quantity::Decoder),
            40..=47 => self.engine(1, id - 40, Quantity::Jpeg),
            50..=51 => self.engine(2, id - 50, Quantity::Ofa),
            60 => self.links(NvlinkRx),
            61 => self.links(NvlinkTx),
            62..=97 => {
                self.link((id - 62) / 2, self.mib(if id.is_multiple_of(2) { NvlinkRx } else { NvlinkTx }))
            }
            // C2C links, caches of host memory, context switches of graphics: nothing of them is simulated.
            100..=165 | 170..=209 => Err(Code::NOT_SUPPORTED),
            166..=169 => self.engine(3, id - 166, Quantity::Encoder),
            212..=247 => {
                let of = if id.is_multiple_of(2) { NvlinkRx } else { NvlinkTx };
                self.link((id - 212) / 2 + 18, self.mib(of))
            }
            248 => Ok(self.total(Quantity::SmCycles, 1.0)),
            249 => Ok(self.total(Quantity::SmActive, 1.0)),
            250 | 252 => Ok(self.total(Quantity::Tensor, 1.0)),
            251 | 253 | 254 => Ok(self.total(Quantity::Tensor, 0.0)),
            255 => Ok(self.total(PcieTx, self.part())),
            256 => Ok(self.total(PcieRx, self.part())),
            257 => Ok(self.total(Quantity::Integer, 1.0)),
            258 => Ok(self.total(Quantity::Fp64, 1.0)),
            259 => Ok(self.total(Quantity::Fp32, 1.0)),
            260 => Ok(self.total(Quantity::Fp16, 1.0)),
            261..=332 => {
                let of = if id.is_multiple_of(2) { NvlinkTx } else { NvlinkRx };
                self.link((id - 261) / 2, self.total(of, self.part()))
            }
            _ => Err(Code::INVALID_ARGUMENT),
        }
    }
}
