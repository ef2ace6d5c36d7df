//! What a node that was taken down left running: processes of our programs that name its folder.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Ids of processes whose program lies in `programs`, and whose command line or environment names `dir`. Others may
/// name it as well: somebody who watches a log there.
pub fn processes(programs: &Path, dir: &Path) -> Vec<u32> {
    let needle = dir.as_os_str().as_bytes();
    let names = |path: &Path| {
        fs::read(path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    };
    // A rebuilt program's process runs on as `NAME (deleted)`, which is in the same folder.
    let is_ours = |process: &Path| {
        fs::read_link(process.join("exe")).is_ok_and(|program| program.parent() == Some(programs))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes = entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let process = entry.path();
        let is_left =
            is_ours(&process) && (names(&process.join("cmdline")) || names(&process.join("environ")));
        is_left.then_some(pid)
    });
    processes.collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn process_of_a_program_is_found_by_the_folder_that_it_names() {
        let dir = tempfile::tempdir().unwrap();
        let program = sim_node::find("fake-kubelet").unwrap();
        let programs = program.parent().unwrap().canonicalize().unwrap();
        let mut kubelet =
            Command::new(&program).arg("--dir").arg(dir.path().join("device-plugins")).spawn().unwrap();
        let patience = std::time::Duration::from_secs(20);
        let found = sim_node::eventually("it is found", patience, || {
            let found = processes(&programs, dir.path());
            if found.is_empty() { Err("nothing".to_owned()) } else { Ok(found) }
        });
        assert_eq!(found.unwrap(), [kubelet.id()]);
        assert_eq!(processes(Path::new("/usr/bin"), dir.path()), [0; 0]);
        kubelet.kill().unwrap();
        kubelet.wait().unwrap();
        assert_eq!(processes(&programs, dir.path()), [0; 0]);
    }
}
