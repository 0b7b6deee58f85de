//! Where log lines go: standard error, as text or JSON, or the journal.
//!
//! The agent never waits until its lines are read: `queue`. A command writes
//! to standard error itself, so that its lines and its messages keep their order.
//! Colour appears only on a terminal. The form of the lines is fixed at the
//! start of the process; the level can change while it runs.

mod journal;
mod line;
mod queue;
mod visible_json;

use std::io::{IsTerminal, Write};
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogFormat, LogSettings};
use journal::Journal;
use line::LineFormat;
use queue::{LogLine, LogQueue, QueueWriter};
use visible_json::VisibleJson;

/// How long the last lines may take to be read before the process ends without them.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(250);

/// Waits for the lines that are not yet written.
static FLUSH: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// What libraries log below a warning concerns their authors. One that cannot read certificates warns once
/// for each of them; what that leads to is in the error of the connection.
const LIBRARIES: &str = "notify=warn,rustls_platform_verifier=error";

/// Replaces the filter of the running process.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Starts logging. The agent logs its whole story; a command warnings and errors
/// only, unless the settings name another level than the default.
pub(crate) fn start(settings: &LogSettings, agent: bool) {
    let level = if agent || settings.level != "info" { settings.level.as_str() } else { "warn" };
    let (filter, handle) = reload::Layer::new(filter(level));
    // Set once, at the start of the process.
    SET_FILTER.get_or_init(|| {
        Box::new(move |filter| {
            if handle.reload(filter).is_err() {
                tracing::warn!("log: the level cannot be changed and stays as it is");
            }
        })
    });
    let lines = lines(settings.format, agent);
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_err() {
        eprintln!("reindexd: logging was already started");
    }
}

fn lines(format: LogFormat, agent: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    let journal = match format {
        LogFormat::Journal => true,
        LogFormat::Auto => crate::config::logs_to_journal(),
        LogFormat::Text | LogFormat::Json => false,
    };
    if journal {
        match Journal::at(journal::SOCKET, report_lost) {
            Ok(journal) => {
                flush_at_end(&journal.0);
                return journal.boxed();
            }
            Err(error) => {
                eprintln!("reindexd: cannot log to the journal, logging to standard error: {error}");
            }
        }
    }
    let colour = std::io::stderr().is_terminal() && !crate::config::no_color();
    let writer =
        if agent { BoxMakeWriter::new(queued_stderr()) } else { BoxMakeWriter::new(std::io::stderr) };
    let writer = if format == LogFormat::Json { BoxMakeWriter::new(VisibleJson(writer)) } else { writer };
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(LineFormat)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(colour);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Journal if agent => lines.boxed(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Journal => lines.without_time().boxed(),
    }
}

/// Standard error behind a queue.
fn queued_stderr() -> QueueWriter {
    // A standard error that was closed takes nothing, and there is no other place to report it.
    let write = |line: &Vec<u8>| _ = std::io::stderr().write_all(line);
    let queue = LogQueue::start(write, report_lost);
    flush_at_end(&queue);
    QueueWriter(queue)
}

fn report_lost(lines: u64) {
    tracing::warn!(lines, "log: lines were lost because nothing read them for a while");
}

fn flush_at_end<T: LogLine>(queue: &LogQueue<T>) {
    let queue = queue.clone();
    // Set once, at the start of the process.
    FLUSH.get_or_init(|| Box::new(move || queue.flush(FLUSH_TIMEOUT)));
}

/// Waits a moment for lines that are not yet written: before a message of ours, and at the end.
pub(crate) fn flush() {
    if let Some(flush) = FLUSH.get() {
        flush();
    }
}

/// Changes the level of the running process.
pub(crate) fn set_level(settings: &LogSettings) {
    if let Some(set_filter) = SET_FILTER.get() {
        set_filter(filter(&settings.level));
    }
}

/// The settings have been checked, so every level that arrives here is a known one. The lines of a
/// library come at its own level only where the settings name it.
fn filter(level: &str) -> EnvFilter {
    let levels = format!("{LIBRARIES},{level}");
    EnvFilter::try_new(levels).unwrap_or_else(|_| EnvFilter::new("info"))
}
