//! The commands: arguments in, words for people or JSON for programs out, an exit code.
//!
//! One file a command. What is common stands here: the arguments, the world a
//! pass works in, how signals stop it, and how an answer is printed. Nothing
//! is decided here.

mod build;
mod config;
mod history;
mod plan;
mod progress;
mod rollback;
mod search;
mod status;
mod sweep;
pub(crate) mod table;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::{Parser, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::adapters::builds::{Builds, error_chain};
use crate::adapters::embed::{self, EmbedError, Embedder};
use crate::adapters::signals::{Handlers, Signal};
use crate::app::threads;
use crate::config::{self as settings, Config, Loaded};
use crate::domain::pass::{ErrorClass, Outcome};
use crate::domain::record::Space;
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

/// Keeps a Faiss index and its metadata true to the tagged rows of a SQLite table.
#[derive(Debug, Parser)]
#[command(name = "reindexd", version, arg_required_else_help = true)]
pub struct Args {
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help = "Settings file (else $REINDEXD_CONFIG, ./reindexd.toml, /etc/reindexd/reindexd.toml)"
    )]
    config: Option<PathBuf>,
    /// Print one JSON object on standard output, and nothing else there
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The agent: watch, and keep the served build true
    Run,
    /// Reconcile once and exit: what ingest.py did
    Build(build::BuildArgs),
    /// What a build would do; writes nothing
    Plan {
        /// Exit 1 if there is anything to do
        #[arg(long)]
        check: bool,
    },
    /// Served build, drift from the database, last attempt, agent
    Status(status::StatusArgs),
    /// Prove the served build, or BUILD, against its manifest
    Verify {
        /// A build's id
        build: Option<String>,
    },
    /// Builds kept, and the last attempts
    History,
    /// Serve the build promoted before, or BUILD, and hold it until the table changes
    Rollback {
        /// A build's id
        build: Option<String>,
        /// End the hold instead
        #[arg(long, conflicts_with = "build")]
        release: bool,
    },
    /// Ask the served build
    Search {
        /// The question, in plain words
        query: String,
        /// How many answers
        #[arg(short, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
        k: u16,
    },
    /// Remove stale staging
    Sweep,
    /// The settings in force and where each came from
    Config,
}

impl Command {
    /// Whether it may ask the provider, or tells what it would ask it with.
    fn needs_key(&self) -> bool {
        match self {
            Self::Run | Self::Build(_) | Self::Search { .. } | Self::Config => true,
            Self::Plan { .. }
            | Self::Status(_)
            | Self::Verify { .. }
            | Self::History
            | Self::Rollback { .. }
            | Self::Sweep => false,
        }
    }
}

/// What every command gets.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) space: Space,
    pub(crate) json: bool,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) stop: Stop,
    /// The signal that cancelled `stop`.
    stopped_by: Arc<Mutex<Option<Signal>>>,
}

/// Runs the command that the arguments name, and gives the exit code.
#[must_use]
pub fn main(args: &Args, handlers: Handlers) -> u8 {
    let agent = matches!(args.command, Command::Run);
    let loaded = match settings::from_process(args.config.as_deref(), !agent, args.command.needs_key()) {
        Ok(loaded) => loaded,
        Err(error) => return args.not_started(USAGE, &error_chain(&error)),
    };
    logging::start(&loaded.config.log, agent);
    for note in &loaded.notes {
        tracing::warn!("{note}");
    }
    if matches!(args.command, Command::Config) {
        return config::run(args.json, &loaded);
    }
    let runtime = match threads::start() {
        Ok(runtime) => runtime,
        Err(words) => return args.not_started(FAILED, &words),
    };
    let Loaded { config, .. } = loaded;
    let space = config.space(local_revision);
    let stop = Stop::new();
    let context = Context { config, space, json: args.json, runtime, stop, stopped_by: Arc::default() };
    if agent {
        return crate::daemon::run(context, args.config.as_deref(), handlers);
    }
    if let Err(error) = context.listen_for_signals(&handlers) {
        return args.not_started(FAILED, &format!("cannot hear signals: {error}"));
    }
    let code = match &args.command {
        Command::Build(options) => build::run(&context, options),
        Command::Plan { check } => plan::plan(&context, *check),
        Command::Status(options) => status::run(&context, options),
        Command::Verify { build } => verify::run(&context, build.as_deref()),
        Command::History => history::run(&context),
        Command::Rollback { build, release } => rollback::run(&context, build.clone(), *release),
        Command::Search { query, k } => search::run(&context, query, usize::from(*k)),
        Command::Sweep => sweep::run(&context),
        Command::Run | Command::Config => unreachable!("answered above"),
    };
    // Requests that are still open must not keep the process.
    context.runtime.shutdown_background();
    code
}

/// Prints clap's words; help and version are no failure.
#[must_use]
pub fn usage(error: &clap::Error) -> u8 {
    // A closed terminal is no reason to fail otherwise.
    error.print().ok();
    if !error.use_stderr() {
        return DONE;
    }
    // The arguments could not be read, but whoever wrote this one waits for an object.
    if std::env::args_os().any(|argument| argument == "--json") {
        let words = error.to_string();
        let first = words.lines().next().unwrap_or_default();
        print_json(&json!({ "error": first.strip_prefix("error: ").unwrap_or(first) }));
    }
    USAGE
}

impl Args {
    /// Says why the command did not even begin.
    fn not_started(&self, code: u8, words: &str) -> u8 {
        let object = match self.command {
            Command::Build(_) => build::not_started(words),
            Command::Verify { .. } => verify::not_verified(None, words),
            _ => json!({ "error": words }),
        };
        if self.json {
            print_json(&object);
        }
        print_error(words);
        code
    }
}

impl Context {
    /// Cancels `stop` at the first SIGTERM or SIGINT.
    fn listen_for_signals(&self, handlers: &Handlers) -> std::io::Result<()> {
        use futures_util::StreamExt;
        let _inside = self.runtime.enter();
        let mut signals = Box::pin(handlers.stream()?);
        let (stop, stopped_by) = (self.stop.clone(), Arc::clone(&self.stopped_by));
        self.runtime.spawn(async move {
            while let Some(signal) = signals.next().await {
                if signal.is_stop() {
                    *stopped_by.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(signal);
                    stop.request();
                }
            }
        });
        Ok(())
    }

    /// Lets `act` work in the world of a pass.
    fn with_pass<T>(
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
        })
    }

    /// Delivers the served build once to each target that has not received it.
    fn deliver_once(&self) {
        let publish = &self.config.publish;
        let Ok(builds) = Builds::at(&publish.index, &publish.metadata) else { return };
        let targets = deliver::targets(&self.config.announce);
        self.runtime.block_on(deliver::deliver_once(&targets, &builds, &self.stop, clock));
    }

    /// The exit code of a failure.
    fn code(&self, error: &PassError) -> u8 {
        match error.outcome() {
            Outcome::Failed(_) if error.class() == ErrorClass::Settings => USAGE,
            Outcome::Failed(_) => FAILED,
            Outcome::Refused => REFUSED,
            Outcome::Busy => BUSY,
            Outcome::Stopped => self.stop_code(),
            Outcome::Promoted | Outcome::Unchanged | Outcome::Held => unreachable!("not an error"),
        }
    }

    /// Ends a command that was stopped before it had an answer.
    fn stopped(&self) -> u8 {
        if self.json {
            print_json(&json!({ "error": "stopped" }));
        }
        self.stop_code()
    }

    fn stop_code(&self) -> u8 {
        let signal = *self.stopped_by.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        signal.map_or(FAILED, Signal::exit_code)
    }

    /// Prints a failed pass where no answer of the command's own is due.
    fn fail(&self, error: &PassError) -> u8 {
        fail(self.json, self.code(error), &error.to_line())
    }
}

/// The time of day: the one place that reads it for commands, agent and passes.
#[allow(clippy::disallowed_methods, reason = "the front reads the clock and hands it down")]
pub(crate) fn clock() -> Timestamp {
    Timestamp::now()
}

/// The provider that the settings name.
pub(crate) fn embedder(config: &Config) -> Result<Arc<dyn Embedder>, EmbedError> {
    embed::embedder(&config.embedding)
}

/// What names the weights that travel with the program.
fn local_revision() -> String {
    #[cfg(feature = "local")]
    return crate::adapters::embed::local::revision();
    #[cfg(not(feature = "local"))]
    return "not built".to_owned();
}

/// Prints words for people on standard output. A reader that went away is no failure.
fn print(words: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(words.as_bytes()).and_then(|()| out.flush()).is_err() {
        tracing::debug!("standard output is closed");
    }
}

/// Prints the one object that `--json` promises.
pub(crate) fn print_json(value: &impl Serialize) {
    let mut words = serde_json::to_string(value).expect("answers have string keys only");
    words.push('\n');
    print(&words);
}

/// Says why a command failed: on standard error, and as an object where that is promised.
pub(crate) fn fail(json: bool, code: u8, words: &str) -> u8 {
    if json {
        print_json(&json!({ "error": words }));
    }
    print_error(words);
    code
}

/// Says on standard error why a command failed.
fn print_error(words: &str) {
    // A level for the journal, which takes it off the line; unmarked, an error counts as information.
    let mark = if settings::logs_to_journal() { "<3>" } else { "" };
    eprintln!("{mark}reindexd: {words}");
}

/// Prints warnings of a pass, once each as they come.
fn log_warnings(progress: PassProgress<'_>) {
    if let PassProgress::Warning(words) = progress {
        tracing::warn!("{words}");
    }
}
