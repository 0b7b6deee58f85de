//! Where log lines go: standard error, with colour only on a terminal, or as JSON; or the journal.

mod journal;

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::config::{LogFormat, LogSettings};
use journal::Journal;

/// Sets another filter; the form of the lines stays as it began.
static SET_FILTER: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Begins to log. The agent tells its story; a command only what is worth a look.
pub(crate) fn start(settings: &LogSettings, agent: bool) {
    let level = if agent || settings.level != "info" { settings.level.as_str() } else { "warn" };
    let (filter, handle) = reload::Layer::new(filter(level));
    // Begun once, at the start of the process.
    SET_FILTER.get_or_init(|| {
        Box::new(move |filter| {
            if handle.reload(filter).is_err() {
                tracing::warn!("the log level stays as it is");
            }
        })
    });
    let lines = lines(settings.format, agent);
    if tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().is_err() {
        eprintln!("reindexd: logging had begun before");
    }
}

/// How a line looks.
fn lines(format: LogFormat, agent: bool) -> Box<dyn Layer<Registry> + Send + Sync> {
    let journal = match format {
        LogFormat::Journal => true,
        LogFormat::Auto => crate::config::logs_to_journal(),
        LogFormat::Text | LogFormat::Json => false,
    };
    if journal {
        match Journal::at(journal::SOCKET) {
            Ok(journal) => return journal.boxed(),
            Err(error) => eprintln!("reindexd: no journal to log to, so to standard error: {error}"),
        }
    }
    let colour = std::io::stderr().is_terminal() && !crate::config::no_color();
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(debug_fn(write_field))
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(colour);
    match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Journal if agent => lines.boxed(),
        LogFormat::Auto | LogFormat::Text | LogFormat::Journal => lines.without_time().boxed(),
    }
}

/// Writes one field of a line for people. A field whose name begins with `_`
/// stands in the message already: it is for the journal and for JSON.
pub(crate) fn write_field(
    out: &mut Writer<'_>,
    field: &tracing::field::Field,
    value: &dyn std::fmt::Debug,
) -> std::fmt::Result {
    match field.name() {
        "message" => write!(out, "{value:?}"),
        hidden if hidden.starts_with('_') => Ok(()),
        name => write!(out, " {name}={value:?}"),
    }
}

/// Puts another level in force.
pub(crate) fn set_level(settings: &LogSettings) {
    if let Some(change) = SET_FILTER.get() {
        change(filter(&settings.level));
    }
}

/// Settings were checked, so that only a level which this build knows comes here.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("info"))
}
