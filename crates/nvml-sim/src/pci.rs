//! PCI addresses of simulated devices. It knows the forms in which Linux and NVML write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Domain, bus, device and function of a PCI device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PciAddress {
    /// The PCI domain (segment).
    pub domain: u32,
    /// The bus in the domain.
    pub bus: u8,
    /// The device on the bus, 0 to 31.
    pub device: u8,
    /// The function of the device, 0 to 7.
    pub function: u8,
}

/// Text that is not a PCI address.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a PCI address; write domain:bus:device.function in hexadecimal, such as 0000:07:00.0")]
pub struct ParsePciAddressError(String);

impl PciAddress {
    /// NVML's `busId`: eight hexadecimal digits of domain.
    pub fn nvml_id(&self) -> String {
        format!("{:08X}:{:02X}:{:02X}.{:X}", self.domain, self.bus, self.device, self.function)
    }

    /// NVML's `busIdLegacy`: four hexadecimal digits of domain.
    pub fn nvml_legacy_id(&self) -> String {
        format!("{:04X}:{:02X}:{:02X}.{:X}", self.domain & 0xFFFF, self.bus, self.device, self.function)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for PciAddress {
    type Err = ParsePciAddressError;

    /// Takes `domain:bus:device.function` with four or eight digits of domain, or none.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (rest, function) = text.split_once('.').unwrap_or((text, "0"));
            let mut parts = rest.rsplit(':');
            let device = u8::from_str_radix(parts.next()?, 16).ok()?;
            let bus = u8::from_str_radix(parts.next()?, 16).ok()?;
            let domain = u32::from_str_radix(parts.next().unwrap_or("0"), 16).ok()?;
            let function = u8::from_str_radix(function, 16).ok()?;
            let whole = parts.next().is_none() && device < 32 && function < 8;
            whole.then_some(PciAddress { domain, bus, device, function })
        };
        parse().ok_or_else(|| ParsePciAddressError(text.to_owned()))
    }
}

impl TryFrom<String> for PciAddress {
    type Error = ParsePciAddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PciAddress> for String {
    fn from(address: PciAddress) -> String {
        address.to_string()
    }
}
