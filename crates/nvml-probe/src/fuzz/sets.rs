//! What a program makes and frees for itself: event sets and GPM samples. It knows which of them live.

use std::mem::offset_of;

use nvml_wrapper_sys::bindings::{nvmlEventData_t, nvmlGpmMetric_t, nvmlGpmMetricsGet_t};

use super::play::{Player, block, call, expect};
use crate::code::Code;
use crate::layout::number;

/// `nvmlEventTypeXidCriticalError`, of which the fuzz makes none.
const XID: u64 = 8;

impl Player {
    /// Makes an event set, registers for it, waits without waiting, and frees it; a set of before, one that is gone, or none.
    pub(super) fn events(&mut self, which: usize, free: bool) -> Result<(), String> {
        if which < 128 {
            let out = block(8)?;
            let given = call(&self.session, "nvmlEventSetCreate", &[out.address()])?;
            expect("nvmlEventSetCreate", given, &self.right(Code::SUCCESS, false))?;
            if given == Code::SUCCESS {
                self.sets.push((number(out.bytes(), 8), true));
            }
        }
        let given = call(&self.session, "nvmlEventSetCreate", &[0])?;
        expect("nvmlEventSetCreate(null)", given, &self.right(Code::INVALID_ARGUMENT, false))?;
        // One more than there are: that is no set.
        let index = which % (self.sets.len() + 1);
        let (set, lives) = self.sets.get(index).copied().unwrap_or((which as u64 * 0x0101_0101, false));
        let right = |lived: Code| if lives { lived } else { Code::INVALID_ARGUMENT };
        if let Some(gpu) = which.checked_rem(self.gpus.len()).and_then(|gpu| self.gpus.get(gpu)) {
            let given = call(&self.session, "nvmlDeviceRegisterEvents", &[gpu.about.handle, XID, set])?;
            expect("nvmlDeviceRegisterEvents", given, &self.right(right(Code::SUCCESS), false))?;
        }
        for wait in ["nvmlEventSetWait", "nvmlEventSetWait_v2"] {
            let data = block(size_of::<nvmlEventData_t>())?;
            let given = call(&self.session, wait, &[set, data.address(), 0])?;
            expect(wait, given, &self.right(right(Code::TIMEOUT), false))?;
            let null = call(&self.session, wait, &[set, 0, 0])?;
            expect(wait, null, &self.right(Code::INVALID_ARGUMENT, false))?;
        }
        if free {
            let given = call(&self.session, "nvmlEventSetFree", &[set])?;
            expect("nvmlEventSetFree", given, &self.right(right(Code::SUCCESS), false))?;
            if let Some((_, lives)) = self.sets.get_mut(index).filter(|_| given == Code::SUCCESS) {
                *lives = false;
            }
        }
        Ok(())
    }

    /// Takes two samples of a GPU and asks for metrics between them, in memory for as many as are asked for.
    pub(super) fn samples(&mut self, gpu: usize, metrics: u8) -> Result<(), String> {
        let Some(books) = gpu.checked_rem(self.gpus.len()).and_then(|gpu| self.gpus.get(gpu)) else {
            return Ok(());
        };
        let null = call(&self.session, "nvmlGpmSampleAlloc", &[0])?;
        expect("nvmlGpmSampleAlloc(null)", null, &self.right(Code::INVALID_ARGUMENT, false))?;
        let (mut samples, mut taken) = ([0; 2], Code::UNINITIALIZED);
        for sample in &mut samples {
            let out = block(8)?;
            let given = call(&self.session, "nvmlGpmSampleAlloc", &[out.address()])?;
            expect("nvmlGpmSampleAlloc", given, &self.right(Code::SUCCESS, false))?;
            if given != Code::SUCCESS {
                return Ok(());
            }
            *sample = number(out.bytes(), 8);
            taken = call(&self.session, "nvmlGpmSampleGet", &[books.about.handle, *sample])?;
            expect("nvmlGpmSampleGet", taken, &[Code::SUCCESS, Code::NOT_SUPPORTED])?;
        }
        let at = offset_of!(nvmlGpmMetricsGet_t, metrics);
        let mut asked = block(at + usize::from(metrics) * size_of::<nvmlGpmMetric_t>())?;
        let [first, second] = samples;
        let words = [1 | u64::from(metrics) << 32, first, second];
        let bytes = words.into_iter().flat_map(u64::to_le_bytes);
        asked.bytes_mut().iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
        let given = call(&self.session, "nvmlGpmMetricsGet", &[asked.address()])?;
        expect(
            "nvmlGpmMetricsGet",
            given,
            &[if taken == Code::SUCCESS { taken } else { Code::INVALID_ARGUMENT }],
        )?;
        for sample in samples {
            for right in [Code::SUCCESS, Code::INVALID_ARGUMENT] {
                expect("nvmlGpmSampleFree", call(&self.session, "nvmlGpmSampleFree", &[sample])?, &[right])?;
            }
        }
        let given = call(&self.session, "nvmlGpmMetricsGet", &[asked.address()])?;
        expect("nvmlGpmMetricsGet of what is gone", given, &[Code::INVALID_ARGUMENT])
    }
}
