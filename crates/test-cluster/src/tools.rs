//! The cluster's programs, built from the Go modules in `tools/` and kept until those change.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::fingerprint::Fingerprint;
use crate::layout::Layout;
use crate::lock::lock;
use crate::packages::find_program;
use crate::progress::Progress;

/// A Go module in `tools/` and how its programs are built.
struct Module {
    folder: &'static str,
    /// The module whose version the programs carry.
    version_of: &'static str,
    cgo: bool,
    tags: &'static str,
    /// Linker settings; `VERSION`, `MAJOR` and `MINOR` are filled in from go.mod.
    linker: &'static str,
    /// (package, name of the program). Go names a program after its package's folder.
    programs: &'static [(&'static str, &'static str)],
}

/// Without these, kubelet and API server call themselves v0.0.0.
const KUBERNETES_VERSION: &str = "-X k8s.io/component-base/version.gitVersion=VERSION \
     -X k8s.io/component-base/version.gitMajor=MAJOR -X k8s.io/component-base/version.gitMinor=MINOR \
     -X k8s.io/component-base/version.gitTreeState=clean";

const MODULES: [Module; 4] = [
    Module {
        folder: "containerd",
        version_of: "github.com/containerd/containerd/v2",
        cgo: false,
        // Leaves out snapshotters that need C libraries.
        tags: "no_btrfs no_devmapper no_zfs no_aufs",
        linker: "-X github.com/containerd/containerd/v2/version.Version=VERSION",
        programs: &[
            ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
            ("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
            ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
            ("go.etcd.io/etcd/server/v3", "etcd"),
        ],
    },
    Module {
        folder: "runc",
        version_of: "github.com/opencontainers/runc",
        // runc enters namespaces in C, before Go's threads exist.
        cgo: true,
        tags: "seccomp",
        linker: "",
        programs: &[("github.com/opencontainers/runc", "runc")],
    },
    Module {
        folder: "kubernetes",
        version_of: "k8s.io/kubernetes",
        cgo: false,
        tags: "",
        linker: KUBERNETES_VERSION,
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
        ],
    },
    Module {
        // A node may be one minor version behind its API server. This one's tells device plugins apart as all before it.
        folder: "kubelet-1.36",
        version_of: "k8s.io/kubernetes",
        cgo: false,
        tags: "",
        linker: KUBERNETES_VERSION,
        programs: &[("k8s.io/kubernetes/cmd/kubelet", "kubelet-1.36")],
    },
];

/// Builds what is not built yet. Returns the folders that hold the programs.
pub(crate) fn ensure(layout: &Layout, progress: &Progress) -> Result<Vec<PathBuf>> {
    MODULES
        .iter()
        .map(|module| {
            let bin = module.bin(layout)?;
            keep(&bin, progress, |new| module.build(layout, progress, new))?;
            Ok(bin)
        })
        .collect()
}

/// Makes the folder `bin` with `build`, unless it is there. `build` fills a folder beside it, so that `bin` is whole
/// whenever it exists. One process builds at a time: clusters of several names have these programs in common.
/// What was built from an earlier state of the same module is then removed.
fn keep(bin: &Path, progress: &Progress, build: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let home = bin.parent().context("the programs' folder has a parent")?;
    let cache = home.parent().context("the cache has a folder for each module")?;
    fs::create_dir_all(cache).with_context(|| format!("create {}", cache.display()))?;
    let _lock = lock(&cache.join("lock"), "building the same programs", progress)?;
    if bin.is_dir() {
        return Ok(());
    }
    let new = home.join("new");
    if new.exists() {
        fs::remove_dir_all(&new).with_context(|| format!("empty {}", new.display()))?;
    }
    fs::create_dir_all(&new).with_context(|| format!("create {}", new.display()))?;
    build(&new)?;
    fs::rename(&new, bin).with_context(|| format!("rename to {}", bin.display()))?;
    remove_earlier(home, cache)
}

/// Removes `MODULE-*` beside `home`, which is `MODULE-FINGERPRINT`. A running cluster has links of its own.
fn remove_earlier(home: &Path, cache: &Path) -> Result<()> {
    let name = home.file_name().unwrap_or_default().to_string_lossy();
    let module = name.rsplit_once('-').map_or(&*name, |(module, _)| module);
    for entry in fs::read_dir(cache).with_context(|| format!("read {}", cache.display()))?.flatten() {
        let other = entry.file_name().to_string_lossy().into_owned();
        let same_module = other.rsplit_once('-').is_some_and(|(its, _)| its == module);
        if same_module && other != name {
            let path = entry.path();
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// kubectl as built for the cluster, or else the one on the path.
///
/// # Errors
/// When there is neither.
pub fn kubectl_program() -> Result<PathBuf> {
    let layout = Layout::new(crate::DEFAULT_NAME)?;
    for module in &MODULES {
        let built = module.bin(&layout)?.join("kubectl");
        if built.is_file() {
            return Ok(built);
        }
    }
    find_program("kubectl").context("no kubectl: neither built for the test cluster nor on PATH")
}

impl Module {
    /// Where the programs are kept: a folder named after everything that they are built from.
    fn bin(&self, layout: &Layout) -> Result<PathBuf> {
        let mut inputs = Vec::new();
        for file in ["go.mod", "go.sum"] {
            let path = layout.tool_modules().join(self.folder).join(file);
            inputs.extend(fs::read(&path).with_context(|| format!("read {}", path.display()))?);
        }
        inputs.extend(format!("{}|{}|{}|{:?}", self.cgo, self.tags, self.linker, self.programs).into_bytes());
        Ok(layout.tools_cache().join(format!("{}-{}/bin", self.folder, Fingerprint::of(&inputs))))
    }

    /// Builds the programs into the folder `new`.
    fn build(&self, layout: &Layout, progress: &Progress, new: &Path) -> Result<()> {
        let folder = layout.tool_modules().join(self.folder);
        let version = required_version(&folder.join("go.mod"), self.version_of)?;
        let names: Vec<&str> = self.programs.iter().map(|(_, name)| *name).collect();
        let what = format!("building {} {version} ({})", self.folder, names.join(", "));
        progress.say(format!("{what}: once, and kept in {}", layout.tools_cache().display()));

        let log_path = new.with_file_name("build.log");
        let log = File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
        let mut child = Command::new("go")
            .arg("build")
            .args(["-mod=readonly", "-buildvcs=false", "-trimpath", "-tags", self.tags])
            .args(["-ldflags", &self.linker_flags(&version), "-o"])
            .arg(new.join("")) // The closing slash tells go that this is a folder.
            .args(self.programs.iter().map(|(package, _)| *package))
            .current_dir(&folder)
            .env("CGO_ENABLED", if self.cgo { "1" } else { "0" })
            .env("GOFLAGS", "")
            .env("GOWORK", "off")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start `go build`")?;
        if !progress.wait_for(&what, &mut child)? {
            bail!("{what} failed:\n{}", fs::read_to_string(&log_path).unwrap_or_default());
        }
        for (package, name) in self.programs {
            let built = new.join(go_program_name(package));
            fs::rename(&built, new.join(name)).with_context(|| format!("rename {}", built.display()))?;
        }
        Ok(())
    }

    fn linker_flags(&self, version: &str) -> String {
        let mut numbers = version.trim_start_matches('v').split('.');
        let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        let own = self.linker.replace("VERSION", version).replace("MAJOR", major).replace("MINOR", minor);
        format!("-s -w {own}")
    }
}

/// The version at which a go.mod requires a module.
fn required_version(go_mod: &Path, module: &str) -> Result<String> {
    let text = fs::read_to_string(go_mod).with_context(|| format!("read {}", go_mod.display()))?;
    text.lines()
        .map(|line| line.trim().trim_start_matches("require "))
        .find_map(|line| line.strip_prefix(module)?.strip_prefix(' ')?.split_whitespace().next())
        .map(str::to_owned)
        .with_context(|| format!("{}: requires no {module}", go_mod.display()))
}

/// The name that `go build` gives to a package's program: the last folder that is no major version.
fn go_program_name(package: &str) -> &str {
    let is_version = |part: &str| part.strip_prefix('v').is_some_and(|rest| rest.parse::<u32>().is_ok());
    package.rsplit('/').find(|part| !is_version(part)).unwrap_or(package)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::components;
    use crate::kubelet::{self, KubeletRelease};
    use crate::layout::in_node;

    #[test]
    fn each_module_requires_what_its_programs_are_built_from() {
        let layout = Layout::new("x").unwrap();
        for module in &MODULES {
            let go_mod = layout.tool_modules().join(module.folder).join("go.mod");
            let version = required_version(&go_mod, module.version_of).unwrap();
            assert!(version.starts_with('v'), "{}: {version}", go_mod.display());
            let text = fs::read_to_string(&go_mod).unwrap();
            for (package, _) in module.programs {
                assert!(text.contains(package), "{}: no tool directive for {package}", go_mod.display());
            }
        }
    }

    #[test]
    fn each_component_of_either_kubelet_has_a_program_that_a_module_builds() {
        let built: Vec<String> = MODULES
            .iter()
            .flat_map(|module| module.programs)
            .map(|(_, name)| in_node(&format!("bin/{name}")))
            .collect();
        for release in [KubeletRelease::Current, KubeletRelease::V1_36] {
            let wanted = components(release).map(|component| component.program());
            let missing: Vec<&String> = wanted.iter().filter(|program| !built.contains(program)).collect();
            assert!(missing.is_empty(), "{release:?}: {missing:?}");
        }
        let kubelet = |release| kubelet::component(release).program();
        assert_ne!(kubelet(KubeletRelease::Current), kubelet(KubeletRelease::V1_36));
    }

    #[test]
    fn a_program_in_a_versioned_package_is_named_after_the_folder_above() {
        assert_eq!(go_program_name("go.etcd.io/etcd/server/v3"), "server");
        assert_eq!(go_program_name("k8s.io/kubernetes/cmd/kubelet"), "kubelet");
    }

    #[test]
    fn programs_wanted_by_two_at_once_are_built_once() {
        let cache = tempfile::tempdir().unwrap();
        let bin = cache.path().join("kubernetes-1/bin");
        let builds = std::sync::atomic::AtomicUsize::new(0);
        let both_began = std::sync::Barrier::new(2);
        let want = || {
            both_began.wait();
            keep(&bin, &Progress::start(), |new| {
                builds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(fs::write(new.join("kubelet"), "program")?)
            })
        };
        std::thread::scope(|scope| [scope.spawn(want), scope.spawn(want)].map(|thread| thread.join()))
            .into_iter()
            .for_each(|built| built.unwrap().unwrap());
        assert_eq!(builds.into_inner(), 1);
        assert!(bin.join("kubelet").is_file());
    }

    #[test]
    fn programs_of_an_earlier_state_go_after_a_good_build_and_stay_after_a_bad_one() {
        let cache = tempfile::tempdir().unwrap();
        let at = |name: &str| cache.path().join(name);
        for earlier in ["runc-1/bin", "containerd-1/bin"] {
            fs::create_dir_all(at(earlier)).unwrap();
        }
        let progress = Progress::start();
        keep(&at("runc-2/bin"), &progress, |_| bail!("no compiler")).unwrap_err();
        assert!(at("runc-1/bin").is_dir() && !at("runc-2/bin").exists());
        keep(&at("runc-2/bin"), &progress, |_| Ok(())).unwrap();
        assert!(!at("runc-1").exists() && at("runc-2/bin").is_dir());
        assert!(at("containerd-1/bin").is_dir(), "another module's programs");
    }
}
