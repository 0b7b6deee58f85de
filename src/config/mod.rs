//! The settings in force: every key has a default that runs, every value is proven.
//!
//! The sole reader of settings and environment. Layers are laid over each
//! other in one order: environment, settings file, default; for a command
//! other than `run`, and only where there is no settings file, a `.env` in the
//! working directory stands below the environment. Unknown keys are refused,
//! a bad value is answered with its place and what was expected, and where
//! each value came from is kept beside it.
//!
//! [`load`] takes the environment as an argument; [`from_process`] is the one
//! place that asks the process for it. Nothing here touches the source, the
//! published files or the network.

mod announce;
mod api_key;
mod changes;
mod check;
mod database_url;
mod dotenv;
mod duration;
mod embedding;
mod error;
mod file;
mod nearest;
mod origin;
mod paths;
mod process_env;
mod raw;
#[cfg(test)]
mod tests;
mod url;

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use api_key::{ApiKey, CREDENTIAL, read_secret};
pub use changes::{Changes, changes, reloaded};
pub use error::ConfigError;
pub use origin::Setting;

use crate::domain::record::{FORMAT_VERSION, Space};

/// The last place where a settings file is looked for.
pub const SYSTEM_FILE: &str = "/etc/reindexd/reindexd.toml";

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where records come from.
    pub source: SourceSettings,
    /// When to look.
    pub trigger: TriggerSettings,
    /// Who turns texts into vectors, and how fast.
    pub embedding: EmbeddingSettings,
    /// Where the build goes.
    pub publish: PublishSettings,
    /// When to refuse.
    pub guard: GuardSettings,
    /// Whom to tell, in this order.
    pub announce: Vec<AnnounceSettings>,
    /// What to say meanwhile.
    pub log: LogSettings,
    /// The settings file that was read.
    pub file: Option<PathBuf>,
}

/// Where records come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceSettings {
    /// The database file.
    pub database: PathBuf,
}

/// When to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerSettings {
    /// The tagging-complete file.
    pub marker: PathBuf,
    /// What is acted on.
    pub on: TriggerOn,
    /// How long the database must be silent.
    pub quiet: Duration,
    /// How long silence is waited for; never less than `quiet`.
    pub max_wait: Duration,
    /// How long the marker must be silent.
    pub marker_quiet: Duration,
    /// How often files are compared whether or not anything was heard.
    pub resync: Duration,
    /// How changes are heard of.
    pub watch: WatchMode,
    /// How often to look when polling.
    pub poll_interval: Duration,
}

/// What is acted on; one of them at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerOn {
    /// Changes of the database.
    pub database: bool,
    /// Touches of the marker.
    pub marker: bool,
}

/// How changes are heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// By inotify, and by polling where that fails.
    Auto,
    /// By inotify or not at all.
    Inotify,
    /// By polling.
    Poll,
}

/// Who turns texts into vectors, and how fast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingSettings {
    /// Whose model it is.
    pub provider: Provider,
    /// The model as the provider names it, without `models/`.
    pub model: String,
    /// Floats in a vector.
    pub dimension: usize,
    /// What the vectors are for, where the model takes it.
    pub task_type: Option<String>,
    /// Where requests go instead of the provider's own address; no slash at its end.
    pub base_url: Option<String>,
    /// What opens the provider; absent for `local`, and where nobody gave one.
    pub api_key: Option<ApiKey>,
    /// Most texts in a request.
    pub batch_size: usize,
    /// Most requests at a time.
    pub concurrency: usize,
    /// Most texts in a minute; 0 for no limit of our own.
    pub items_per_minute: u32,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long to go on without a single success.
    pub retry_budget: Duration,
}

/// Whose model it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The Gemini API.
    Gemini,
    /// Any server with `/v1/embeddings`.
    OpenAi,
    /// The model that travels with the program.
    Local,
}

/// Where the build goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishSettings {
    /// The index under the name that the API opens.
    pub index: PathBuf,
    /// The metadata under the name that the API opens.
    pub metadata: PathBuf,
    /// Builds that stay.
    pub keep: usize,
}

/// When to refuse.
#[derive(Clone, Debug, PartialEq)]
pub struct GuardSettings {
    /// The largest share of records that may vanish at once.
    pub max_shrink: f64,
    /// The most texts to buy in one build; 0 for no limit.
    pub max_texts: u64,
    /// The most refused rows to leave out.
    pub quarantine: u64,
}

/// One way to tell the API of a new build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceSettings {
    /// By request or by command.
    pub method: AnnounceMethod,
    /// An address whose answer holds the build's id once the API serves it.
    pub confirm: Option<String>,
    /// A file with a bearer token for the requests; read with [`read_secret`] when it is needed.
    pub token_file: Option<PathBuf>,
    /// How long one attempt may take.
    pub timeout: Duration,
}

/// By request or by command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnnounceMethod {
    /// POST the manifest's summary to this address.
    Post(String),
    /// Run this program with these arguments; no shell.
    Command(Vec<String>),
}

/// What to say meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// A level, or a list of `target=level`.
    pub level: String,
    /// In which form.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The journal's own where it listens, else text.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
    /// The journal's own.
    Journal,
}

impl Config {
    /// The space of the vectors. `local_revision` names the weights that travel
    /// with the program; it is asked for with provider `local` alone.
    #[must_use]
    pub fn space(&self, local_revision: impl FnOnce() -> String) -> Space {
        let EmbeddingSettings { provider, model, dimension, task_type, .. } = &self.embedding;
        Space {
            provider: provider.to_string(),
            model: match provider {
                Provider::Gemini | Provider::OpenAi => model.clone(),
                Provider::Local => format!("{model}@{}", local_revision()),
            },
            dimension: *dimension,
            task_type: task_type.clone(),
            text_format: FORMAT_VERSION,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gemini => "gemini",
            Self::OpenAi => "openai",
            Self::Local => "local",
        })
    }
}

/// What settings are made from.
pub struct Inputs<'a> {
    /// The file named on the command line.
    pub flag: Option<&'a Path>,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Where relative files of settings and keys are read; empty for the process's own.
    pub cwd: &'a Path,
    /// The last place where a settings file is looked for: [`SYSTEM_FILE`].
    pub system_file: &'a Path,
    /// Whether a `.env` may fill in what the environment does not set.
    pub dotenv: bool,
    /// Whether the API key is looked for. Who asks no provider may have no way
    /// to it: a sweep after the service's end, somebody who looks at the status.
    pub key: bool,
}

/// Settings that were read, and what to say of them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings in force.
    pub config: Config,
    /// Every key with its value and origin, in the order of the file.
    pub origins: Vec<Setting>,
    /// What the operator should know that is no error.
    pub notes: Vec<String>,
}

/// Reads and checks the settings.
///
/// # Errors
///
/// The first [`ConfigError`] found; all of them belong to exit code 2.
pub fn load(inputs: &Inputs<'_>) -> Result<Loaded, ConfigError> {
    let settings = file::find(inputs)?;
    let raw = settings.as_ref().map(raw::parse).transpose()?.unwrap_or_default();
    let dotenv = if inputs.dotenv && settings.is_none() {
        file::dotenv(inputs.cwd)?
    } else {
        dotenv::DotEnv::default()
    };
    let variables = process_env::Variables::new(inputs.env, dotenv);
    let mut sheet = origin::Resolved::new(settings.as_ref(), &variables);
    for line in variables.unreadable_lines() {
        sheet.note(format!(".env line {line} is no KEY=VALUE and was passed over"));
    }
    let config = Config {
        source: check::source(&raw.source, &mut sheet, inputs.cwd)?,
        trigger: check::trigger(&raw.trigger, &mut sheet)?,
        embedding: embedding::embedding(&raw.embedding, &mut sheet, inputs.key.then_some(inputs.cwd))?,
        publish: check::publish(&raw.publish, &mut sheet)?,
        guard: check::guard(&raw.guard, &mut sheet)?,
        announce: announce::announce(&raw.announce, &mut sheet)?,
        log: check::log(&raw.log, &mut sheet)?,
        file: settings.as_ref().map(|file| file.path.clone()),
    };
    check_path_conflicts(&config, &sheet)?;
    let (origins, notes) = sheet.finish();
    Ok(Loaded { config, origins, notes })
}

/// Reads and checks the settings of this process; `dotenv` and `key` as in [`Inputs`].
///
/// # Errors
///
/// As [`load`].
#[allow(clippy::disallowed_methods, reason = "the one place that reads the environment")]
pub fn from_process(flag: Option<&Path>, dotenv: bool, key: bool) -> Result<Loaded, ConfigError> {
    let env = |name: &str| std::env::var_os(name);
    load(&Inputs { flag, env: &env, cwd: Path::new(""), system_file: Path::new(SYSTEM_FILE), dotenv, key })
}

/// Whether the person asked for no colour, by <https://no-color.org>.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one file that reads the environment")]
pub fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// Whether a service manager started this process and wants to hear from it.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one file that reads the environment")]
pub fn is_managed() -> bool {
    std::env::var_os("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// Whether standard error leads to the journal.
///
/// The variable alone does not say so: a child may have been given another
/// standard error. `JOURNAL_STREAM` names device and inode of the one it means.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one file that reads the environment")]
pub fn logs_to_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn check_path_conflicts(config: &Config, sheet: &origin::Resolved<'_>) -> Result<(), ConfigError> {
    let all = [
        ("publish.index", config.publish.index.as_path()),
        ("source.database", &config.source.database),
        ("trigger.marker", &config.trigger.marker),
        ("publish.metadata", &config.publish.metadata),
    ];
    match paths::conflict(&all, &config.publish.index) {
        None => Ok(()),
        Some((key, expected)) => {
            let path = all.iter().find(|(name, _)| *name == key).map_or(Path::new(""), |(_, path)| path);
            Err(sheet.refused(key, path, expected))
        }
    }
}
