//! What a new settings file begins with: values of the environment, or of a `.env` of `ingest.py`.

use std::path::{Path, PathBuf};

use super::keys::SECTIONS;
use super::load::{Inputs, from_inputs};
use super::{ConfigError, process_env};

/// Values for a settings file that does not exist yet.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct InitialValues {
    /// Keys with their section, each with a value as TOML.
    pub values: Vec<(String, String)>,
    /// The database that the environment names, or the default.
    pub database: PathBuf,
    /// Whether the environment has a key of a provider; it is never written.
    pub has_api_key: bool,
}

/// Reads what the environment of this process and a `.env` in `cwd` say.
///
/// # Errors
///
/// [`ConfigError`] if one of their values is refused.
pub fn initial_values(cwd: &Path) -> Result<InitialValues, ConfigError> {
    initial_values_from(&process_env::of_process, cwd)
}

fn initial_values_from(
    env: &dyn Fn(&str) -> Option<std::ffi::OsString>,
    cwd: &Path,
) -> Result<InitialValues, ConfigError> {
    let without_file = |name: &str| (name != process_env::REINDEXD_CONFIG).then(|| env(name)).flatten();
    let system_file = cwd.join("no settings file");
    let loaded = from_inputs(&Inputs {
        flag: None,
        env: &without_file,
        cwd,
        system_file: &system_file,
        dotenv: true,
        key: true,
    })?;
    let is_given = |origin: &str| origin.starts_with("environment ") || origin.starts_with(".env ");
    let values = SECTIONS.iter().flat_map(|section| section.keys).filter_map(|key| {
        let given = loaded.origins.iter().find(|setting| setting.key == key.path())?;
        (is_given(&given.origin) && key.name != "api_key_file").then(|| {
            let is_bare = key.default.is_some_and(|default| !default.starts_with('"'));
            (key.path(), if is_bare { given.value.clone() } else { quoted(&given.value) })
        })
    });
    Ok(InitialValues {
        values: values.collect(),
        database: loaded.config.source.database,
        has_api_key: loaded.config.embedding.api_key.is_some(),
    })
}

/// A text as TOML: JSON's escapes are among those of TOML.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a text is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_of_ingest_py_becomes_values_without_its_key() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(".env"), "OUTPUT_DIM=256\nGEMINI_API_KEY=key-of-a-test\n").unwrap();
        let env = |name: &str| (name == "DATABASE_URL").then(|| "sqlite:///x \"y\".db".into());

        let found = initial_values_from(&env, folder.path()).unwrap();

        let values: Vec<_> = found.values.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(values, [("source.database", r#""x \"y\".db""#), ("embedding.dimension", "256")]);
        assert_eq!((found.database, found.has_api_key), ("x \"y\".db".into(), true));
    }

    #[test]
    fn without_an_environment_there_is_no_value() {
        let folder = tempfile::tempdir().unwrap();
        let found = initial_values_from(&|_| None, folder.path()).unwrap();
        assert_eq!((found.values, found.has_api_key), (Vec::new(), false));
    }
}
