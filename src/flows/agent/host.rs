//! What the loop needs from the program around it.
//!
//! The loop itself opens nothing: files, passes, settings and the record of the
//! marker are behind [`Host`], so that tests and the daemon start the same
//! loop. Any of them may take long, where a file system hangs, so the loop calls
//! them on other threads. What others learn of all this goes through `observer`.

use std::io;
use std::path::Path;

use crate::adapters::watch::{FileStamps, Hints};
use crate::config;
use crate::decide::source_path::PathWarning;
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{PassReport, PassRequest};
use crate::domain::stop::Stop;

/// Any error, for its message alone.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(crate) trait Host: Send + Sync {
    /// Runs one pass to its end, or until `stop` is requested. Called on a thread of its own.
    fn run_pass(&self, request: PassRequest, stop: Stop) -> PassReport;

    /// Removes stale staging, unless another process is at work there. Called on a thread of its own.
    ///
    /// # Errors
    ///
    /// If staging cannot be listed or removed.
    fn sweep(&self) -> Result<(), BoxError>;

    /// What `stat` says now of source, links and the marker at this path.
    fn stat_files(&self, marker: &Path) -> FileStamps;

    /// What an operator should know of the path to the database, as it is now.
    fn path_warnings(&self) -> Vec<PathWarning>;

    /// Reads the settings again, applies what can be changed while the agent
    /// runs, and returns the triggers in force; `None` if nothing changed.
    fn reload(&self) -> Option<config::TriggerSettings>;

    /// The marker as it was when it was last handled.
    fn last_handled_marker(&self) -> Option<FileStamp>;

    /// Records across restarts that this marker is handled.
    ///
    /// # Errors
    ///
    /// If it cannot be written: then the marker is handled again after the next start.
    fn save_marker(&self, stamp: FileStamp) -> io::Result<()>;
}

/// Where the loop's events come from.
pub(crate) struct EventSources<S> {
    /// From a watch that is armed already.
    pub(crate) hints: Hints,
    /// The end of this stream means that no more signals arrive.
    pub(crate) signals: S,
}

/// How the agent ended. Either way its work is done as far as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitReason {
    /// Stopped by a signal, and swept.
    Stopped,
    /// Stopped by a signal, but the pass or the sweep did not end in time. The
    /// caller must not wait for the runtime's threads; the next start sweeps.
    StopTimedOut,
}
