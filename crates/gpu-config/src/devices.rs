//! Which devices of a resource are meant: all, so many, or some by name.

use std::fmt;
use std::str::FromStr;

use gpu_model::{GpuUuid, MigUuid};
use schemars::JsonSchema;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use thiserror::Error;

/// A GPU or MIG device by one of its names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceRef {
    /// A GPU by its index.
    Gpu(u32),
    /// A MIG device by its GPU's index and its own.
    Mig(u32, u32),
    /// A GPU by its UUID.
    GpuUuid(GpuUuid),
    /// A MIG device by its UUID.
    MigUuid(MigUuid),
    /// A MIG device as drivers before R470 named it: its GPU's UUID, GPU instance and compute instance.
    MigOfGpu(GpuUuid, u32, u32),
}

/// Text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` names no device: expected a GPU's index (0), a MIG device's (0:1), or a UUID (GPU-…, MIG-…)")]
pub struct ParseDeviceRefError(String);

impl FromStr for DeviceRef {
    type Err = ParseDeviceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseDeviceRefError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<DeviceRef> {
    if let Some(old) = text.strip_prefix("MIG-GPU-") {
        let mut parts = old.split('/');
        let gpu = format!("GPU-{}", parts.next()?).parse().ok()?;
        let (gi, ci) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        return parts.next().is_none().then_some(DeviceRef::MigOfGpu(gpu, gi, ci));
    }
    if text.starts_with("GPU-") {
        return text.parse().ok().map(DeviceRef::GpuUuid);
    }
    if text.starts_with("MIG-") {
        return text.parse().ok().map(DeviceRef::MigUuid);
    }
    match text.split_once(':') {
        Some((gpu, mig)) => Some(DeviceRef::Mig(gpu.parse().ok()?, mig.parse().ok()?)),
        None => text.parse().ok().map(DeviceRef::Gpu),
    }
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceRef::Gpu(index) => write!(f, "{index}"),
            DeviceRef::Mig(gpu, index) => write!(f, "{gpu}:{index}"),
            DeviceRef::GpuUuid(uuid) => write!(f, "{uuid}"),
            DeviceRef::MigUuid(uuid) => write!(f, "{uuid}"),
            DeviceRef::MigOfGpu(gpu, gi, ci) => write!(f, "MIG-{gpu}/{gi}/{ci}"),
        }
    }
}

/// Which devices of a resource are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Devices {
    /// All.
    #[default]
    All,
    /// The first so many by index; not 0.
    Count(u32),
    /// These; never empty.
    These(Vec<DeviceRef>),
}

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DevicesVisitor)
    }
}

struct DevicesVisitor;

impl<'de> Visitor<'de> for DevicesVisitor {
    type Value = Devices;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`all`, how many from 1 up, or a list of indexes and UUIDs")
    }

    fn visit_unit<E>(self) -> Result<Devices, E> {
        Ok(Devices::All)
    }

    fn visit_u64<E: de::Error>(self, count: u64) -> Result<Devices, E> {
        match u32::try_from(count) {
            Ok(count) if count > 0 => Ok(Devices::Count(count)),
            _ => Err(E::invalid_value(de::Unexpected::Unsigned(count), &self)),
        }
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<Devices, E> {
        match u64::try_from(count) {
            Ok(count) => self.visit_u64(count),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(count), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Devices, E> {
        match text {
            "all" => Ok(Devices::All),
            other => Err(E::invalid_value(de::Unexpected::Str(other), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Devices, A::Error> {
        let mut these = Vec::new();
        while let Some(Listed(device)) = list.next_element()? {
            these.push(device);
        }
        if these.is_empty() { Err(de::Error::invalid_length(0, &self)) } else { Ok(Devices::These(these)) }
    }
}

/// One of a list: a number or a text.
struct Listed(DeviceRef);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListedVisitor).map(Listed)
    }
}

struct ListedVisitor;

impl Visitor<'_> for ListedVisitor {
    type Value = DeviceRef;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a GPU's index (0), a MIG device's (0:1), or a UUID (GPU-…, MIG-…)")
    }

    fn visit_u64<E: de::Error>(self, index: u64) -> Result<DeviceRef, E> {
        let wrong = |_| E::invalid_value(de::Unexpected::Unsigned(index), &self);
        u32::try_from(index).map(DeviceRef::Gpu).map_err(wrong)
    }

    fn visit_i64<E: de::Error>(self, index: i64) -> Result<DeviceRef, E> {
        match u64::try_from(index) {
            Ok(index) => self.visit_u64(index),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(index), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<DeviceRef, E> {
        text.parse().map_err(E::custom)
    }
}

impl JsonSchema for Devices {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Devices".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "`all`, how many from 1 up, or a list of GPU indexes (0), MIG indexes (0:1) and UUIDs",
            "oneOf": [
                { "const": "all" },
                { "type": "integer", "minimum": 1 },
                { "type": "array", "minItems": 1, "items": { "type": ["integer", "string"] } },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "4cf8db2d-06c0-7d70-1a51-e59b25b2c16c";

    #[test]
    fn device_is_named_by_index_or_uuid_and_prints_as_it_was_written() {
        for text in [
            "0".to_owned(),
            "0:1".to_owned(),
            format!("GPU-{DIGITS}"),
            format!("MIG-{DIGITS}"),
            format!("MIG-GPU-{DIGITS}/3/0"),
        ] {
            assert_eq!(text.parse::<DeviceRef>().unwrap().to_string(), text);
        }
        for wrong in ["", "-1", "0:", "0:1:2", "GPU-1", "MIG-", "gpu0", "MIG-GPU-1/2/3/4"] {
            let error = wrong.parse::<DeviceRef>().unwrap_err().to_string();
            assert!(error.contains("expected a GPU's index"), "{error}");
        }
    }
}
