//! The environment, and what `.env` adds to it.
//!
//! The only file that reads variables of the process, and the names of all that
//! it reads. An empty variable counts as unset; what the environment sets, `.env`
//! does not change. What a value means is decided where it is used.

use std::ffi::OsString;
use std::path::PathBuf;

use super::ConfigError;
use super::dotenv::DotEnv;
use super::origin::{Sourced, ValueOrigin};

/// The settings file.
pub(super) const REINDEXD_CONFIG: &str = "REINDEXD_CONFIG";
/// The id of the system's boot.
const REINDEXD_BOOT_ID: &str = "REINDEXD_BOOT_ID";
/// The directory into which the service manager puts credentials.
pub(super) const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// `source.database`, as a URL.
pub(super) const DATABASE_URL: &str = "DATABASE_URL";
/// `publish.index`.
pub(super) const FAISS_INDEX_PATH: &str = "FAISS_INDEX_PATH";
/// `publish.metadata`.
pub(super) const METADATA_PATH: &str = "METADATA_PATH";
/// `embedding.provider`; unknown to `ingest.py`.
pub(super) const EMBEDDING_PROVIDER: &str = "EMBEDDING_PROVIDER";
/// `embedding.model`.
pub(super) const EMBEDDING_MODEL: &str = "EMBEDDING_MODEL";
/// `embedding.dimension`.
pub(super) const OUTPUT_DIM: &str = "OUTPUT_DIM";
/// `embedding.batch_size`.
pub(super) const INGEST_BATCH_SIZE: &str = "INGEST_BATCH_SIZE";
/// `embedding.base_url`, for gemini alone.
pub(super) const GOOGLE_GEMINI_BASE_URL: &str = "GOOGLE_GEMINI_BASE_URL";
/// The key for gemini, before [`GEMINI_API_KEY`].
pub(super) const GOOGLE_API_KEY: &str = "GOOGLE_API_KEY";
/// The key for gemini.
pub(super) const GEMINI_API_KEY: &str = "GEMINI_API_KEY";
/// The key for openai.
pub(super) const OPENAI_API_KEY: &str = "OPENAI_API_KEY";

/// What an environment file puts around a value, and `docker --env-file` leaves there: both quotes.
pub(super) const QUOTES: [char; 2] = ['\u{22}', '\u{27}'];

/// Every variable that a `.env` may set.
const OF_DOTENV: [&str; 11] = [
    DATABASE_URL,
    FAISS_INDEX_PATH,
    METADATA_PATH,
    EMBEDDING_PROVIDER,
    EMBEDDING_MODEL,
    OUTPUT_DIM,
    INGEST_BATCH_SIZE,
    GOOGLE_GEMINI_BASE_URL,
    GOOGLE_API_KEY,
    GEMINI_API_KEY,
    OPENAI_API_KEY,
];

/// Looks up variables, in the environment first.
pub(super) struct Variables<'a> {
    env: &'a dyn Fn(&str) -> Option<OsString>,
    dotenv: DotEnv,
}

impl<'a> Variables<'a> {
    pub(super) fn new(env: &'a dyn Fn(&str) -> Option<OsString>, dotenv: DotEnv) -> Self {
        Self { env, dotenv }
    }

    /// A variable's value with its origin; `None` if it is unset or blank.
    pub(super) fn get(&self, name: &'static str) -> Result<Option<Sourced<String>>, ConfigError> {
        if let Some(value) = self.environment(name)? {
            return Ok(Some(Sourced { value, origin: ValueOrigin::Environment(name) }));
        }
        let value = self.dotenv(name).map(str::to_owned);
        Ok(value.map(|value| Sourced { value, origin: ValueOrigin::DotEnv(name) }))
    }

    /// A variable of `.env`, whether or not the environment has it too.
    pub(super) fn dotenv(&self, name: &str) -> Option<&str> {
        self.dotenv.values.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// A variable of the environment itself.
    pub(super) fn environment(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match (self.env)(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) if is_quoted(value.trim()) => Err(ConfigError::Variable {
                name,
                message: "has quotes around its value, which `docker --env-file` keeps; expected it without"
                    .to_owned(),
            }),
            Some(Ok(value)) => Ok(Some(value).filter(|value| !value.trim().is_empty())),
            Some(Err(_)) => Err(ConfigError::Variable { name, message: "is not UTF-8".to_owned() }),
        }
    }

    /// Variables that only this `.env` sets; it is read by other commands and not by this one.
    pub(super) fn set_only_by(&self, unread: &DotEnv) -> Vec<&'static str> {
        let in_file = |name: &str| unread.values.get(name).is_some_and(|value| !value.trim().is_empty());
        let in_env = |name: &str| (self.env)(name).is_some_and(|value| !value.is_empty());
        OF_DOTENV.into_iter().filter(|name| in_file(name) && !in_env(name)).collect()
    }

    /// Lines of `.env` that are not `KEY=VALUE`.
    pub(super) fn unreadable_lines(&self) -> &[usize] {
        &self.dotenv.unreadable_lines
    }
}

fn is_quoted(value: &str) -> bool {
    value.len() > 1 && QUOTES.iter().any(|&quote| value.starts_with(quote) && value.ends_with(quote))
}

/// A variable of the process itself.
#[allow(clippy::disallowed_methods, reason = "the one file that reads the environment")]
pub(super) fn of_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Whether the user asked for no colour, by <https://no-color.org>.
#[must_use]
pub fn no_color() -> bool {
    of_process("NO_COLOR").is_some_and(|value| !value.is_empty())
}

/// The id of the system's boot as the service manager passes it to a service that is shown no `/proc/sys`.
#[must_use]
pub(crate) fn boot_id() -> Option<String> {
    of_process(REINDEXD_BOOT_ID)?.into_string().ok().filter(|id| !id.is_empty())
}

/// Whether a service manager started this process and waits for its messages.
#[must_use]
pub fn is_managed() -> bool {
    of_process("NOTIFY_SOCKET").is_some_and(|socket| !socket.is_empty())
}

/// Whether standard error leads to the journal.
///
/// The variable alone does not say so: a child may have been given another
/// standard error. `JOURNAL_STREAM` names device and inode of the one it means.
#[must_use]
pub fn logs_to_journal() -> bool {
    let Some(Ok(stream)) = of_process("JOURNAL_STREAM").map(OsString::into_string) else { return false };
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether requests may go through a proxy.
pub(crate) fn has_proxy() -> bool {
    ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"]
        .into_iter()
        .any(|name| of_process(name).is_some())
}

/// Where SQLite looks first for room for its temporary files.
pub(crate) fn sqlite_temporary_directories() -> impl Iterator<Item = PathBuf> {
    ["SQLITE_TMPDIR", "TMPDIR"].into_iter().filter_map(of_process).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::config::dotenv;

    #[test]
    fn dotenv_fills_what_the_environment_leaves_empty() {
        let env = |name: &str| match name {
            EMBEDDING_MODEL => Some("from-env".into()),
            DATABASE_URL => Some("".into()),
            OUTPUT_DIM => Some("  ".into()),
            METADATA_PATH => Some(OsString::from_vec(vec![0xff])),
            _ => None,
        };
        let file =
            "EMBEDDING_MODEL=a\nDATABASE_URL=b\nOUTPUT_DIM=c\nFAISS_INDEX_PATH=d\nINGEST_BATCH_SIZE=\n";
        let variables = Variables::new(&env, dotenv::parse(file, &|_| None));
        for (name, expected) in [
            (EMBEDDING_MODEL, Some(("from-env", "environment EMBEDDING_MODEL"))),
            (DATABASE_URL, Some(("b", ".env DATABASE_URL"))),
            (OUTPUT_DIM, Some(("c", ".env OUTPUT_DIM"))),
            (FAISS_INDEX_PATH, Some(("d", ".env FAISS_INDEX_PATH"))),
            (INGEST_BATCH_SIZE, None),
            (GOOGLE_API_KEY, None),
        ] {
            let given = variables.get(name).unwrap().map(|given| (given.value, given.origin.to_string()));
            let expected = expected.map(|(value, origin)| (value.to_owned(), origin.to_owned()));
            assert_eq!(given, expected, "{name}");
        }
        let error = variables.get(METADATA_PATH).unwrap_err().to_string();
        assert_eq!(error, "environment variable METADATA_PATH is not UTF-8");
    }
}
