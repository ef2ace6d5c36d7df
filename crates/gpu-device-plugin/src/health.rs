//! Health of the GPUs as this daemon keeps it: what the driver's answers are evidence of, the clock that the rules go by,
//! the file that outlives the process, and what people ask for. The rules themselves are `gpu-health`'s.

mod clock;
pub mod command;
pub mod evidence;
mod keeper;
mod paths;
mod settings;

pub use clock::{instant_of, now, timestamp};
pub use keeper::{Ask, Keeper, Kept, restore};
pub use paths::HealthPaths;
pub use settings::{Given, settings};
