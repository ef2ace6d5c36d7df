//! A host root as a machine with this driver would show it, laid into a folder. It puts the parts together;
//! each part knows its own files.

mod capabilities;
pub(crate) mod config_space;
mod device_nodes;
mod driver_files;
mod elf;
pub(crate) mod follow;
mod plan;
mod proc_files;
mod record;
mod sysfs;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::install::{InstallError, SONAME, find_library};
use crate::state::{StateFolder, StateFolderError};
use plan::Plan;

pub use driver_files::LIBRARY_DIR;
use driver_files::NODE_LINK;

/// What was laid.
#[derive(Clone, Debug)]
pub struct RootReport {
    /// The root.
    pub root: PathBuf,
    /// Number of files, links and device nodes.
    pub entries: usize,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// Why a root could not be laid.
#[derive(Debug, Error)]
pub enum RootError {
    /// The state folder could not be used.
    #[error(transparent)]
    Folder(#[from] StateFolderError),
    /// The library could not be used.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A driver is there that this program did not lay.
    #[error(
        "{} is the root of another driver or of this machine, which would be overwritten; \
         choose a folder of its own",
        path.display()
    )]
    NotOurs {
        /// The root.
        path: PathBuf,
    },
    /// A root that should follow its node, and is not there for this process.
    #[error(
        "cannot reach the host root {} to let it follow; if it is gone, take its line out of {}",
        root.display(),
        list.display()
    )]
    Unreachable {
        /// The root.
        root: PathBuf,
        /// Where it is remembered.
        list: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

/// Lays the root of a node, which follows its MIG instances and removed GPUs from then on. What lies there under the same names is replaced, and what an earlier run laid for
/// another node is removed; nothing else is touched.
pub fn lay(folder: &StateFolder, root: &Path, library: Option<&Path>) -> Result<RootReport, RootError> {
    let library = find_library(library)?;
    if !may_be_laid(root) {
        return Err(RootError::NotOurs { path: root.to_owned() });
    }
    // What is due by now happens first: nothing can while the node is held still.
    folder.state()?;
    folder.held_still(|node, state, is_held| {
        let mut plan = Plan::new(root);
        proc_files::plan(&mut plan, node, state);
        sysfs::plan(&mut plan, node, state);
        device_nodes::plan(&mut plan, node, state);
        driver_files::plan(&mut plan, node, &library, folder.dir());
        let mut report = plan.carry_out()?;
        if !is_held || follow::remember(folder.dir(), root).is_err() {
            report.notes.push(format!(
                "the root does not follow its node, since {} cannot be written: lay it again when MIG instances change",
                folder.dir().display()
            ));
        }
        Ok(report)
    })?
}

/// A root that holds an NVML library, but neither our record nor a way to a state folder beside it, is a real driver's.
fn may_be_laid(root: &Path) -> bool {
    let libraries = root.join(LIBRARY_DIR);
    let is_there = |name: &str| libraries.join(name).symlink_metadata().is_ok();
    let is_machine = root.canonicalize().is_ok_and(|root| root.parent().is_none());
    !is_machine && (record::is_there(root) || is_there(NODE_LINK) || !is_there(SONAME))
}
