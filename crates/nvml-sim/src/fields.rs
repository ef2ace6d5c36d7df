//! Field values: readings by number, as `nvmlDeviceGetFieldValues` gives them. It knows which numbers a driver has, and how
//! they changed; what each of them reads stands in the table.

mod ask;
mod table;

use crate::code::Code;
use crate::damage::LinkError;
use crate::snapshot::GpuView;
use ask::Ask;

pub use table::{FIELDS, Field};

/// The value of a field, with its NVML type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// `NVML_VALUE_TYPE_UNSIGNED_INT`.
    UnsignedInt(u32),
    /// `NVML_VALUE_TYPE_UNSIGNED_LONG_LONG`.
    UnsignedLongLong(u64),
    /// `NVML_VALUE_TYPE_SIGNED_INT`.
    SignedInt(i32),
}

/// One more than the highest field number by the last driver branch that has no more, from the headers of NVML 11.1,
/// 11.6, 12.0, 12.4 and 13.0. A branch in between is taken for one of the next header.
const ENDS: [(u32, u32); 5] = [(455, 147), (510, 161), (525, 170), (550, 200), (580, 274)];
/// The same of NVML 13.4.
const END: u32 = 308;
/// The first driver whose fields 251 to 273 have the numbers of today's header.
const RENUMBERED: (u32, u32) = (580, 82);

impl GpuView<'_> {
    /// The value of a field by the number that it has in the node's driver; `scope` is a link or a power scope.
    pub fn field(&self, number: u32, scope: u32) -> Result<FieldValue, Code> {
        let (field, at) = self.field_of(number)?;
        field.read(Ask { view: *self, at, scope })
    }

    /// The NVLink, or all, and the error that a field counts; `NOT_SUPPORTED` where it counts no such error.
    pub fn link_error_of_field(&self, number: u32, scope: u32) -> Result<(Option<u32>, LinkError), Code> {
        let (field, at) = self.field_of(number)?;
        let ask = Ask { view: *self, at, scope };
        // A field that cannot be read cannot be cleared.
        field.read(ask)?;
        ask.link_error(field).ok_or(Code::NOT_SUPPORTED)
    }

    fn field_of(&self, number: u32) -> Result<(&'static Field, u32), Code> {
        let driver = self.driver();
        let end = ENDS.iter().find(|(branch, _)| driver.0 <= *branch).map_or(END, |(_, end)| *end);
        if number >= end {
            return Err(Code::INVALID_ARGUMENT);
        }
        let number = todays(number, driver);
        let field = FIELDS.iter().find(|field| field.numbers().contains(&number));
        field.map(|field| (field, number - field.numbers().start())).ok_or(Code::INVALID_ARGUMENT)
    }

    /// The number that the version of the node's driver begins with.
    pub fn driver_branch(&self) -> u32 {
        self.driver().0
    }

    /// Branch and version within it of the node's driver.
    fn driver(&self) -> (u32, u32) {
        let mut parts = self.snapshot.node.driver_version.split('.').map(|part| part.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

/// The number that a field has in today's header: of a driver before 580.82, five fields of clocks and power balance came
/// before the eighteen of power smoothing.
fn todays(number: u32, driver: (u32, u32)) -> u32 {
    match number {
        251..=255 if driver < RENUMBERED => number + 18,
        256..=273 if driver < RENUMBERED => number - 5,
        number => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_every_number_of_the_header_once_and_in_order() {
        let numbers: Vec<u32> = FIELDS.iter().flat_map(|field| field.numbers()).collect();
        assert_eq!(numbers, (1..END).collect::<Vec<_>>());
        assert!(FIELDS.iter().all(|field| !field.what().is_empty()));
    }

    #[test]
    fn renumbering_changes_places_and_loses_none() {
        let mut old: Vec<u32> = (1..274).map(|number| todays(number, (580, 65))).collect();
        assert_eq!(todays(251, (580, 65)), 269);
        assert_eq!(todays(251, (580, 82)), 251);
        old.sort_unstable();
        assert_eq!(old, (1..274).collect::<Vec<_>>());
    }
}
