//! The scenes, in their order. A new daemon joins with a module here and a line in [`SCENES`].

mod curtain;
mod hang;
mod labels;
mod pods;
mod registration;
mod restart;
mod start;
mod xid;

use anyhow::Result;

use crate::stage::Stage;

/// One scene.
#[derive(Debug)]
pub struct Scene {
    /// What it shows, in few words.
    pub name: &'static str,
    /// Plays it: an error ends the show, a check that fails does not.
    pub play: fn(&mut Stage) -> Result<()>,
}

/// All but the last.
pub const SCENES: &[Scene] = &[
    Scene { name: "A node starts", play: start::play },
    Scene { name: "The plugin registers", play: registration::play },
    Scene { name: "The node is labelled", play: labels::play },
    Scene { name: "Pods ask for GPUs", play: pods::play },
    Scene { name: "A GPU falls off the bus", play: xid::play },
    Scene { name: "The driver hangs", play: hang::play },
    Scene { name: "The kubelet restarts", play: restart::play },
];

/// The last one; a show that stays leaves it out.
pub const CURTAIN: Scene = Scene { name: "The plugin ends", play: curtain::play };
