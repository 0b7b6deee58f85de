//! The threads that requests and passes run on.
//!
//! If the system has too few threads or descriptors left, tokio panics or waits
//! without end, at its start and whenever it wants one more thread. So
//! everything that a command needs is requested once beforehand and given
//! back, and the threads for passes are created at once and kept: a running
//! agent has them even when the system has no more to give.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads for requests, timers and signals.
const WORKERS: usize = 2;
/// Threads for what may block: a pass, and during it the status file, deliveries, and what the loop asks of
/// files.
const BLOCKING_THREADS: usize = 4;
/// Threads of others: the watch and its events, messages to the service manager and its status line.
/// Faiss has one more for each processor.
const OTHER_THREADS: usize = 4;
/// Pairs of descriptors that tokio and the signals take at the start.
const FD_PAIRS: usize = 5;
/// How long an idle thread is kept: an idle agent scans once an hour.
const KEEP_ALIVE: Duration = Duration::from_secs(366 * 24 * 3600);

/// A runtime, or a message that says why it cannot be had.
pub(crate) fn start() -> Result<Runtime, String> {
    let pairs: io::Result<Vec<_>> = (0..FD_PAIRS).map(|_| UnixStream::pair()).collect();
    pairs.map_err(|error| format!("cannot open {} files at once: {error}", 2 * FD_PAIRS))?;
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = WORKERS + BLOCKING_THREADS + OTHER_THREADS + processors;
    reserve_threads(threads).map_err(|error| format!("cannot start {threads} threads: {error}"))?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    start_blocking_threads(runtime.handle());
    Ok(runtime)
}

/// Starts so many threads at one time, and ends them.
fn reserve_threads(threads: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..threads {
            thread::Builder::new()
                .spawn_scoped(scope, || drop(gate.lock().unwrap_or_else(PoisonError::into_inner)))?;
        }
        Ok(())
    })
}

/// Creates the threads for what may block: each waits until all exist, so that none does the work of two.
fn start_blocking_threads(runtime: &Handle) {
    let gate = Arc::new(Mutex::new(()));
    let _closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..BLOCKING_THREADS {
        let gate = Arc::clone(&gate);
        // Ends as soon as the gate opens.
        drop(runtime.spawn_blocking(move || drop(gate.lock().unwrap_or_else(PoisonError::into_inner))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_for_passes_are_created_at_the_start_and_not_when_a_pass_begins() {
        let named = |thread: io::Result<std::fs::DirEntry>| {
            let name = std::fs::read_to_string(thread.unwrap().path().join("comm"));
            name.is_ok_and(|name| name.starts_with("tokio-rt"))
        };
        let runtime = start().unwrap();

        // A thread gives itself its name.
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        let all = || std::fs::read_dir("/proc/self/task").unwrap().map(named).filter(|is| *is).count();
        while all() < WORKERS + BLOCKING_THREADS {
            assert!(std::time::Instant::now() < deadline, "{} threads", all());
            thread::yield_now();
        }
        drop(runtime);
    }
}
