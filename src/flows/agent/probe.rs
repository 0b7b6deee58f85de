//! Questions to the file system that the loop waits for only a moment.
//!
//! A file system that hangs keeps a question for as long as it likes. So each
//! is asked on a thread of its own, one at a time: while one has no answer, no
//! other is asked, and the loop goes on without.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, timeout_at};

use super::host::Host;
use super::observer::{AgentEvent, Observers};
use crate::adapters::watch::FileStamps;
use crate::config;
use crate::decide::source_path::PathWarning;

/// How long the loop waits for an answer: long for any disk, short for a signal or a watchdog.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// The question that is asked now, if any.
#[derive(Default)]
pub(super) struct FileProbe {
    asked: Option<JoinHandle<(FileStamps, Vec<PathWarning>)>>,
    /// What was said last of the path to the database.
    said: Vec<PathWarning>,
}

impl FileProbe {
    /// What `stat` says of the files now; `None` where the file system does not answer. The observers
    /// learn what has changed about the path to the database.
    pub(super) async fn stat(
        &mut self,
        host: &Arc<dyn Host>,
        trigger: &config::TriggerSettings,
        observers: &mut Observers,
    ) -> Option<FileStamps> {
        if self.asked.as_ref().is_some_and(|asked| !asked.is_finished()) {
            return None;
        }
        let (host, marker) = (Arc::clone(host), trigger.marker.clone());
        let ask = move || (host.stat_files(&marker), host.path_warnings());
        let asked = self.asked.insert(spawn_blocking(ask));
        let answer = timeout_at(Instant::now() + ANSWER_LIMIT, &mut *asked).await.ok()?;
        // An answer to an earlier question would be of no use, and a finished task cannot be awaited again.
        self.asked = None;
        let (stamps, warnings) = answer.ok()?;
        if warnings != self.said {
            observers.report(&AgentEvent::PathChanged { warnings: &warnings });
            self.said = warnings;
        }
        Some(stamps)
    }
}
