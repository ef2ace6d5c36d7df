//! Runs a command of ours and lets a test decide its fate before each system call that changes something. It knows
//! system calls, not what the command is for.
//!
//! Which calls change something is told by exception: what is not in the list of harmless ones counts. So a call that
//! nobody thought of is one crash point more, and never one less.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Calls that change nothing which another process could see.
const HARMLESS: &[i64] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_close,
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fstat,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_geteuid,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_ioctl,
    libc::SYS_lseek,
    libc::SYS_lstat,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_newfstatat,
    libc::SYS_poll,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sched_getaffinity,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_stat,
    libc::SYS_statx,
];

/// What becomes of the command at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The call happens.
    GoOn,
    /// The process is killed, and the call does not happen. So is who is killed after the call before.
    Kill,
    /// Half of a write happens, then the process is killed.
    Tear,
    /// The call fails, as on a broken disk.
    Fail,
}

/// A system call that changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: i64,
    arguments: [u64; 3],
}

impl Call {
    fn is_harmless(&self) -> bool {
        let [_, second, third] = self.arguments;
        match self.number {
            libc::SYS_open => second & (libc::O_CREAT | libc::O_TRUNC) as u64 == 0,
            libc::SYS_openat => third & (libc::O_CREAT | libc::O_TRUNC) as u64 == 0,
            libc::SYS_fcntl => {
                [libc::F_GETFD, libc::F_GETFL, libc::F_SETFD].map(|c| c as u64).contains(&second)
            }
            number => HARMLESS.contains(&number),
        }
    }

    /// Whether it can happen by half.
    pub fn is_long_write(&self) -> bool {
        self.number == libc::SYS_write && self.arguments[2] > 1
    }
}

/// Runs the built command on a folder; `fate` is asked before each call that changes something. None for a command
/// that was killed; one that becomes another program is left to itself from there.
pub fn trace<S: AsRef<OsStr>>(
    dir: &Path,
    words: &[S],
    mut fate: impl FnMut(&Call) -> Fate,
) -> Option<Output> {
    // The shell waits until it is watched.
    let mut child = Command::new("sh")
        .args(["-c", "read -r _ && exec \"$@\"", "sh", env!("CARGO_BIN_EXE_nvml-sim")])
        .args(words)
        .env("NVML_SIM_DIR", dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let pid = Pid::from_raw(child.id() as i32);
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
    // A process may trace its own child, unless kernel.yama.ptrace_scope is 2 or more.
    ptrace::seize(pid, options).unwrap();
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let ended = follow(pid, &mut fate);
    let [mut stdout, mut stderr] = [Vec::new(), Vec::new()];
    child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    // Who was followed to the end is no child any more.
    let left = child.wait();
    let status = match ended {
        End::Killed => return None,
        End::Exited(code) => ExitStatus::from_raw(code << 8),
        End::Replaced => left.unwrap(),
    };
    Some(Output { status, stdout, stderr })
}

/// How a traced process came to its end.
enum End {
    Killed,
    Exited(i32),
    /// It runs on as another program, untraced.
    Replaced,
}

fn follow(pid: Pid, fate: &mut impl FnMut(&Call) -> Fate) -> End {
    let is_exec = |status| matches!(status, WaitStatus::PtraceEvent(_, _, libc::PTRACE_EVENT_EXEC));
    // The shell itself may still be about to begin.
    let ours = Path::new(env!("CARGO_BIN_EXE_nvml-sim")).canonicalize().unwrap();
    loop {
        assert!(is_exec(waitpid(pid, None).unwrap()));
        if std::fs::read_link(format!("/proc/{pid}/exe")).unwrap() == ours {
            break;
        }
        ptrace::cont(pid, None).unwrap();
    }
    // The next stop is the return from that call.
    let (mut enters, mut met, mut signal) = (false, Fate::GoOn, None);
    loop {
        let went_on = ptrace::syscall(pid, signal.take());
        // Who was killed goes nowhere.
        assert!(matches!(went_on, Ok(()) | Err(Errno::ESRCH)), "{went_on:?}");
        match waitpid(pid, None).unwrap() {
            WaitStatus::PtraceSyscall(_) if enters => {
                met = enter(pid, fate);
                enters = false;
            }
            WaitStatus::PtraceSyscall(_) => {
                leave(pid, met);
                (enters, met) = (true, Fate::GoOn);
            }
            WaitStatus::Stopped(_, sent) => signal = Some(sent),
            WaitStatus::Signaled(_, Signal::SIGKILL, _) => return End::Killed,
            WaitStatus::Exited(_, code) => return End::Exited(code),
            status => {
                assert!(is_exec(status), "{status:?}");
                ptrace::detach(pid, None).unwrap();
                return End::Replaced;
            }
        }
    }
}

fn enter(pid: Pid, fate: &mut impl FnMut(&Call) -> Fate) -> Fate {
    let mut registers = ptrace::getregs(pid).unwrap();
    let arguments = [registers.rdi, registers.rsi, registers.rdx];
    let call = Call { number: registers.orig_rax as i64, arguments };
    if call.is_harmless() {
        return Fate::GoOn;
    }
    let fate = fate(&call);
    match fate {
        Fate::GoOn => return fate,
        Fate::Kill => return kill(pid, Signal::SIGKILL).map(|()| fate).unwrap(),
        Fate::Tear => registers.rdx /= 2,
        // There is no such call, so that nothing happens.
        Fate::Fail => registers.orig_rax = u64::MAX,
    }
    ptrace::setregs(pid, registers).unwrap();
    fate
}

fn leave(pid: Pid, met: Fate) {
    match met {
        Fate::GoOn | Fate::Kill => {}
        Fate::Tear => kill(pid, Signal::SIGKILL).unwrap(),
        Fate::Fail => {
            let mut registers = ptrace::getregs(pid).unwrap();
            registers.rax = (-i64::from(libc::EIO)) as u64;
            ptrace::setregs(pid, registers).unwrap();
        }
    }
}
