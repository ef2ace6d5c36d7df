//! Whether a GPU's memory corrects errors: a preset says `true`, `false`, or `unsupported`. It knows no counter.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};

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
