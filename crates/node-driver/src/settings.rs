//! Where the driver is on this host, and what of it a container needs. Looks at files; never loads anything.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use node_host::device::{self, Nodes, NonDevices};
use node_host::{DriverRoot, HostRoot, LocalPath, Root, capability, stage};
use nvml::{Library, LibrarySource};

/// Where to look for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Roots that are searched, in order.
    pub candidates: Vec<DriverRoot>,
    /// The root whose `/dev` has the device nodes; found by looking when none is given.
    pub device_root: Option<Root>,
    /// What to make of a device node that is a plain file.
    pub non_devices: NonDevices,
    /// The NVML library to load instead of the one found below a driver root.
    pub library: Option<PathBuf>,
    /// Folder in which the driver's libraries are staged.
    pub stage: LocalPath,
    /// The host.
    pub host: HostRoot,
}

impl Settings {
    /// The same for one look at many files: see [`Root::remembering`].
    #[must_use]
    pub fn remembering(&self) -> Settings {
        Settings {
            candidates: self.candidates.iter().map(DriverRoot::remembering).collect(),
            device_root: self.device_root.as_ref().map(Root::remembering),
            host: self.host.remembering(),
            ..self.clone()
        }
    }

    /// The first root that has a driver.
    ///
    /// # Errors
    /// When none has: every path that was looked at, in words.
    pub fn find(&self) -> Result<&DriverRoot, String> {
        let mut reasons = Vec::new();
        for root in &self.candidates {
            match root.find_nvml() {
                Ok(_) => return Ok(root),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        match (&self.library, self.candidates.first()) {
            (Some(library), Some(root)) if library.exists() => Ok(root),
            (Some(library), _) => Err(format!("{} does not exist", library.display())),
            (None, _) => Err(reasons.join("; ")),
        }
    }

    /// Why the driver's files cannot be told, with what helps where NVML was named apart from them.
    pub fn explain(&self, why: impl Display) -> String {
        match &self.library {
            Some(_) => format!(
                "{why}: --nvml-library names NVML alone; name the root of the driver's other files with --driver-root"
            ),
            None => why.to_string(),
        }
    }

    /// Gives the NVML library's path, staging the driver's libraries anew at each worker start.
    pub fn library_source(&self) -> LibrarySource {
        let settings = self.clone();
        // Kept, so that no other instance takes the stage for one that nobody uses.
        let in_use = Mutex::new(None);
        Arc::new(move || {
            if let Some(library) = &settings.library {
                return if library.exists() {
                    Ok(Library::alone(library))
                } else {
                    Err(format!("{} does not exist", library.display()))
                };
            }
            let look = settings.remembering();
            let staged = stage::libraries(look.find()?, &look.stage)
                .map_err(|error| daemon::error_chain(&error).to_string())?;
            let nvml = Library::staged(staged.nvml.clone());
            *in_use.lock().unwrap_or_else(PoisonError::into_inner) = Some(staged);
            Ok(nvml)
        })
    }

    /// The root whose `/dev` has the device nodes of this driver.
    pub fn device_root(&self, driver: &DriverRoot) -> Root {
        self.device_root.clone().unwrap_or_else(|| device::root_of(driver, &self.host))
    }

    /// The driver's device nodes, control nodes included.
    ///
    /// # Errors
    /// When they cannot be looked at, in words.
    pub fn device_nodes(&self, root: &Root) -> Result<Nodes, String> {
        let in_words = |error: &dyn std::error::Error| daemon::error_chain(error).to_string();
        let capability_major = match self.non_devices {
            NonDevices::Refused => capability::major(&self.host).map_err(|error| in_words(&error))?,
            // The simulated driver's nodes have numbers that no container may use by default.
            NonDevices::Simulated => None,
        };
        device::nodes(root, self.non_devices, capability_major).map_err(|error| in_words(&error))
    }
}
