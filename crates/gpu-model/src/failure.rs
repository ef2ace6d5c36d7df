//! Why a call failed, where the driver's library did not say it itself: numbers beyond all that
//! `nvmlReturn_t` lists, so that one field holds both and none is taken for the other.

/// The call succeeded, and its answer makes no sense.
pub const SENSELESS: u32 = 1_000_001;

/// The call did not return in time.
pub const NO_RETURN: u32 = 1_000_002;

/// The process that made the call died in it.
pub const CRASH: u32 = 1_000_003;

/// The number as people and logs should see it: NVML's as it is, ours in words.
pub fn describe(code: u32) -> String {
    match code {
        SENSELESS => "senseless-answer".to_owned(),
        NO_RETURN => "no-return".to_owned(),
        CRASH => "crash".to_owned(),
        other => other.to_string(),
    }
}
