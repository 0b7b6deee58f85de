//! Reads the settings: finds the file, lays the layers over each other, checks every value.
//!
//! [`from_inputs`] takes the environment as an argument; [`from_process`] takes it from
//! the process. Nothing here opens the source, the published files or a socket.

use std::ffi::OsString;
use std::path::Path;

use super::origin::Setting;
use super::resolved::Resolved;
use super::{
    Config, ConfigError, announce, check, dotenv, embedding, evaluate, file, keys, parse, process_env, source,
};

/// The last place where a settings file is looked for.
pub const SYSTEM_FILE: &str = "/etc/reindexd/reindexd.toml";

/// Where settings are read from.
pub struct Inputs<'a> {
    /// The file named on the command line.
    pub flag: Option<&'a Path>,
    pub env: &'a dyn Fn(&str) -> Option<OsString>,
    /// Where relative paths of settings and key files begin; empty for the process's own directory.
    pub cwd: &'a Path,
    /// The last place where a settings file is looked for: [`SYSTEM_FILE`].
    pub system_file: &'a Path,
    /// Whether a `.env` may fill in what the environment does not set.
    pub dotenv: bool,
    /// Whether the API key is read. A command that sends no request to the provider
    /// may not be allowed to read it: a sweep after the service's end, `status` of another user.
    pub key: bool,
}

/// Settings that were read, and what the operator should know about them.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Every key with its value and origin, in the order of the file.
    pub origins: Vec<Setting>,
    /// What is worth a warning but is not an error.
    pub notes: Vec<String>,
}

/// Reads and checks the settings.
///
/// # Errors
///
/// The first [`ConfigError`] found; its class says whether an operator or time can settle it.
pub fn from_inputs(inputs: &Inputs<'_>) -> Result<Loaded, ConfigError> {
    let settings = file::find(inputs.flag, inputs.env, inputs.cwd, inputs.system_file)?;
    let raw = settings.as_ref().map(parse::parse).transpose()?.unwrap_or_default();
    let dotenv = if inputs.dotenv && settings.is_none() {
        file::dotenv(inputs.cwd, inputs.env)?
    } else {
        dotenv::DotEnv::default()
    };
    let variables = process_env::Variables::new(inputs.env, dotenv);
    let mut resolved = Resolved::new(settings.as_ref(), &variables, inputs.cwd);
    resolved.settle_directory(&keys::DIRECTORY, raw.directory.as_ref())?;
    for line in variables.unreadable_lines() {
        resolved.note(format!(".env line {line} is ignored, expected KEY=VALUE"));
    }
    if !inputs.dotenv && settings.is_none() {
        note_unread_dotenv(inputs, &mut resolved);
    }
    let (source, document) = source::source(&raw.source, &raw.document, &mut resolved)?;
    let config = Config {
        source,
        document,
        trigger: raw.trigger.settle(&mut resolved)?,
        embedding: embedding::embedding(&raw.embedding, &mut resolved, inputs.key)?,
        publish: raw.publish.settle(&mut resolved)?,
        guard: raw.guard.settle(&mut resolved)?,
        evaluate: evaluate::evaluate(&raw.evaluate, &mut resolved)?,
        announce: announce::announce(&raw.announce, &mut resolved)?,
        search: raw.search.settle(&mut resolved)?,
        log: raw.log.settle(&mut resolved)?,
        file: settings.as_ref().map(|file| file.path.clone()),
    };
    check::max_wait(&config.trigger, &resolved)?;
    check::path_conflicts(&config, &resolved)?;
    let (origins, notes) = resolved.finish();
    Ok(Loaded { config, origins, notes })
}

/// Says that `run` does not have what a `.env` gives to the commands beside it. One that cannot be
/// read gives nothing to them either.
fn note_unread_dotenv(inputs: &Inputs<'_>, resolved: &mut Resolved<'_>) {
    let unread = file::dotenv(inputs.cwd, inputs.env).unwrap_or_default();
    let names = resolved.variables.set_only_by(&unread);
    if !names.is_empty() {
        resolved.note(format!(
            "`run` does not read .env, which sets {} for commands in this directory; put them into the environment or a settings file",
            names.join(", ")
        ));
    }
}

/// Reads and checks the settings of this process; `dotenv` and `key` as in [`Inputs`].
///
/// # Errors
///
/// As for [`from_inputs`].
pub fn from_process(flag: Option<&Path>, dotenv: bool, key: bool) -> Result<Loaded, ConfigError> {
    from_inputs(&Inputs {
        flag,
        env: &process_env::of_process,
        cwd: Path::new(""),
        system_file: Path::new(SYSTEM_FILE),
        dotenv,
        key,
    })
}
