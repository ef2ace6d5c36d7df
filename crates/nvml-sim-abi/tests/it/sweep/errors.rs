//! ECC, retired pages and remapped rows.

use super::*;

impl Sweep<'_> {
    pub(super) fn errors(&mut self) {
        numbers!(self, u32: nvmlDeviceGetDefaultEccMode nvmlDeviceGetRetiredPagesPendingStatus);
        ask!(self, nvmlDeviceGetTotalEccErrors(0, 1), |f| {
            let mut count = u64::MAX;
            (f(self.gpu, 0, 1, &mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetMemoryErrorCounter(1, 1, 7), |f| {
            let mut count = u64::MAX;
            (f(self.gpu, 1, 1, 7, &mut count), json!(count))
        });
        ask!(self, nvmlDeviceGetRetiredPages(0), |f| {
            let mut count = u32::MAX;
            (f(self.gpu, 0, &mut count, null_mut()), json!(count))
        });
        ask!(self, nvmlDeviceGetRetiredPages_v2(0), |f| {
            let mut count = u32::MAX;
            (f(self.gpu, 0, &mut count, null_mut(), null_mut()), json!(count))
        });
        ask!(self, nvmlDeviceGetDetailedEccErrors(0, 1), |f| {
            let mut counts: nvmlEccErrorCounts_t = zeroed();
            (f(self.gpu, 0, 1, &mut counts), json!(counts.deviceMemory))
        });
        ask!(self, nvmlDeviceGetRowRemapperHistogram, |f| {
            let mut banks: nvmlRowRemapperHistogramValues_t = zeroed();
            (f(self.gpu, &mut banks), json!([banks.max, banks.high, banks.partial, banks.low, banks.none]))
        });
        ask!(self, nvmlDeviceGetRepairStatus, |f| {
            let mut status: nvmlRepairStatus_t = zeroed();
            status.version = 1 << 24 | 12;
            (f(self.gpu, &mut status), json!([status.bChannelRepairPending, status.bTpcRepairPending]))
        });
        ask!(self, nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts, |f| {
            let mut counts: nvmlEccSramUniqueUncorrectedErrorCounts_t = zeroed();
            counts.version = version_word::<nvmlEccSramUniqueUncorrectedErrorCounts_t>(1);
            (f(self.gpu, &mut counts), json!(counts.entryCount))
        });
        type Numbers<const N: usize> = unsafe extern "C" fn(nvmlDevice_t, *mut [u32; N]) -> nvmlReturn_t;
        ask_later!(self, nvmlDeviceGetRemappedRows_v2: Numbers<6>, |f| {
            let mut info = [u32::MAX; 6];
            (f(self.gpu, &mut info), json!(info))
        });
        ask_later!(self, nvmlDeviceGetUnrepairableMemoryFlag_v1: Numbers<1>, |f| {
            let mut status = [u32::MAX];
            (f(self.gpu, &mut status), json!(status))
        });
        ask!(self, nvmlDeviceGetRemappedRows, |f| {
            let [mut a, mut b, mut c, mut d] = [u32::MAX; 4];
            (f(self.gpu, &mut a, &mut b, &mut c, &mut d), json!([a, b, c, d]))
        });
    }
}
