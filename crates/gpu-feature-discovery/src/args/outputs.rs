//! Flags on where labels go.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{Args, ValueEnum};

/// Where labels go.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Outputs")]
pub struct OutputArgs {
    /// Where labels go, several with commas: node (the own Node), nodefeature (an object for Node Feature Discovery), file
    /// (the same as a file), stdout. A path is NVIDIA's meaning of this flag: file, there [default: node; with --compat
    /// nodefeature]
    #[arg(short = 'o', long, env = "GANTRY_OUTPUT", value_name = "OUTPUTS", value_delimiter = ',')]
    pub output: Vec<OutputWord>,

    /// The file of --output file; the standard output where it is empty [default: the config file's, then
    /// /etc/kubernetes/node-feature-discovery/features.d/gfd]
    #[arg(long, env = "GFD_OUTPUT_FILE", value_name = "FILE", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub output_file: Option<PathBuf>,

    /// NVIDIA's way of choosing: true for nodefeature, false for file. --output counts before it
    #[arg(long, env = "USE_NODE_FEATURE_API", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub use_node_feature_api: Option<bool>,

    /// Form of the standard output [default: table; with --compat plain]
    #[arg(long, env = "GANTRY_FORMAT", value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,

    /// The own Node's name
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Namespace of the NodeFeature object [default: default]
    #[arg(long, env = "NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// With what Kubernetes deletes the NodeFeature object: node, so that it outlives upgrades and goes with the Node, or
    /// none [default: node]
    #[arg(long, env = "GANTRY_NODEFEATURE_OWNER", value_name = "OWNER", value_enum)]
    pub nodefeature_owner: Option<ObjectOwner>,

    /// The own pod's name, under which events are reported
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// Credentials for the Kubernetes API [default: the pod's service account]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// One word of `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputWord {
    /// The own Node.
    Node,
    /// The NodeFeature object.
    NodeFeature,
    /// The file.
    File,
    /// Standard output.
    Stdout,
    /// The file, at this path.
    FileAt(PathBuf),
}

impl FromStr for OutputWord {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "node" => OutputWord::Node,
            "nodefeature" => OutputWord::NodeFeature,
            "file" => OutputWord::File,
            "stdout" => OutputWord::Stdout,
            path if path.contains('/') => OutputWord::FileAt(path.into()),
            _ => return Err("expected node, nodefeature, file or stdout, several with commas, or a path"),
        })
    }
}

/// Who owns the NodeFeature object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectOwner {
    /// The Node that it speaks of.
    Node,
    /// Nobody.
    None,
}

/// Form of the standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs: an object of labels.
    Json,
    /// A line `key=value` for each, as in the file.
    Plain,
}
