//! One long-lived program of the cluster, as a value.

use crate::layout::in_node;

/// A program, its arguments (paths as the node sees them) and its name in logs and status.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) name: &'static str,
    pub(crate) args: Vec<String>,
    program: &'static str,
}

impl Component {
    /// The program of that name; `args`, each given as it stands on the command line.
    pub(crate) fn new<S: Into<String>>(name: &'static str, args: impl IntoIterator<Item = S>) -> Self {
        Self { name, args: args.into_iter().map(Into::into).collect(), program: name }
    }

    /// The same, run by another program.
    pub(crate) fn run_by(self, program: &'static str) -> Self {
        Self { program, ..self }
    }

    /// The program's path in the node.
    pub(crate) fn program(&self) -> String {
        in_node(&format!("bin/{}", self.program))
    }
}
