//! The node file of one change of the state: read when first asked for, and once. So all that the change means sees the same
//! node, whoever edits the file meanwhile.

use std::cell::OnceCell;

use super::folder::{StateFolder, StateFolderError};
use crate::node::Node;

/// The node as declared.
pub struct Declared<'a> {
    folder: &'a StateFolder,
    node: OnceCell<Node>,
}

impl<'a> Declared<'a> {
    /// That of a folder.
    pub fn of(folder: &'a StateFolder) -> Declared<'a> {
        Declared { folder, node: OnceCell::new() }
    }

    /// The one that is about to be written into a folder.
    pub fn known(folder: &'a StateFolder, node: Node) -> Declared<'a> {
        Declared { folder, node: OnceCell::from(node) }
    }

    /// The node, without a driver that was loaded later.
    pub fn node(&self) -> Result<&Node, StateFolderError> {
        if let Some(node) = self.node.get() {
            return Ok(node);
        }
        let node = self.folder.declared()?;
        Ok(self.node.get_or_init(|| node))
    }
}
