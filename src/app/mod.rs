//! What the daemon and the commands share.
//!
//! [`load`] reads the settings and starts the log; [`Context`] is what remains
//! in hand from then on: settings, builds, runtime, and the request to stop.
//! The clock and the embedding provider come from here as well, and the exit
//! codes. Which command runs, and what it prints, is decided by `cli`.

pub(crate) mod print;
pub(crate) mod threads;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::adapters::builds::uptime::Uptime;
use crate::adapters::builds::{Builds, Mode, error_chain};
use crate::adapters::embed::{self, EmbedError, Embedder};
use crate::adapters::signals::{Handlers, Signal};
use crate::adapters::source;
use crate::config::{self as settings, Config, Loaded};
use crate::domain::pass::{ErrorClass, Outcome};
use crate::domain::record::Space;
use crate::domain::source_spec::SourceSpec;
use crate::domain::stop::Stop;
use crate::flows::deliver;
use crate::flows::reconcile::{PassContext, PassError, PassProgress};
use crate::logging;

/// Done, or nothing to do.
pub const DONE: u8 = 0;
/// Failed: the old build is still served, unless the message says otherwise.
pub const FAILED: u8 = 1;
/// Settings or usage.
pub const USAGE: u8 = 2;
/// Refused by a guard.
pub const REFUSED: u8 = 3;
/// Another pass is running.
pub const BUSY: u8 = 75;

/// When a process that a stop request has not ended is ended, whatever it waits for.
const EXIT_LIMIT: Duration = Duration::from_millis(4900);

/// How the program was called, as far as its start depends on it.
pub struct StartOptions {
    pub(crate) config_file: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) is_agent: bool,
    /// The provider may be asked, or the key is shown.
    pub(crate) needs_key: bool,
}

/// Why the program did not start: an exit code and a message.
pub(crate) struct StartError {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// Ends the process soon after a stop request, whatever it waits for: with this exit code, or the signal's.
pub(crate) fn end_after_stop(handlers: &Handlers, status: Option<u8>) -> Result<(), StartError> {
    handlers.end_after_stop(EXIT_LIMIT, status).map_err(|error| StartError {
        code: FAILED,
        message: format!("cannot start the thread that answers a stop: {error}"),
    })
}

/// Reads the settings and starts the log. The agent logs the notes itself, after its first line.
pub(crate) fn load(options: &StartOptions) -> Result<Loaded, StartError> {
    if options.needs_key {
        // A core would hold the key. Where the system has no such switch, the unit's limit remains.
        rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).ok();
    }
    let from_file = options.config_file.as_deref();
    let loaded = settings::from_process(from_file, !options.is_agent, options.needs_key)
        .map_err(|error| StartError { code: code_of(error.class()), message: error_chain(&error) })?;
    check_source(&loaded.config)?;
    logging::start(&loaded.config.log, options.is_agent);
    if !options.is_agent {
        loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
    }
    Ok(loaded)
}

/// Refuses a query or condition that SQLite refuses whatever the database holds.
fn check_source(config: &Config) -> Result<(), StartError> {
    let SourceSpec::Any(source) = config.source_spec() else { return Ok(()) };
    source::check_sql(&source).map_err(|(setting, found)| StartError {
        code: USAGE,
        message: format!("{setting} is not one statement that only reads: {found}; nothing was read or made"),
    })
}

/// What the daemon and every command but `config` work with.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) space: Space,
    pub(crate) builds: Builds,
    pub(crate) json: bool,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) stop: Stop,
    /// The signal that requested `stop`.
    stopped_by: Arc<Mutex<Option<Signal>>>,
}

impl Context {
    pub(crate) fn new(config: Config, json: bool) -> Result<Self, StartError> {
        let runtime = threads::start().map_err(|message| StartError { code: FAILED, message })?;
        let builds = Builds::published(&config.publish)
            .map_err(|error| StartError { code: USAGE, message: error_chain(&error) })?;
        // Each that makes a file asks again, and fails where it is not known.
        builds.mode().unwrap_or(Mode::DEFAULT).set_umask();
        let space = config.space(local_revision);
        Ok(Self { config, space, builds, json, runtime, stop: Stop::new(), stopped_by: Arc::default() })
    }

    /// Requests `stop` at the first SIGTERM or SIGINT.
    pub(crate) fn listen_for_signals(&self, handlers: &Handlers) -> std::io::Result<()> {
        use futures_util::StreamExt;
        let _inside = self.runtime.enter();
        let mut signals = Box::pin(handlers.stream()?);
        let (stop, stopped_by) = (self.stop.clone(), Arc::clone(&self.stopped_by));
        self.runtime.spawn(async move {
            while let Some(signal) = signals.next().await {
                if signal.is_stop() {
                    *stopped_by.lock().unwrap_or_else(PoisonError::into_inner) = Some(signal);
                    stop.request();
                }
            }
        });
        Ok(())
    }

    /// Calls `act` with what a pass works with.
    pub(crate) fn with_pass<T>(
        &self,
        progress: &(dyn Fn(PassProgress<'_>) + Sync),
        act: impl FnOnce(&PassContext<'_>) -> T,
    ) -> T {
        let embedder = || embedder(&self.config);
        act(&PassContext {
            config: &self.config,
            space: self.space.clone(),
            embedder: &embedder,
            sent: embed::SentLog::default(),
            runtime: self.runtime.handle().clone(),
            stop: self.stop.clone(),
            progress,
            clock,
            uptime: Uptime::now,
        })
    }

    /// Delivers the served build once to each target that has not received it.
    pub(crate) fn deliver_once(&self) {
        let targets = deliver::targets(&self.config.announce);
        self.runtime.block_on(deliver::deliver_once(&targets, &self.builds, &self.stop, clock));
    }

    /// The exit code of a failure.
    pub(crate) fn code(&self, error: &PassError) -> u8 {
        match error.outcome() {
            Outcome::Failed(_) => code_of(error.class()),
            Outcome::Refused => REFUSED,
            Outcome::Busy => BUSY,
            Outcome::Stopped => self.stop_code(),
            Outcome::Promoted | Outcome::Unchanged | Outcome::Held => unreachable!("not an error"),
        }
    }

    /// The exit code of a command that was stopped.
    pub(crate) fn stop_code(&self) -> u8 {
        let signal = *self.stopped_by.lock().unwrap_or_else(PoisonError::into_inner);
        signal.map_or(FAILED, Signal::exit_code)
    }
}

/// The exit code of a failure of this class.
pub(crate) fn code_of(class: ErrorClass) -> u8 {
    match class {
        ErrorClass::Settings => USAGE,
        ErrorClass::Busy => BUSY,
        ErrorClass::Other => FAILED,
    }
}

/// The time of day: the one place that reads it for commands, agent and passes.
#[allow(clippy::disallowed_methods, reason = "the clock is read here and passed down")]
pub(crate) fn clock() -> Timestamp {
    Timestamp::now()
}

/// The provider that the settings name.
pub(crate) fn embedder(config: &Config) -> Result<Arc<dyn Embedder>, EmbedError> {
    embed::embedder(&config.embedding)
}

/// Names the weights that are built into the program.
fn local_revision() -> String {
    #[cfg(feature = "local")]
    return crate::adapters::embed::local::revision();
    #[cfg(not(feature = "local"))]
    return "not built".to_owned();
}
