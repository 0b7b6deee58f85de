//! Everything that the loop touches, as `main` or a test gives it.
//!
//! The loop itself opens nothing: looking at files, passes, settings, memory
//! and notices are all behind one of these. None of them may wait for long but
//! the pass and the sweep, which run on threads of their own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::observer::Observer;
use crate::adapters::watch::{FileStamps, Hints};
use crate::config;
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{PassReport, PassRequest};
use crate::domain::stop::Stop;

/// Any error, for words alone.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Runs one pass to its end, looking at the token between its steps.
pub type PassFn = Arc<dyn Fn(PassRequest, Stop) -> PassReport + Send + Sync>;
/// Removes stale staging, unless another process is at work there.
pub type SweepFn = Arc<dyn Fn() -> Result<(), BoxError> + Send + Sync>;
/// What `stat` says now of source, links and the marker at the given path.
pub type SightFn = Box<dyn Fn(&Path) -> FileStamps + Send>;
/// Reads the settings again, puts in force what can be (the watch's aim
/// included), and gives the triggers now in force; `None` if nothing changed.
pub type ReloadFn = Box<dyn FnMut() -> Option<config::TriggerSettings> + Send>;

/// Everything that the loop touches.
pub struct AgentWorld<S> {
    /// The triggers as they were set at the start.
    pub trigger: config::TriggerSettings,
    /// There is a served build.
    pub served: bool,
    /// From a watch that is armed already.
    pub hints: Hints,
    /// Signals; the end of the stream means no more of them.
    pub signals: S,
    /// One pass.
    pub pass: PassFn,
    /// The sweep at start and end.
    pub sweep: SweepFn,
    /// What `stat` says.
    pub sight: SightFn,
    /// SIGHUP.
    pub reload: ReloadFn,
    /// Which marker was acted on.
    pub marker_store: Box<dyn MarkerStore>,
    /// Who is told.
    pub observer: Box<dyn Observer>,
}

/// Keeps, across restarts, which touch of the marker was last acted on.
pub trait MarkerStore: Send {
    /// The marker as it was when it was last acted on.
    fn last_handled(&self) -> Option<FileStamp>;

    /// Keeps a new one.
    ///
    /// # Errors
    ///
    /// If it cannot be written down: then the marker is acted on again at the next start.
    fn save(&mut self, stamp: FileStamp) -> io::Result<()>;
}

/// How the agent came to its end. Either way its work is done as far as it could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Stopped by a signal, and swept.
    Stopped,
    /// Stopped by a signal, but the pass or the sweep did not end in time. The
    /// caller must not wait for the runtime's threads; the next start sweeps.
    StopTimedOut,
}
