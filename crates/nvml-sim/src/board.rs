//! What a board tells of itself beside its model's figures: its InfoROM, its identifiers, its place in a rack. It knows
//! what follows from model, UUID and node, not how it is asked for.

use crate::code::{Code, numbered};
use crate::identity;
use crate::model::Architecture;
use crate::snapshot::GpuView;

/// Since when the driver has been loaded as far as the black box remembers: 2024-01-01, in microseconds since 1970.
const LOADED_US: u64 = 1_704_067_200_000_000;

/// A part of the InfoROM; numbers are `nvmlInforomObject_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InforomObject {
    /// That of the maker.
    Oem = 0,
    /// ECC.
    Ecc = 1,
    /// Power management.
    Power = 2,
    /// Encryption of memory.
    DramEncryption = 3,
}

impl InforomObject {
    /// The object of a number.
    pub fn of(number: u32) -> Result<InforomObject, Code> {
        let all =
            [InforomObject::Oem, InforomObject::Ecc, InforomObject::Power, InforomObject::DramEncryption];
        numbered(&all, number, |object| object as u32)
    }
}

/// Where a GPU is in its rack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RackPlace {
    /// GUID of InfiniBand: eight bytes, then zeros.
    pub ib_guid: [u8; 16],
    /// Serial number of the chassis: thirteen characters, then zeros.
    pub chassis_serial: [u8; 16],
    /// Number of the GPU in its tray, from 1.
    pub module: u8,
}

impl GpuView<'_> {
    /// Seconds that a driver was loaded, as the black box of the InfoROM counts them.
    pub fn seconds_with_driver(&self) -> u32 {
        let us = self.snapshot.state.clock.now_us().saturating_sub(LOADED_US);
        u32::try_from(us / 1_000_000).unwrap_or(u32::MAX)
    }

    /// The version of a part of the InfoROM, as listings of `nvidia-smi -q` show them by architecture; those of Blackwell
    /// and later are assumed. No listing shows power management or encryption.
    pub fn inforom_version(&self, object: InforomObject) -> Result<&'static str, Code> {
        let model = &self.gpu.model;
        let (oem, ecc) = match model.architecture {
            architecture if architecture < Architecture::Ampere => ("1.1", "5.0"),
            Architecture::Ampere => ("2.0", "6.16"),
            Architecture::Ada => ("2.1", "6.16"),
            _ => ("2.1", "7.16"),
        };
        match object {
            InforomObject::Oem => Ok(oem),
            InforomObject::Ecc if model.ecc.is_supported() => Ok(ecc),
            _ => Err(Code::NOT_SUPPORTED),
        }
    }

    /// The checksum of the configuration in the InfoROM: equal for GPUs of one model with equal ECC mode.
    pub fn inforom_checksum(&self) -> u32 {
        let model = &self.gpu.model;
        let ecc = if model.ecc.is_on() { "ecc" } else { "no ecc" };
        let [a, b, c, d, ..] = identity::derived(&[&model.name, &model.inforom, ecc]);
        u32::from_be_bytes([a, b, c, d])
    }

    /// The per-device identifier: 64 bits that no other GPU has.
    pub fn device_identifier(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = identity::derived(&[&self.gpu.uuid, "pdi"]);
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }

    /// Where the GPU is in its rack; `NOT_SUPPORTED` before Blackwell, and in a machine that belongs to no cluster.
    pub fn rack_place(&self) -> Result<RackPlace, Code> {
        let fabric = self.snapshot.node.fabric.as_ref().filter(|fabric| fabric.cluster_uuid != [0; 16]);
        let fabric = fabric.ok_or(Code::NOT_SUPPORTED)?;
        if self.gpu.model.architecture < Architecture::Blackwell {
            return Err(Code::NOT_SUPPORTED);
        }
        let mut ib_guid = [0; 16];
        for (place, byte) in ib_guid.iter_mut().zip(identity::derived(&[&self.gpu.uuid, "ib"])).take(8) {
            *place = byte;
        }
        let mut chassis_serial = [0; 16];
        let serial = identity::chassis_serial(fabric.cluster_uuid);
        for (place, byte) in chassis_serial.iter_mut().zip(serial.bytes()).take(13) {
            *place = byte;
        }
        Ok(RackPlace { ib_guid, chassis_serial, module: u8::try_from(self.gpu.place + 1).unwrap_or(u8::MAX) })
    }
}
