//! The announce section: each entry is a request or a command, never both.
//!
//! Addresses are checked here; whether a server answers there is found when a
//! build is announced. The token file is not read: it may be replaced while the
//! agent runs.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::{RawAnnounce, announce as keys};
use super::kinds::Period;
use super::origin::Sourced;
use super::resolved::{Resolved, default_of};
use super::{ConfigError, paths, url};

/// One way to announce a new build to the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceSettings {
    /// By request or by command.
    pub method: AnnounceMethod,
    /// An address whose answer holds the build's id once the API serves it.
    pub confirm: Option<String>,
    /// A file with a bearer token for the requests; read with [`read_secret`](super::read_secret) when
    /// it is needed.
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

pub(super) fn announce(
    raw: &[RawAnnounce],
    resolved: &mut Resolved<'_>,
) -> Result<Vec<AnnounceSettings>, ConfigError> {
    raw.iter()
        .enumerate()
        .map(|(nth, raw)| announce_entry(&format!("announce[{nth}]"), raw, resolved))
        .collect()
}

fn announce_entry(
    entry: &str,
    raw: &RawAnnounce,
    resolved: &mut Resolved<'_>,
) -> Result<AnnounceSettings, ConfigError> {
    let method = announce_method(entry, raw, resolved)?;
    let confirm = match resolved.written(raw.confirm.as_ref()) {
        Some(given) => Some(address(format!("{entry}.confirm"), &given, resolved)?),
        None => None,
    };
    let asks = confirm.is_some() || matches!(method, AnnounceMethod::Post(_));
    let token_file = token_file(entry, asks, raw, resolved)?;
    if token_file.is_some() {
        let post = if let AnnounceMethod::Post(address) = &method { Some(address) } else { None };
        for address in post.into_iter().chain(&confirm).filter(|address| url::is_open_to_others(address)) {
            let address = address.split('?').next().unwrap_or_default();
            resolved.note(format!("{entry}.token_file: the token is sent to {address} unencrypted"));
        }
    }
    let timeout = resolved.written(raw.timeout.as_ref()).unwrap_or_else(|| default_of(&keys::timeout));
    let timeout = resolved.settle_given::<Period>(&keys::timeout, &format!("{entry}.timeout"), &timeout)?;
    Ok(AnnounceSettings { method, confirm, token_file, timeout })
}

fn announce_method(
    entry: &str,
    raw: &RawAnnounce,
    resolved: &mut Resolved<'_>,
) -> Result<AnnounceMethod, ConfigError> {
    let key = format!("{entry}.post");
    match (resolved.written(raw.post.as_ref()), resolved.written(raw.command.as_ref())) {
        (Some(post), None) => address(key, &post, resolved).map(AnnounceMethod::Post),
        (None, Some(given)) => {
            command(format!("{entry}.command"), given, resolved).map(AnnounceMethod::Command)
        }
        (Some(post), Some(_)) => {
            Err(url::refused(&key, &post, "either post or command, not both".to_owned()))
        }
        (None, None) => Err(ConfigError::Absent { key, expected: "either post or command".to_owned() }),
    }
}

fn address(key: String, given: &Sourced<String>, resolved: &mut Resolved<'_>) -> Result<String, ConfigError> {
    let address = url::checked(&given.value).map_err(|expected| url::refused(&key, given, expected))?;
    resolved.record(key, &address, &given.origin);
    Ok(address)
}

/// A program that is named by a path begins where the paths of its file begin; a bare name is looked for on
/// PATH.
fn command(
    key: String,
    mut given: Sourced<Vec<String>>,
    resolved: &mut Resolved<'_>,
) -> Result<Vec<String>, ConfigError> {
    let named = given.value.first().is_some_and(|program| !program.is_empty());
    if !named || given.value.iter().any(|argument| argument.contains('\0')) {
        return Err(given.refused(&key, "a program and its arguments, each a string of its own"));
    }
    if let Some(program) = given.value.first_mut().filter(|program| program.contains('/')) {
        *program =
            resolved.bases.placed(program.as_str().into(), &given.origin).to_string_lossy().into_owned();
    }
    resolved.record(key, given.value.join(" "), &given.origin);
    Ok(given.value)
}

fn token_file(
    entry: &str,
    asks: bool,
    raw: &RawAnnounce,
    resolved: &mut Resolved<'_>,
) -> Result<Option<PathBuf>, ConfigError> {
    let key = format!("{entry}.token_file");
    let Some(given) = resolved.written(raw.token_file.as_ref()) else { return Ok(None) };
    if !asks {
        return Err(given.refused(&key, "no token file: there is neither post nor confirm to send it with"));
    }
    let path = paths::checked(&given.value).map_err(|expected| given.refused(&key, expected))?;
    let path = resolved.bases.placed(path, &given.origin);
    resolved.record(key, path.display(), &given.origin);
    Ok(Some(path))
}
