//! The settings of a config file that hold from the start of the program to its end.

use gpu_config::Config;
use node_driver::FilePaths;

/// The settings; none where the file says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// Where the driver is.
    pub driver: FilePaths,
    /// NVIDIA's program for CDI hooks, as the host names it.
    pub cdi_hook_path: Option<String>,
    /// Whether a driver that cannot be used at the start ends the program.
    pub fail_on_init_error: Option<bool>,
}

impl Fixed {
    /// Those of a config.
    pub fn of(config: &Config) -> Fixed {
        let flags = &config.flags;
        Fixed {
            driver: FilePaths::of(config),
            cdi_hook_path: flags.plugin.cdi_hook_path.clone(),
            fail_on_init_error: flags.fail_on_init_error,
        }
    }

    /// What of `now` is otherwise, in words; nothing where nothing is.
    pub fn changes(&self, now: &Fixed) -> Option<String> {
        let own = [
            (self.cdi_hook_path != now.cdi_hook_path, "flags.plugin.nvidiaCTKPath"),
            (self.fail_on_init_error != now.fail_on_init_error, "flags.failOnInitError"),
        ];
        config_file::changed_keys(&[&self.driver.changes(&now.driver)[..], &own].concat())
    }
}
