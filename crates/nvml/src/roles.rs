//! What a worker of this crate can be.

use worker::Role;

use crate::protocol::{EVENTS, QUERIES};

/// Give these to [`worker::enter_if_asked`] first in `main`.
pub const ROLES: &[Role] =
    &[Role { name: QUERIES, run: crate::queries::run }, Role { name: EVENTS, run: crate::watching::run }];
