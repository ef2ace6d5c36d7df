//! Versions of the driver, and of CUDA as far as the driver serves it.

use gpu_model::DriverVersions;
use gpu_model::names::{
    LABEL_DRIVER_MAJOR, LABEL_DRIVER_MINOR, LABEL_DRIVER_REVISION, LABEL_DRIVER_VERSION_FULL,
    LABEL_DRIVER_VERSION_MAJOR, LABEL_DRIVER_VERSION_MINOR, LABEL_DRIVER_VERSION_REVISION,
    LABEL_RUNTIME_MAJOR, LABEL_RUNTIME_MINOR, LABEL_RUNTIME_VERSION_FULL, LABEL_RUNTIME_VERSION_MAJOR,
    LABEL_RUNTIME_VERSION_MINOR,
};

use super::sheet::{LabelValue, Sheet};

pub(super) fn label(versions: &DriverVersions, sheet: &mut Sheet) {
    let full = versions.driver.trim();
    if !full.is_empty() {
        sheet.put(LABEL_DRIVER_VERSION_FULL, LabelValue::text(full));
    }
    match parts(full) {
        Some((major, rest)) => {
            let mut both = |keys: [&str; 2], part: &str| {
                for key in keys {
                    sheet.put(key, LabelValue::text(part));
                }
            };
            both([LABEL_DRIVER_VERSION_MAJOR, LABEL_DRIVER_MAJOR], major);
            if let Some((minor, revision)) = rest {
                both([LABEL_DRIVER_VERSION_MINOR, LABEL_DRIVER_MINOR], minor);
                both([LABEL_DRIVER_VERSION_REVISION, LABEL_DRIVER_REVISION], revision);
            }
        }
        None => sheet.remark(format!("the driver's version {full:?} begins with no number: it has no parts")),
    }
    if let Some((major, minor)) = versions.cuda.value() {
        let (major, minor) = (LabelValue::number(*major), LabelValue::number(*minor));
        sheet.put(LABEL_RUNTIME_VERSION_FULL, LabelValue::text(&format!("{major}.{minor}")));
        for key in [LABEL_RUNTIME_VERSION_MAJOR, LABEL_RUNTIME_MAJOR] {
            sheet.put(key, major.clone());
        }
        for key in [LABEL_RUNTIME_VERSION_MINOR, LABEL_RUNTIME_MINOR] {
            sheet.put(key, minor.clone());
        }
    }
}

/// Major, minor and what follows, which may be nothing.
fn parts(version: &str) -> Option<(&str, Option<(&str, &str)>)> {
    let (major, rest) = match version.split_once('.') {
        Some((major, rest)) => (major, Some(rest)),
        None => (version, None),
    };
    let is_number = !major.is_empty() && major.bytes().all(|byte| byte.is_ascii_digit());
    let rest = rest.map(|rest| rest.split_once('.').unwrap_or((rest, "")));
    is_number.then_some((major, rest.filter(|(minor, _)| !minor.trim().is_empty())))
}
