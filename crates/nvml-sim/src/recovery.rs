//! Which recovery action the driver asks for after an XID. Data and one lookup; it knows no state.

use crate::overrides::RecoveryAction;

/// The first driver branch that tells a recovery action, and reports XID 154 when it changes (assumed).
pub const SINCE_BRANCH: u32 = 565;
/// "GPU recovery action changed".
pub const XID_CHANGED: u64 = 154;

/// Source: the actions that NVIDIA's XID catalogue gives. Of 48 it says to reset where no containment follows.
const TABLE: &[(RecoveryAction, &[u64])] = &[
    (RecoveryAction::Reset, &[46, 48, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 150, 155, 156, 158]),
    (RecoveryAction::Reboot, &[79, 151]),
];

impl RecoveryAction {
    /// What the driver asks for after an XID.
    pub fn after(xid: u64) -> RecoveryAction {
        let row = TABLE.iter().find(|(_, xids)| xids.contains(&xid));
        row.map_or(RecoveryAction::None, |(action, _)| *action)
    }

    /// How much it asks for: what asks for less does not replace it.
    pub fn weight(self) -> u32 {
        match self {
            RecoveryAction::None => 0,
            RecoveryAction::DrainP2p => 1,
            RecoveryAction::DrainAndReset => 2,
            RecoveryAction::Reset => 3,
            RecoveryAction::Reboot => 4,
        }
    }

    /// Its words in the kernel's log. Those of draining are assumed.
    pub fn text(self) -> &'static str {
        match self {
            RecoveryAction::None => "None",
            RecoveryAction::Reset => "GPU Reset Required",
            RecoveryAction::Reboot => "Node Reboot Required",
            RecoveryAction::DrainP2p => "Drain P2P",
            RecoveryAction::DrainAndReset => "Drain and Reset",
        }
    }

    /// The one of a number.
    pub fn from_number(number: u64) -> Option<RecoveryAction> {
        let all = [
            RecoveryAction::None,
            RecoveryAction::Reset,
            RecoveryAction::Reboot,
            RecoveryAction::DrainP2p,
            RecoveryAction::DrainAndReset,
        ];
        all.into_iter().find(|action| *action as u64 == number)
    }
}
