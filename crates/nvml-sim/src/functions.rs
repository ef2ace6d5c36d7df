//! The names of NVML's functions, and which one a mistyped name was meant for. It knows names, not what the
//! functions do.

use thiserror::Error;

use crate::latency::fits;

const SYMBOLS: &str = include_str!("../symbols.txt");

/// A function name, or a beginning and `*`, that fits no function of NVML.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("NVML has no function `{pattern}`; did you mean `{closest}`?")]
pub struct UnknownFunctionError {
    /// As it was written.
    pub pattern: String,
    /// What fits and is most like it.
    pub closest: String,
}

/// Of a GPU's calls, a function that takes no GPU.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no call of `{pattern}` takes a GPU's handle; leave the GPU out, and every call is concerned")]
pub struct TakesNoGpuError {
    /// As it was written.
    pub pattern: String,
}

/// Checks that some function that fits a name, or a beginning and `*`, takes a GPU's handle first.
pub fn check_takes_gpu(pattern: &str) -> Result<(), TakesNoGpuError> {
    if takes_gpu(pattern) { Ok(()) } else { Err(TakesNoGpuError { pattern: pattern.to_owned() }) }
}

/// Whether some function that fits a name, or a beginning and `*`, takes a GPU's handle first.
fn takes_gpu(pattern: &str) -> bool {
    names().any(|name| fits(pattern, name) && name.starts_with("nvmlDevice") && !finds_gpus(name))
}

/// Functions of a GPU by name, which count or find GPUs and have no handle yet.
fn finds_gpus(name: &str) -> bool {
    ["nvmlDeviceGetCount", "nvmlDeviceGetHandleBy", "nvmlDeviceDiscoverGpus"]
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// Checks that a function name, or a beginning and `*`, fits a function.
pub fn check(pattern: &str) -> Result<(), UnknownFunctionError> {
    if names().any(|name| fits(pattern, name)) {
        return Ok(());
    }
    let closest = match pattern.strip_suffix('*') {
        None => {
            let distance = |name: &&str| distances(pattern, name).last().copied();
            names().min_by_key(distance).unwrap_or_default().to_owned()
        }
        Some(beginning) => {
            let beginnings = names().filter_map(|name| {
                let (length, distance) = distances(beginning, name)
                    .into_iter()
                    .enumerate()
                    .min_by_key(|(_, distance)| *distance)?;
                Some((distance, name.get(..length)?))
            });
            let (_, closest) = beginnings.min_by_key(|(distance, _)| *distance).unwrap_or_default();
            format!("{closest}*")
        }
    };
    Err(UnknownFunctionError { pattern: pattern.to_owned(), closest })
}

/// Every function of NVML.
pub fn names() -> impl Iterator<Item = &'static str> {
    SYMBOLS.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// The edit distance of a text to each beginning of a name, from the empty one to the whole name.
fn distances(text: &str, name: &str) -> Vec<usize> {
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (at, typed) in text.bytes().enumerate() {
        let mut next = vec![at + 1];
        let mut left = at + 1;
        for (meant, above) in name.bytes().zip(row.windows(2)) {
            let [diagonal, above] = above else { continue };
            left = (left + 1).min(above + 1).min(diagonal + usize::from(meant != typed));
            next.push(left);
        }
        row = next;
    }
    row
}
