//! The API key: where it is looked for, and a type that never prints it.
//!
//! In this order: `embedding.api_key_file`, the service manager's credential,
//! the provider's own variables. A key file that is empty or unreadable is an
//! error that names the file: the key of the next place might not be the one
//! that the operator meant.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::choices::Provider;
use super::origin::{Sourced, ValueOrigin};
use super::ownership::Chosen;
use super::resolved::Resolved;
use super::{ConfigError, file, process_env};

/// The name of the credential in the unit's `LoadCredential=`.
pub const CREDENTIAL: &str = "embedding-api-key";

/// Longer than any key, and short enough to show that the wrong file was named.
const MAX_KEY_BYTES: u64 = 16 * 1024;

/// The secret of a provider or of an announced API; prints as `***`.
#[derive(Clone)]
pub struct ApiKey(SecretString);

impl ApiKey {
    /// Takes a key, without the white space around it.
    ///
    /// # Errors
    ///
    /// A message without the content if the text is empty, stands in quotes or
    /// after a name, or holds a character that a request header cannot carry.
    pub fn new(text: &str) -> Result<Self, String> {
        let key = text.trim();
        if key.is_empty() {
            return Err("is empty, expected a key".to_owned());
        }
        if key.starts_with(process_env::QUOTES) || key.ends_with(process_env::QUOTES) {
            return Err("has a quote at its beginning or end, expected the key alone".to_owned());
        }
        if is_assignment(key) {
            return Err("looks like NAME=value, expected the value alone".to_owned());
        }
        match key.bytes().position(|byte| !byte.is_ascii_graphic()) {
            None => Ok(Self(SecretString::from(key))),
            Some(at) => Err(format!("holds a character at byte {} that is not allowed in a key", at + 1)),
        }
    }

    /// The key itself, for the request header alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Whether a text is a line of an environment file. A key may end with `=`, as base64 does.
fn is_assignment(text: &str) -> bool {
    let text = text.strip_prefix("export ").unwrap_or(text).trim_start();
    let Some((name, value)) = text.split_once('=') else { return false };
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    is_name(name.trim_end()) && value.bytes().any(|byte| byte != b'=')
}

impl PartialEq for ApiKey {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl Eq for ApiKey {}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads a secret from a file of its own, as `api_key_file` and `token_file` name one.
///
/// # Errors
///
/// [`ConfigError`] that names the file, never its content, if it is missing,
/// unreadable, empty, or holds a character that is not allowed in a key.
pub fn read_secret(path: &Path) -> Result<ApiKey, ConfigError> {
    optional_secret(path)?.ok_or_else(|| unusable(path, "does not exist".to_owned()))
}

/// The key for a provider, from the first place that has one.
pub(super) fn find(
    provider: Provider,
    key_file: Option<&Path>,
    resolved: &mut Resolved<'_>,
) -> Result<Option<Sourced<ApiKey>>, ConfigError> {
    let names: &[&'static str] = match provider {
        Provider::Gemini => &[process_env::GOOGLE_API_KEY, process_env::GEMINI_API_KEY],
        Provider::OpenAi => &[process_env::OPENAI_API_KEY],
        Provider::Local => return Ok(None),
    };
    if let Some(path) = key_file {
        let value = read_secret(&resolved.bases.on_disk(path))?;
        return Ok(Some(Sourced { value, origin: ValueOrigin::KeyFile(path.to_path_buf()) }));
    }
    if let Some(directory) = resolved.variables.environment(process_env::CREDENTIALS_DIRECTORY)?
        && let Some(value) = credential(&Path::new(&directory).join(CREDENTIAL))?
    {
        return Ok(Some(Sourced { value, origin: ValueOrigin::Credential }));
    }
    let mut found: Option<Sourced<ApiKey>> = None;
    for &name in names {
        let Some(given) = resolved.variables.get(name)? else {
            continue;
        };
        match &found {
            None => {
                let value =
                    ApiKey::new(&given.value).map_err(|message| ConfigError::Variable { name, message })?;
                found = Some(Sourced { value, origin: given.origin });
            }
            Some(first) if first.value.expose() != given.value.trim() => {
                resolved.note(format!(
                    "the API key of {} is used; the different one in {name} is ignored",
                    first.origin
                ));
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

fn optional_secret(path: &Path) -> Result<Option<ApiKey>, ConfigError> {
    match file::read("key file", path, MAX_KEY_BYTES, Chosen::ByName)? {
        Some(text) => ApiKey::new(&text).map(Some).map_err(|message| unusable(path, message)),
        None => Ok(None),
    }
}

/// The credential; an empty one counts as unset, as an empty variable does: a
/// unit without a key sets it to an empty line.
// The variable that the service manager sets names its directory.
fn credential(path: &Path) -> Result<Option<ApiKey>, ConfigError> {
    match file::read("key file", path, MAX_KEY_BYTES, Chosen::ByName)? {
        Some(text) if text.trim().is_empty() => Ok(None),
        _ => optional_secret(path),
    }
}

fn unusable(path: &Path, message: String) -> ConfigError {
    ConfigError::Unusable { what: "key file", path: path.to_path_buf(), message }
}
