//! Whether a GPU's memory corrects errors: a preset says `true`, `false`, or `unsupported`, and root can switch it until the
//! next reset. It knows no counter.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::code::Code;
use crate::node::Gpu;
use crate::snapshot::GpuView;
use crate::state::State;

/// ECC of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ecc {
    /// The GPU cannot do it.
    Unsupported,
    /// It can, and does not.
    Off,
    /// It does.
    On,
}

impl Ecc {
    /// Whether the GPU can do it.
    pub fn is_supported(self) -> bool {
        self != Ecc::Unsupported
    }

    /// Whether the GPU does it.
    pub fn is_on(self) -> bool {
        self == Ecc::On
    }
}

/// Whether a GPU that can do ECC does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EccMode {
    /// Now.
    pub current: bool,
    /// After the next reset.
    pub pending: bool,
}

impl EccMode {
    /// The mode that a model comes with; `NOT_SUPPORTED` where it cannot do ECC.
    fn initial(gpu: &Gpu) -> Result<EccMode, Code> {
        let ecc = gpu.model.ecc;
        let mode = EccMode { current: ecc.is_on(), pending: ecc.is_on() };
        if ecc.is_supported() { Ok(mode) } else { Err(Code::NOT_SUPPORTED) }
    }
}

impl GpuView<'_> {
    /// Current and pending mode; `NOT_SUPPORTED` where the GPU cannot do ECC.
    pub fn ecc_mode(&self) -> Result<EccMode, Code> {
        let initial = EccMode::initial(self.gpu)?;
        Ok(self.snapshot.state.ecc.get(&self.gpu.uuid).copied().unwrap_or(initial))
    }
}

impl State {
    /// Asks for an ECC mode, which the next reset makes the current one.
    pub fn set_ecc_mode(&mut self, gpu: &Gpu, on: bool) -> Result<(), Code> {
        let mut mode = EccMode::initial(gpu)?;
        mode = self.ecc.get(&gpu.uuid).copied().unwrap_or(mode);
        mode.pending = on;
        if mode == EccMode::initial(gpu)? {
            self.ecc.remove(&gpu.uuid);
        } else {
            self.ecc.insert(gpu.uuid.clone(), mode);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Ecc {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EccVisitor)
    }
}

struct EccVisitor;

impl Visitor<'_> for EccVisitor {
    type Value = Ecc;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true (on), false (off) or unsupported")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Ecc, E> {
        Ok(if on { Ecc::On } else { Ecc::Off })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Ecc, E> {
        match text {
            "unsupported" => Ok(Ecc::Unsupported),
            other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
        }
    }
}

impl Serialize for Ecc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Ecc::Unsupported => serializer.serialize_str("unsupported"),
            Ecc::Off => serializer.serialize_bool(false),
            Ecc::On => serializer.serialize_bool(true),
        }
    }
}
