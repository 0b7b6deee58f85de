//! From settings as written to settings that can be worked with.
//!
//! One function per section, in the order of the file. Each value is taken
//! from the highest layer that has it, proven to be in its range, and written
//! down in the [`Resolved`] with its origin. `embedding` and `announce` have files of
//! their own.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::origin::{Resolved, Sourced, ValueOrigin};
use super::raw::{self, DurationText};
use super::{
    ConfigError, GuardSettings, LogFormat, LogSettings, PublishSettings, SourceSettings, TriggerOn,
    TriggerSettings, WatchMode, database_url, duration, paths, process_env,
};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// More builds than anybody keeps by intent; each is a copy of the whole index.
const MAX_KEEP: i64 = 100;

pub(super) fn source(
    raw: &raw::RawSource,
    sheet: &mut Resolved<'_>,
    cwd: &Path,
) -> Result<SourceSettings, ConfigError> {
    const KEY: &str = "source.database";
    let exists = |path: &Path| cwd.join(path).exists();
    let (given, location) = if let Some(given) = sheet.variables.get(process_env::DATABASE_URL)? {
        let location = database_url::DatabaseLocation::from_url(&given.value);
        (given, location)
    } else {
        let given = sheet.written(raw.database.as_ref());
        let given = given.unwrap_or_else(|| Sourced::from_default("data/experts.db".to_owned()));
        let location = database_url::DatabaseLocation::from_setting(&given.value);
        (given, location)
    };
    let database = location.and_then(|location| location.resolve(exists)).map_err(|expected| {
        given.clone().map(|text| database_url::printable(&text)).refused(KEY, expected)
    })?;
    sheet.record(KEY, database.display(), &given.origin);
    Ok(SourceSettings { database })
}

pub(super) fn trigger(
    raw: &raw::RawTrigger,
    sheet: &mut Resolved<'_>,
) -> Result<TriggerSettings, ConfigError> {
    let marker = path(sheet, "trigger.marker", None, raw.marker.as_ref(), "data/tagging-complete")?;
    let on = on(raw, sheet)?;
    let quiet = duration(sheet, "trigger.quiet", raw.quiet.as_ref(), 30 * SECOND, Duration::ZERO..=HOUR)?;
    let max_wait = max_wait(raw, sheet, quiet)?;
    let marker_quiet = duration(
        sheet,
        "trigger.marker_quiet",
        raw.marker_quiet.as_ref(),
        250 * MS,
        Duration::ZERO..=MINUTE,
    )?;
    let resync = duration(sheet, "trigger.resync", raw.resync.as_ref(), 10 * MINUTE, 100 * MS..=24 * HOUR)?;
    let watch = sheet.written(raw.watch.as_ref()).unwrap_or_else(|| Sourced::from_default("auto".to_owned()));
    let modes = [("auto", WatchMode::Auto), ("inotify", WatchMode::Inotify), ("poll", WatchMode::Poll)];
    let watch = choice(sheet, "trigger.watch", &watch, &modes)?;
    let poll_interval =
        duration(sheet, "trigger.poll_interval", raw.poll_interval.as_ref(), 2 * SECOND, 50 * MS..=HOUR)?;
    Ok(TriggerSettings { marker, on, quiet, max_wait, marker_quiet, resync, watch, poll_interval })
}

fn on(raw: &raw::RawTrigger, sheet: &mut Resolved<'_>) -> Result<TriggerOn, ConfigError> {
    const KEY: &str = "trigger.on";
    let default = || Sourced::from_default(vec!["database".to_owned(), "marker".to_owned()]);
    let given = sheet.written(raw.on.as_ref()).unwrap_or_else(default);
    let has = |name: &str| given.value.iter().any(|word| word == name);
    if given.value.is_empty() || given.value.iter().any(|word| word != "database" && word != "marker") {
        return Err(given.refused(KEY, "one or both of \"database\" and \"marker\""));
    }
    sheet.record(KEY, given.value.join(", "), &given.origin);
    Ok(TriggerOn { database: has("database"), marker: has("marker") })
}

/// A window that closes before it is quiet would never be.
fn max_wait(
    raw: &raw::RawTrigger,
    sheet: &mut Resolved<'_>,
    quiet: Duration,
) -> Result<Duration, ConfigError> {
    const KEY: &str = "trigger.max_wait";
    let max_wait = duration(sheet, KEY, raw.max_wait.as_ref(), 10 * MINUTE, Duration::ZERO..=24 * HOUR)?;
    if max_wait >= quiet {
        return Ok(max_wait);
    }
    let origin = sheet.written(raw.max_wait.as_ref()).map_or(ValueOrigin::Default, |given| given.origin);
    let given = Sourced { value: duration::print(max_wait), origin };
    Err(given.refused(KEY, format!("at least trigger.quiet, which is {}", duration::print(quiet))))
}

pub(super) fn publish(
    raw: &raw::RawPublish,
    sheet: &mut Resolved<'_>,
) -> Result<PublishSettings, ConfigError> {
    let index = path(
        sheet,
        "publish.index",
        Some(process_env::FAISS_INDEX_PATH),
        raw.index.as_ref(),
        "data/faiss.index",
    )?;
    let metadata = path(
        sheet,
        "publish.metadata",
        Some(process_env::METADATA_PATH),
        raw.metadata.as_ref(),
        "data/metadata.json",
    )?;
    // Two at the least: the build that is served and the one to go back to.
    let keep = integer(sheet, "publish.keep", raw.keep.as_ref(), 3, 2..=MAX_KEEP)?;
    Ok(PublishSettings { index, metadata, keep })
}

pub(super) fn guard(raw: &raw::RawGuard, sheet: &mut Resolved<'_>) -> Result<GuardSettings, ConfigError> {
    const KEY: &str = "guard.max_shrink";
    let given = sheet.written(raw.max_shrink.as_ref()).unwrap_or_else(|| Sourced::from_default(0.3));
    if !(0.0..=1.0).contains(&given.value) {
        return Err(given.refused(KEY, "a share from 0 to 1, such as 0.3"));
    }
    sheet.record(KEY, given.value, &given.origin);
    Ok(GuardSettings {
        max_shrink: given.value,
        max_texts: integer(sheet, "guard.max_texts", raw.max_texts.as_ref(), 0, 0..=i64::MAX)?,
        quarantine: integer(sheet, "guard.quarantine", raw.quarantine.as_ref(), 0, 0..=i64::MAX)?,
    })
}

pub(super) fn log(raw: &raw::RawLog, sheet: &mut Resolved<'_>) -> Result<LogSettings, ConfigError> {
    const KEY: &str = "log.level";
    let given = sheet.written(raw.level.as_ref()).unwrap_or_else(|| Sourced::from_default("info".to_owned()));
    if !given.value.split(',').all(|directive| is_directive(directive.trim())) {
        let expected = "off, error, warn, info, debug or trace, or a list such as \"info,reindexd::adapters::watch=debug\"";
        return Err(given.refused(KEY, expected));
    }
    let level = given.value.to_lowercase();
    sheet.record(KEY, &level, &given.origin);
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journal", LogFormat::Journal),
    ];
    let format =
        sheet.written(raw.format.as_ref()).unwrap_or_else(|| Sourced::from_default("auto".to_owned()));
    let format = choice(sheet, "log.format", &format, &formats)?;
    Ok(LogSettings { level, format })
}

/// A level, or a target with one. A target alone is not taken: it would let any slip pass for a target.
fn is_directive(text: &str) -> bool {
    let (target, level) = text.split_once('=').map_or((None, text), |(target, level)| (Some(target), level));
    let known = ["off", "error", "warn", "info", "debug", "trace"].contains(&level.to_lowercase().as_str());
    let named = |target: &str| {
        !target.is_empty()
            && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':')
    };
    known && target.is_none_or(named)
}

/// A path, from its variable, the file or the default.
pub(super) fn path(
    sheet: &mut Resolved<'_>,
    key: &str,
    variable: Option<&'static str>,
    raw: Option<&Spanned<String>>,
    default: &str,
) -> Result<PathBuf, ConfigError> {
    let set = variable.map(|name| sheet.variables.get(name)).transpose()?.flatten();
    let given =
        set.or_else(|| sheet.written(raw)).unwrap_or_else(|| Sourced::from_default(default.to_owned()));
    let path = paths::checked(&given.value).map_err(|expected| given.refused(key, expected))?;
    sheet.record(key, path.display(), &given.origin);
    Ok(path)
}

/// A duration from the file, or the default.
pub(super) fn duration(
    sheet: &mut Resolved<'_>,
    key: &str,
    raw: Option<&Spanned<DurationText>>,
    default: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, ConfigError> {
    let given =
        sheet.written(raw).unwrap_or_else(|| Sourced::from_default(DurationText(duration::print(default))));
    let value = duration::parse(&given.value.0).filter(|value| allowed.contains(value)).ok_or_else(|| {
        let [from, to] = [*allowed.start(), *allowed.end()].map(duration::print);
        given.refused(key, format!("{} from {from} to {to}", duration::SYNTAX))
    })?;
    sheet.record(key, duration::print(value), &given.origin);
    Ok(value)
}

/// A whole number from the file, or the default.
pub(super) fn integer<N: TryFrom<i64> + Display>(
    sheet: &mut Resolved<'_>,
    key: &str,
    raw: Option<&Spanned<i64>>,
    default: i64,
    allowed: RangeInclusive<i64>,
) -> Result<N, ConfigError> {
    let given = sheet.written(raw).unwrap_or_else(|| Sourced::from_default(default));
    within(sheet, key, &given, &allowed)
}

/// A whole number, proven to be in its range.
pub(super) fn within<N: TryFrom<i64> + Display>(
    sheet: &mut Resolved<'_>,
    key: &str,
    given: &Sourced<i64>,
    allowed: &RangeInclusive<i64>,
) -> Result<N, ConfigError> {
    let value =
        Some(given.value).filter(|value| allowed.contains(value)).and_then(|value| N::try_from(value).ok());
    let value = value.ok_or_else(|| given.refused(key, number_in(allowed)))?;
    sheet.record(key, &value, &given.origin);
    Ok(value)
}

/// The words for a range of whole numbers.
pub(super) fn number_in(allowed: &RangeInclusive<i64>) -> String {
    match (*allowed.start(), *allowed.end()) {
        (from, i64::MAX) => format!("a whole number, {from} or more"),
        (from, to) => format!("a whole number from {from} to {to}"),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    sheet: &mut Resolved<'_>,
    key: &str,
    given: &Sourced<String>,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let Some((word, chosen)) = choices.iter().find(|(word, _)| *word == given.value) else {
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        return Err(given.refused(key, format!("one of {}", words.join(", "))));
    };
    sheet.record(key, word, &given.origin);
    Ok(*chosen)
}
