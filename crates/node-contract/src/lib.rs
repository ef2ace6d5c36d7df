//! Every file that two Gantry daemons share, with one rule for all: JSON, a schema version first, written whole.
//! What asks something of its reader, such as a lease, is read strictly. What tells something is read without the fields that only a
//! later version knows, and a part of it that cannot be read costs only itself, never on the unsafe side.
//!
//! It holds the forms of the files, not what daemons do with them, and knows no NVML and no kubelet.

mod clock;
mod health_file;
mod health_request;
mod held_file;
mod lease;
mod node_report;
mod requests;
mod strict;

pub use clock::now;
pub use health_file::{HEALTH_PATH, HealthAnswer, HealthFile};
pub use health_request::{HealthRequest, HealthVerb, MAX_REQUESTS, REQUESTS_PATH, SubmitError};
pub use held_file::{HELD_FILE, HeldFile};
pub use lease::{
    Acknowledgement, AcquireError, Answers, EndError, FoundLease, HeedTrouble, Heeded, HeededLeases, Holder,
    LEASES_PATH, LONGEST_LEASE, Lease, LeaseError, LeaseFolder, LeaseHold, LeaseLook, LeaseOwner,
    LeaseRequest, LeaseState, MAX_HOLDERS, Observed, PLUGIN_PRESENCE, Pace, Presence, ReleaseRequest,
    is_daemon,
};
pub use node_report::{Freshness, HealthRecord, InstanceHealth, NodeReport, REPORT_PATH, SCHEMA_VERSION};
pub use requests::InvalidRequest;
pub use strict::{MAX_BYTES, Mended, ReadError, WriteError, set_aside};
