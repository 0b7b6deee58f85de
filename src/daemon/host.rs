//! What the agent's loop does to the outside: passes, sweeps, settings, files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::deliveries::PassNotifier;
use super::liveness::Liveness;
use super::marker_file::MarkerFile;
use super::notifier::{Message, Notifier};
use super::progress_log::ProgressLog;
use super::reload::{LiveConfig, current, reload};
use crate::adapters::builds::uptime::Uptime;
use crate::adapters::builds::{Builds, error_chain, sweep};
use crate::adapters::embed::SentLog;
use crate::adapters::source::path_warnings;
use crate::adapters::watch::{FileStamps, TrackedFiles, Watch};
use crate::app::{clock, embedder};
use crate::config::TriggerSettings;
use crate::decide::source_path::PathWarning;
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{PassReport, PassRequest};
use crate::domain::record::Space;
use crate::domain::stop::Stop;
use crate::flows::agent::{BoxError, Host};
use crate::flows::reconcile::{PassContext, PassOptions, reconcile};

pub(super) struct DaemonHost {
    pub(super) config: LiveConfig,
    /// The settings file that the command line names.
    pub(super) config_file: Option<PathBuf>,
    pub(super) space: Space,
    pub(super) builds: Builds,
    pub(super) runtime: Handle,
    /// What was sent to the provider in the last minute, by all passes.
    pub(super) sent: SentLog,
    pub(super) liveness: Arc<Liveness>,
    pub(super) notifier: PassNotifier,
    pub(super) systemd_notifier: Arc<Notifier>,
    pub(super) watch: Watch,
    pub(super) tracked: TrackedFiles,
    pub(super) marker: Mutex<MarkerFile>,
}

impl Host for DaemonHost {
    /// A pass with the settings in force when it starts.
    fn run_pass(&self, request: PassRequest, stop: Stop) -> PassReport {
        let config = current(&self.config);
        // By now other files may be published than at the start, as after a run of ingest.py.
        if let Ok(mode) = self.builds.mode() {
            mode.set_umask();
        }
        let log = ProgressLog::default();
        let liveness = Arc::clone(&self.liveness);
        let context = PassContext {
            config: &config,
            space: self.space.clone(),
            embedder: &|| embedder(&config),
            sent: self.sent.clone(),
            runtime: self.runtime.clone(),
            stop: stop.reporting_to(move || liveness.tick()),
            progress: &|progress| {
                log.update(progress);
                if self.liveness.update(progress) {
                    self.systemd_notifier.notify(Message::Ready);
                }
            },
            clock,
            uptime: Uptime::now,
        };
        let options = PassOptions {
            trigger: request.trigger,
            full_check: request.full_check,
            ..PassOptions::default()
        };
        let report = reconcile(&context, &options).unwrap_or_else(|error| error.report());
        self.notifier.notify();
        report
    }

    fn sweep(&self) -> Result<(), BoxError> {
        // A pass of another process has the lock and sweeps itself.
        if let Some(_lock) = self.builds.lock().map_err(|error| error_chain(&error))? {
            let swept = sweep::sweep(&self.builds);
            for path in swept.removed {
                tracing::info!(path = %path.display(), "sweep: stale staging removed");
            }
            if let Some(error) = swept.failures.first() {
                // The next pass sweeps too, and names each.
                let (count, first) = (swept.failures.len(), error_chain(error));
                tracing::warn!(count, "sweep: stale staging stays and takes disk space; first: {first}");
            }
        }
        Ok(())
    }

    fn stat_files(&self, marker: &Path) -> FileStamps {
        self.tracked.stat(marker)
    }

    fn path_warnings(&self) -> Vec<PathWarning> {
        path_warnings(&self.tracked.database)
    }

    fn reload(&self) -> Option<TriggerSettings> {
        let trigger = reload(&self.config, self.config_file.as_deref(), &self.watch)?;
        // A pass need not follow, and there may be another target to deliver to.
        self.notifier.notify();
        Some(trigger)
    }

    fn last_handled_marker(&self) -> Option<FileStamp> {
        self.marker.lock().unwrap_or_else(PoisonError::into_inner).last_handled()
    }

    fn save_marker(&self, stamp: FileStamp) -> io::Result<()> {
        self.marker.lock().unwrap_or_else(PoisonError::into_inner).save(stamp)
    }
}
