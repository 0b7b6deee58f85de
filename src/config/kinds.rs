//! The kinds of value in the settings: how each is written, what it may be, how it is printed.
//!
//! A kind turns one written value into one of the program's types, or says what
//! was expected. Bounds come from the [`Key`]. Rules that need a second key are
//! in `check`, those that need the provider in `embedding`.

use std::fmt::{self, Debug, Display};
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

use super::ConfigError;
use super::database_url::{self, DatabaseLocation};
use super::declare::Key;
use super::origin::{Sourced, ValueOrigin};
use super::paths::Bases;
use super::{duration, paths};

/// How a value is written, and what it becomes.
pub trait Typed {
    /// As TOML has it.
    type Written: Clone + Debug + DeserializeOwned;
    /// As the program has it.
    type Value;
}

/// A kind whose values are checked one at a time.
pub(super) trait ValueKind: Typed {
    /// `name`: the key as messages name it. `bases`: where relative paths begin.
    fn check(
        key: &Key,
        name: &str,
        given: &Sourced<Self::Written>,
        bases: &Bases<'_>,
    ) -> Result<Self::Value, ConfigError>;

    /// The value as `reindexd config` prints it.
    fn print(value: &Self::Value) -> String;
}

/// A value that an environment variable can carry.
pub(super) trait FromVariable: Sized {
    const EXPECTED: &str;
    fn from_variable(text: &str) -> Option<Self>;
}

impl FromVariable for String {
    const EXPECTED: &str = "a text";

    fn from_variable(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl FromVariable for i64 {
    const EXPECTED: &str = "a whole number";

    /// As Python's `int` would read it in the usual cases.
    fn from_variable(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl FromVariable for f64 {
    const EXPECTED: &str = "a number";

    fn from_variable(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl FromVariable for DurationText {
    const EXPECTED: &str = duration::SYNTAX;

    fn from_variable(text: &str) -> Option<Self> {
        Some(Self(text.to_owned()))
    }
}

impl FromVariable for Vec<String> {
    const EXPECTED: &str = "a list in the settings file: a variable cannot carry one";

    fn from_variable(_: &str) -> Option<Self> {
        None
    }
}

/// A kind whose rules are in a file of their own.
pub struct ByHand<W, V>(PhantomData<(W, V)>);

impl<W: Clone + Debug + DeserializeOwned, V> Typed for ByHand<W, V> {
    type Written = W;
    type Value = V;
}

/// The path of a file.
pub struct FilePath;

impl Typed for FilePath {
    type Written = String;
    type Value = PathBuf;
}

impl ValueKind for FilePath {
    fn check(
        _: &Key,
        name: &str,
        given: &Sourced<String>,
        bases: &Bases<'_>,
    ) -> Result<PathBuf, ConfigError> {
        let path = paths::checked(&given.value).map_err(|expected| given.refused(name, expected))?;
        Ok(bases.placed(path, &given.origin))
    }

    fn print(value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// The source database: a path, or the URL that `DATABASE_URL` holds.
pub struct DatabasePath;

impl Typed for DatabasePath {
    type Written = String;
    type Value = PathBuf;
}

impl ValueKind for DatabasePath {
    fn check(
        _: &Key,
        name: &str,
        given: &Sourced<String>,
        bases: &Bases<'_>,
    ) -> Result<PathBuf, ConfigError> {
        let place = |path: &Path| bases.placed(path.to_owned(), &given.origin);
        let location = match given.origin {
            ValueOrigin::Environment(_) | ValueOrigin::DotEnv(_) => DatabaseLocation::from_url(&given.value),
            _ => DatabaseLocation::from_setting(&given.value),
        };
        let exists = |path: &Path| bases.on_disk(&place(path)).exists();
        let found = location.and_then(|location| location.resolve(exists)).map_err(|expected| {
            given.clone().map(|text| database_url::printable(&text)).refused(name, expected)
        })?;
        Ok(place(&found))
    }

    fn print(value: &PathBuf) -> String {
        FilePath::print(value)
    }
}

/// A duration with its unit, within the bounds of its key.
pub struct Period;

impl Typed for Period {
    type Written = DurationText;
    type Value = Duration;
}

impl ValueKind for Period {
    fn check(
        key: &Key,
        name: &str,
        given: &Sourced<DurationText>,
        _: &Bases<'_>,
    ) -> Result<Duration, ConfigError> {
        let [from, to] = key.bounds().expect("every duration is declared with a range");
        let allowed =
            [from, to].map(|bound| duration::parse(bound).expect("loading the defaults parses every bound"));
        duration::parse(&given.value.0)
            .filter(|value| (allowed[0]..=allowed[1]).contains(value))
            .ok_or_else(|| given.refused(name, format!("{} from {from} to {to}", duration::SYNTAX)))
    }

    fn print(value: &Duration) -> String {
        duration::print(*value)
    }
}

/// A duration as it was written; a bare number is refused by name.
#[derive(Clone)]
pub struct DurationText(pub(super) String);

impl Debug for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Debug::fmt(&self.0, f)
    }
}

impl<'de> Deserialize<'de> for DurationText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = DurationText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(duration::SYNTAX)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<DurationText, E> {
                Ok(DurationText(text.to_owned()))
            }
        }
        from.deserialize_str(Text)
    }
}

/// A whole number within the bounds of its key, or not below 0 where it has none.
pub struct WholeNumber<N>(PhantomData<N>);

impl<N> Typed for WholeNumber<N> {
    type Written = i64;
    type Value = N;
}

impl<N: TryFrom<i64> + Display> ValueKind for WholeNumber<N> {
    fn check(key: &Key, name: &str, given: &Sourced<i64>, _: &Bases<'_>) -> Result<N, ConfigError> {
        within(name, given, &allowed(key))
    }

    fn print(value: &N) -> String {
        value.to_string()
    }
}

/// The whole numbers that a key takes.
pub(super) fn allowed(key: &Key) -> RangeInclusive<i64> {
    bounds(key).map_or(0..=i64::MAX, |[from, to]| from..=to)
}

/// A whole number, checked against its range.
pub(super) fn within<N: TryFrom<i64>>(
    name: &str,
    given: &Sourced<i64>,
    allowed: &RangeInclusive<i64>,
) -> Result<N, ConfigError> {
    let value =
        Some(given.value).filter(|value| allowed.contains(value)).and_then(|value| N::try_from(value).ok());
    value.ok_or_else(|| given.refused(name, number_in(allowed)))
}

/// A range of whole numbers, for messages.
pub(super) fn number_in(allowed: &RangeInclusive<i64>) -> String {
    match (*allowed.start(), *allowed.end()) {
        (from, i64::MAX) => format!("a whole number, {from} or more"),
        (from, to) => format!("a whole number from {from} to {to}"),
    }
}

/// A share of the whole, within the bounds of its key.
pub struct Share;

impl Typed for Share {
    type Written = f64;
    type Value = f64;
}

impl ValueKind for Share {
    fn check(key: &Key, name: &str, given: &Sourced<f64>, _: &Bases<'_>) -> Result<f64, ConfigError> {
        let [from, to] = bounds(key).unwrap_or([0.0, 1.0]);
        if (from..=to).contains(&given.value) {
            return Ok(given.value);
        }
        Err(given.refused(name, format!("a share from {from} to {to}, such as 0.3")))
    }

    fn print(value: &f64) -> String {
        value.to_string()
    }
}

/// Disk space with its unit; `None` for `auto`.
pub struct DiskSpace;

/// From the largest, so that a value is printed in the largest that divides it.
const SPACE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

impl Typed for DiskSpace {
    type Written = String;
    type Value = Option<u64>;
}

impl ValueKind for DiskSpace {
    fn check(
        _: &Key,
        name: &str,
        given: &Sourced<String>,
        _: &Bases<'_>,
    ) -> Result<Option<u64>, ConfigError> {
        let text = given.value.trim();
        if text == "auto" {
            return Ok(None);
        }
        let bytes = SPACE_UNITS.iter().find_map(|(unit, bytes)| {
            text.strip_suffix(unit)?.trim_end().parse::<u64>().ok()?.checked_mul(*bytes)
        });
        let expected = "auto, or a whole number with its unit, KiB, MiB or GiB, such as \"512 MiB\"";
        bytes.filter(|bytes| *bytes > 0).map(Some).ok_or_else(|| given.refused(name, expected))
    }

    fn print(value: &Option<u64>) -> String {
        let Some(value) = value else { return "auto".to_owned() };
        let (unit, bytes) =
            SPACE_UNITS.iter().find(|(_, bytes)| value.is_multiple_of(*bytes)).unwrap_or(&SPACE_UNITS[2]);
        format!("{} {unit}", value / bytes)
    }
}

/// One of a closed set of values, each with its name.
pub struct Choice<T>(PhantomData<T>);

/// The names of a [`Choice`].
pub(super) trait Named: Copy + 'static {
    /// Each with what it means.
    const NAMES: &[(&str, Self)];
}

impl<T> Typed for Choice<T> {
    type Written = String;
    type Value = T;
}

impl<T: Named + PartialEq> ValueKind for Choice<T> {
    fn check(_: &Key, name: &str, given: &Sourced<String>, _: &Bases<'_>) -> Result<T, ConfigError> {
        let Some((_, chosen)) = T::NAMES.iter().find(|(known, _)| *known == given.value) else {
            let names: Vec<_> = T::NAMES.iter().map(|(name, _)| *name).collect();
            return Err(given.refused(name, format!("one of {}", names.join(", "))));
        };
        Ok(*chosen)
    }

    fn print(value: &T) -> String {
        let named = T::NAMES.iter().find(|(_, known)| known == value);
        named.map_or_else(String::new, |(name, _)| (*name).to_owned())
    }
}

/// A list of names, each once; it may be empty.
pub struct NameList;

impl Typed for NameList {
    type Written = Vec<String>;
    type Value = Vec<String>;
}

impl ValueKind for NameList {
    fn check(
        _: &Key,
        name: &str,
        given: &Sourced<Vec<String>>,
        _: &Bases<'_>,
    ) -> Result<Vec<String>, ConfigError> {
        let names = &given.value;
        let is_right =
            names.iter().enumerate().all(|(at, name)| !name.is_empty() && !names[..at].contains(name));
        if is_right { Ok(names.clone()) } else { Err(given.refused(name, "a list of names, each once")) }
    }

    fn print(value: &Vec<String>) -> String {
        if value.is_empty() { "none".to_owned() } else { value.join(", ") }
    }
}

fn bounds<T: FromStr>(key: &Key) -> Option<[T; 2]> {
    let parse = |bound: &str| bound.parse().ok().expect("loading the defaults parses every bound");
    key.bounds().map(|[from, to]| [parse(from), parse(to)])
}
