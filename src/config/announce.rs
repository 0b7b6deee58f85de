//! The announce section: each entry is a request or a command, never both.
//!
//! Addresses are proven here; whether anybody answers is `announce`'s matter.
//! The token file is not read: it may be replaced while the agent runs.

use std::path::PathBuf;
use std::time::Duration;

use super::check::span;
use super::origin::{Given, Sheet};
use super::{Announce, ConfigError, How, paths, raw, url};

pub(super) fn announce(raw: &[raw::Announce], sheet: &mut Sheet<'_>) -> Result<Vec<Announce>, ConfigError> {
    raw.iter().enumerate().map(|(nth, raw)| one(&format!("announce[{nth}]"), raw, sheet)).collect()
}

fn one(entry: &str, raw: &raw::Announce, sheet: &mut Sheet<'_>) -> Result<Announce, ConfigError> {
    let how = how(entry, raw, sheet)?;
    let confirm = match sheet.written(raw.confirm.as_ref()) {
        Some(given) => Some(address(format!("{entry}.confirm"), &given, sheet)?),
        None => None,
    };
    let asks = confirm.is_some() || matches!(how, How::Post(_));
    let token_file = token_file(entry, asks, raw, sheet)?;
    let (default, allowed) = (Duration::from_secs(10), Duration::from_millis(100)..=Duration::from_secs(600));
    let timeout = span(sheet, &format!("{entry}.timeout"), raw.timeout.as_ref(), default, allowed)?;
    Ok(Announce { how, confirm, token_file, timeout })
}

fn how(entry: &str, raw: &raw::Announce, sheet: &mut Sheet<'_>) -> Result<How, ConfigError> {
    let key = format!("{entry}.post");
    match (sheet.written(raw.post.as_ref()), sheet.written(raw.command.as_ref())) {
        (Some(post), None) => address(key, &post, sheet).map(How::Post),
        (None, Some(given)) => command(format!("{entry}.command"), given, sheet).map(How::Command),
        (Some(post), Some(_)) => {
            Err(url::refused(&key, &post, "either post or command, not both".to_owned()))
        }
        (None, None) => Err(ConfigError::Absent { key, expected: "one of post and command".to_owned() }),
    }
}

fn address(key: String, given: &Given<String>, sheet: &mut Sheet<'_>) -> Result<String, ConfigError> {
    let address = url::checked(&given.value).map_err(|expected| url::refused(&key, given, expected))?;
    sheet.settle(key, &address, &given.origin);
    Ok(address)
}

fn command(
    key: String,
    given: Given<Vec<String>>,
    sheet: &mut Sheet<'_>,
) -> Result<Vec<String>, ConfigError> {
    let named = given.value.first().is_some_and(|program| !program.is_empty());
    if !named || given.value.iter().any(|word| word.contains('\0')) {
        return Err(given.refused(&key, "a program and its arguments, each a string of its own"));
    }
    sheet.settle(key, given.value.join(" "), &given.origin);
    Ok(given.value)
}

fn token_file(
    entry: &str,
    asks: bool,
    raw: &raw::Announce,
    sheet: &mut Sheet<'_>,
) -> Result<Option<PathBuf>, ConfigError> {
    let key = format!("{entry}.token_file");
    let Some(given) = sheet.written(raw.token_file.as_ref()) else { return Ok(None) };
    if !asks {
        return Err(given.refused(&key, "no token file: nothing is requested that could carry it"));
    }
    let path = paths::checked(&given.value).map_err(|expected| given.refused(&key, expected))?;
    sheet.settle(key, path.display(), &given.origin);
    Ok(Some(path))
}
