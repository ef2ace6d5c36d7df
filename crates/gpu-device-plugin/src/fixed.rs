//! The settings of a config file that hold from the start of the program to its end.

use gpu_config::Config;

/// The settings; none where the file says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    /// The driver's root, as the host names it.
    pub driver_root: Option<String>,
    /// The root of the device nodes, as the host names it.
    pub dev_root: Option<String>,
    /// Where this process sees the driver's root.
    pub container_driver_root: Option<String>,
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
            driver_root: flags.driver_root.clone(),
            dev_root: flags.dev_root.clone(),
            container_driver_root: flags.plugin.container_driver_root.clone(),
            cdi_hook_path: flags.plugin.cdi_hook_path.clone(),
            fail_on_init_error: flags.fail_on_init_error,
        }
    }

    /// What of `now` is otherwise, in words; nothing where nothing is.
    pub fn changes(&self, now: &Fixed) -> Option<String> {
        let keys = [
            (self.driver_root != now.driver_root, "flags.nvidiaDriverRoot"),
            (self.dev_root != now.dev_root, "flags.nvidiaDevRoot"),
            (self.container_driver_root != now.container_driver_root, "flags.plugin.containerDriverRoot"),
            (self.cdi_hook_path != now.cdi_hook_path, "flags.plugin.nvidiaCTKPath"),
            (self.fail_on_init_error != now.fail_on_init_error, "flags.failOnInitError"),
        ];
        config_file::changed_keys(&keys)
    }
}
