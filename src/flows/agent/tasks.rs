//! Work of the loop that touches files and that nothing waits for: its end is an event.
//!
//! Settings are read and the marker is saved one at a time, each on a thread of
//! its own. A request that comes in between follows when the one before has
//! ended; a file system that hangs costs these two, never the loop.

use std::future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout};

use super::host::{BoxError, Host};
use crate::adapters::signals::Signal;
use crate::config;
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{PassReport, PassRequest};
use crate::domain::stop::Stop;

/// Sweeps, and waits for the end of it until a stop or for `limit`; with the signals that came in between,
/// each once. A sweep that is left behind goes on, and a pass finds the lock taken until it has ended.
pub(super) async fn first_sweep(
    host: &Arc<dyn Host>,
    signals: &mut (impl Stream<Item = Signal> + Unpin),
    limit: Duration,
) -> (Vec<Signal>, Result<(), BoxError>) {
    let host = Arc::clone(host);
    let mut sweeping = std::pin::pin!(timeout(limit, spawn_blocking(move || host.sweep())));
    let mut early = Vec::new();
    loop {
        tokio::select! {
            biased;
            Some(signal) = signals.next() => {
                if !early.contains(&signal) {
                    early.push(signal);
                }
                if signal.is_stop() {
                    return (early, Ok(()));
                }
            }
            swept = &mut sweeping => {
                let swept = swept.map(|ended| ended.unwrap_or_else(|error| Err(error.into())));
                let waits = || Err(format!("has not ended within {limit:?}; the first pass waits for it").into());
                return (early, swept.unwrap_or_else(|_| waits()));
            }
        }
    }
}

/// A pass on its thread.
pub(super) struct RunningPass {
    pub(super) request: PassRequest,
    pub(super) started: Instant,
    pub(super) stop: Stop,
    pub(super) thread: JoinHandle<PassReport>,
}

/// Reads the settings again.
#[derive(Default)]
pub(super) struct SettingsTask {
    reading: Option<JoinHandle<Option<config::TriggerSettings>>>,
    /// Another SIGHUP arrived while they were read.
    again: bool,
}

impl SettingsTask {
    /// Whether reading began; if not, it will once more when the one that runs has ended.
    pub(super) fn start(&mut self, host: &Arc<dyn Host>) -> bool {
        self.again = self.reading.is_some();
        if self.again {
            return false;
        }
        let host = Arc::clone(host);
        self.reading = Some(spawn_blocking(move || host.reload()));
        true
    }

    /// The triggers in force, if they changed. Safe to drop and call again.
    pub(super) async fn ended(&mut self) -> Option<config::TriggerSettings> {
        let Some(reading) = &mut self.reading else { return future::pending().await };
        // A panic of ours puts nothing in force.
        let trigger = reading.await.unwrap_or_default();
        self.reading = None;
        trigger
    }

    /// Whether they are to be read once more; true once.
    pub(super) fn takes_another(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}

/// Saves which marker is handled.
#[derive(Default)]
pub(super) struct MarkerTask {
    saving: Option<JoinHandle<io::Result<()>>>,
    /// The marker to save when the one before is saved.
    next: Option<FileStamp>,
}

impl MarkerTask {
    pub(super) fn save(&mut self, stamp: FileStamp, host: &Arc<dyn Host>) {
        self.next = Some(stamp);
        self.start_next(host);
    }

    /// Saves the marker that waits, if there is one and nothing is being saved.
    pub(super) fn start_next(&mut self, host: &Arc<dyn Host>) {
        if self.saving.is_none()
            && let Some(stamp) = self.next.take()
        {
            let host = Arc::clone(host);
            self.saving = Some(spawn_blocking(move || host.save_marker(stamp)));
        }
    }

    pub(super) fn is_saving(&self) -> bool {
        self.saving.is_some()
    }

    /// How saving ended. Safe to drop and call again.
    pub(super) async fn ended(&mut self) -> io::Result<()> {
        let Some(saving) = &mut self.saving else { return future::pending().await };
        let saved = saving.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.saving = None;
        saved
    }
}

/// How the running pass ended. Safe to drop and call again.
pub(super) async fn wait_for_pass(running: &mut Option<RunningPass>) -> Result<PassReport, JoinError> {
    match running {
        Some(running) => (&mut running.thread).await,
        None => future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use futures_util::stream;

    use super::*;
    use crate::adapters::watch::FileStamps;
    use crate::decide::source_path::PathWarning;

    /// Its sweep ends when the test drops the sender.
    struct Hanging(Mutex<Receiver<()>>);

    impl Host for Hanging {
        fn run_pass(&self, _: PassRequest, _: Stop) -> PassReport {
            unreachable!("only swept")
        }

        fn sweep(&self) -> Result<(), BoxError> {
            self.0.lock().unwrap().recv().map_err(Into::into)
        }

        fn stat_files(&self, _: &Path) -> FileStamps {
            unreachable!("only swept")
        }

        fn path_warnings(&self) -> Vec<PathWarning> {
            unreachable!("only swept")
        }

        fn reload(&self) -> Option<config::TriggerSettings> {
            unreachable!("only swept")
        }

        fn last_handled_marker(&self) -> Option<FileStamp> {
            None
        }

        fn save_marker(&self, _: FileStamp) -> io::Result<()> {
            unreachable!("only swept")
        }
    }

    #[tokio::test]
    async fn a_first_sweep_that_hangs_is_left_at_a_stop_or_at_its_limit() {
        let (_hangs, ended) = channel();
        let host: Arc<dyn Host> = Arc::new(Hanging(Mutex::new(ended)));
        let (reload, stop) = (Signal::Reload, Signal::Terminate);
        let mut signals = stream::iter([reload, reload, stop]).chain(stream::pending());

        let stopped = first_sweep(&host, &mut signals, Duration::from_secs(3600)).await;
        assert!(stopped.0 == [reload, stop] && stopped.1.is_ok(), "{stopped:?}");

        let (early, swept) = first_sweep(&host, &mut signals, Duration::from_millis(10)).await;
        assert!(early.is_empty() && swept.unwrap_err().to_string().contains("has not ended within 10ms"));
    }
}
