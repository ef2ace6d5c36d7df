//! The one place where an async executor is built.

use std::future::Future;
use std::process::ExitCode;

use crate::error::fail;

/// Threads that run tasks. Two, so that one long computation does not silence the admin server.
const WORKERS: usize = 2;

/// Threads for blocking file calls, kept few: our daemons write small files, now and then.
const BLOCKING: usize = 4;

/// Runs `main` on a small executor, and does not wait for what it leaves behind.
pub fn block_on(main: impl Future<Output = ExitCode>) -> ExitCode {
    let executor = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_name("gantry")
        .enable_all()
        .build();
    match executor {
        Ok(executor) => {
            let code = executor.block_on(main);
            // A file call that hangs on a dead disk must not keep the process.
            executor.shutdown_background();
            code
        }
        Err(error) => fail(&error),
    }
}
