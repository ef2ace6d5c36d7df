//! The settings of a config file that hold from the start of the program to its end.

use gpu_config::Config;
use node_driver::FilePaths;

/// The settings; none where the file says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Where the driver is.
    pub driver: FilePaths,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fail_on_init_error: Option<bool>,
    /// Whether to look once and end.
    pub oneshot: Option<bool>,
    /// The file to write.
    pub output_file: Option<String>,
    /// Whether to write a NodeFeature object.
    pub node_feature_api: Option<bool>,
}

impl Fixed {
    /// Those of a config.
    pub fn of(config: &Config) -> Fixed {
        let flags = &config.flags;
        Fixed {
            driver: FilePaths::of(config),
            fail_on_init_error: flags.fail_on_init_error,
            oneshot: flags.gfd.oneshot,
            output_file: flags.gfd.output_file.clone(),
            node_feature_api: flags.node_feature_api,
        }
    }

    /// What of `now` is otherwise, in words; nothing where nothing is.
    pub fn changes(&self, now: &Fixed) -> Option<String> {
        let own = [
            (self.fail_on_init_error != now.fail_on_init_error, "flags.failOnInitError"),
            (self.oneshot != now.oneshot, "flags.gfd.oneshot"),
            (self.output_file != now.output_file, "flags.gfd.outputFile"),
            (self.node_feature_api != now.node_feature_api, "flags.useNodeFeatureAPI"),
        ];
        config_file::changed_keys(&[&self.driver.changes(&now.driver)[..], &own].concat())
    }
}
