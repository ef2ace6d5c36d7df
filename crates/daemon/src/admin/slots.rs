//! Places for connections, some in all and fewer for each address. It knows no sockets.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;

/// The places of one server.
#[derive(Debug)]
pub(super) struct Slots {
    in_all: usize,
    per_address: usize,
    /// Connections by address; no address with none.
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    slots: Arc<Slots>,
    address: IpAddr,
}

impl Slots {
    pub fn new(limits: &Limits) -> Slots {
        let Limits { connections, connections_per_address, .. } = *limits;
        Slots { in_all: connections, per_address: connections_per_address, taken: Mutex::default() }
    }

    /// A place for a connection from `address`, if one is free for it.
    pub fn take(slots: &Arc<Slots>, address: IpAddr) -> Option<Slot> {
        // One client has one address, whichever way a socket of both families spells it.
        let address = address.to_canonical();
        let mut taken = slots.lock();
        let in_all: usize = taken.values().sum();
        let own = taken.get(&address).copied().unwrap_or_default();
        if in_all >= slots.in_all || own >= slots.per_address {
            return None;
        }
        taken.insert(address, own + 1);
        drop(taken);
        Some(Slot { slots: Arc::clone(slots), address })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nothing under the lock can leave half a change behind.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        if let Some(own) = taken.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.address);
            }
        }
    }
}
