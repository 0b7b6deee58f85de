//! Where the source database is, from a `SQLAlchemy` URL or a plain path.
//!
//! `ingest.py` passed `DATABASE_URL` to `SQLAlchemy`, so the same forms name
//! the same file here: `sqlite:///relative`, `sqlite:////absolute`, a driver
//! after `sqlite+`, and `?query` cut off. Databases in memory, URI filenames
//! and other engines are refused: rows of other processes are not visible there.
//!
//! `SQLAlchemy` 1.4 and 2.0 take `%20` in a path literally, 2.1 decodes it. A
//! [`DatabaseLocation`] holds both readings; the file that exists is taken.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::paths;

/// The accepted forms, for messages.
const SYNTAX: &str = "sqlite:///relative/path or sqlite:////absolute/path";

/// Drivers for plain files; the encrypted and the remote ones are other engines.
const DRIVERS: [&str; 3] = ["pysqlite", "pysqlite_numeric", "aiosqlite"];

/// A database file as it was named; whether it exists is not known yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DatabaseLocation {
    literal: PathBuf,
    decoded: Option<PathBuf>,
}

impl DatabaseLocation {
    /// Reads the value of `DATABASE_URL`. The error says what was expected.
    pub(super) fn from_url(url: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(SYNTAX.to_owned());
        };
        check_scheme(scheme)?;
        let path = rest.split_once('?').map_or(rest, |(path, _query)| path);
        if path.is_empty() || path == "/" {
            return Err(in_memory());
        }
        let Some(path) = path.strip_prefix('/') else {
            return Err(format!("{SYNTAX}, with three slashes at least"));
        };
        let literal = database_file(path)?;
        let decoded = match percent_decoded(path) {
            Some(path) => Some(database_file(&path)?),
            None => None,
        };
        Ok(Self { literal, decoded })
    }

    /// Reads the setting `source.database`: a plain path, or a URL.
    pub(super) fn from_setting(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return Self::from_url(text);
        }
        if text.starts_with("sqlite:") || text.starts_with("sqlite+") {
            return Err(format!("a path or {SYNTAX}"));
        }
        Ok(Self { literal: database_file(text)?, decoded: None })
    }

    /// The one file that is meant; `exists` is called only if the two readings differ.
    pub(super) fn resolve(self, exists: impl Fn(&Path) -> bool) -> Result<PathBuf, String> {
        let Some(decoded) = self.decoded else {
            return Ok(self.literal);
        };
        match (exists(&self.literal), exists(&decoded)) {
            (true, true) => Err(format!(
                "a URL with one meaning: {} and {} both exist, and versions of SQLAlchemy differ on which of them \
                 it names; write the plain path in source.database",
                self.literal.display(),
                decoded.display()
            )),
            (false, true) => Ok(decoded),
            (_, false) => Ok(self.literal),
        }
    }
}

/// The URL for a message, without the part that could hold a password.
pub(super) fn printable(text: &str) -> String {
    match text.split_once("://") {
        Some((_, rest)) if rest.is_empty() || rest.starts_with('/') => text.to_owned(),
        Some((scheme, _)) => format!("{scheme}://***"),
        None => text.to_owned(),
    }
}

fn check_scheme(scheme: &str) -> Result<(), String> {
    let (engine, driver) =
        scheme.split_once('+').map_or((scheme, None), |(engine, driver)| (engine, Some(driver)));
    if engine == "sqlite" && driver.is_none_or(|driver| DRIVERS.contains(&driver)) {
        return Ok(());
    }
    Err(format!("a SQLite file, {SYNTAX}: other databases are not supported"))
}

fn in_memory() -> String {
    format!("a database file, {SYNTAX}: a database in memory belongs to one process alone")
}

fn database_file(path: &str) -> Result<PathBuf, String> {
    if path.starts_with(":memory:") || path.starts_with("file::memory:") {
        return Err(in_memory());
    }
    if path.starts_with("file:") {
        return Err(format!(
            "a path without \"file:\" before it, {SYNTAX}: SQLite URI filenames are not supported"
        ));
    }
    paths::checked(path)
}

/// The path with `%XX` decoded, if that makes it another one.
fn percent_decoded(path: &str) -> Option<String> {
    let decoded = percent_decode_str(path).decode_utf8().ok()?;
    Some(decoded.into_owned()).filter(|decoded| decoded != path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Result<PathBuf, String> {
        DatabaseLocation::from_url(text)?.resolve(|_| false)
    }

    #[test]
    fn a_url_names_the_file_that_sqlalchemy_would_open() {
        for (text, path) in [
            ("sqlite:///data/experts.db", "data/experts.db"),
            ("sqlite:////srv/data/experts.db", "/srv/data/experts.db"),
            ("sqlite+pysqlite:///data/experts.db", "data/experts.db"),
            ("sqlite+pysqlite:////srv/experts.db", "/srv/experts.db"),
            ("sqlite+aiosqlite:///data/experts.db", "data/experts.db"),
            ("sqlite:///./experts.db", "./experts.db"),
            ("sqlite:///../experts.db", "../experts.db"),
            ("sqlite:///a.db?mode=ro&cache=shared", "a.db"),
            ("sqlite:///a.db?", "a.db"),
            ("sqlite:///a.db?x=/b/c", "a.db"),
            ("sqlite:///a#b.db", "a#b.db"),
            ("sqlite:///a@b.db", "a@b.db"),
            ("sqlite:///a b+c.db", "a b+c.db"),
            ("sqlite:///dätä/é.db", "dätä/é.db"),
            ("sqlite:///100%.db", "100%.db"),
            ("sqlite:///100%zz.db", "100%zz.db"),
        ] {
            assert_eq!(url(text), Ok(PathBuf::from(path)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_database_file_is_refused_with_a_message() {
        for (text, expected) in [
            ("", "sqlite:///relative"),
            ("data/experts.db", "sqlite:///relative"),
            ("sqlite:data/experts.db", "sqlite:///relative"),
            ("sqlite:/data/experts.db", "sqlite:///relative"),
            (" sqlite:///a.db", "other databases are not supported"),
            ("sqlite://data/experts.db", "three slashes"),
            ("sqlite://localhost/a.db", "three slashes"),
            ("sqlite://", "in memory"),
            ("sqlite://?x=1", "in memory"),
            ("sqlite:///", "in memory"),
            ("sqlite:///?mode=memory", "in memory"),
            ("sqlite:///:memory:", "in memory"),
            ("sqlite+pysqlite:///:memory:?cache=shared", "in memory"),
            ("sqlite:///file::memory:?cache=shared&uri=true", "in memory"),
            ("sqlite:///file:a.db?mode=ro&uri=true", "URI filenames"),
            ("sqlite+pysqlcipher:///a.db", "other databases are not supported"),
            ("SQLITE:///a.db", "other databases are not supported"),
            ("postgresql://u:secret@host/db", "other databases are not supported"),
            ("mysql+pymysql://host/db", "other databases are not supported"),
            ("sqlite:///data/", "name of a file"),
            ("sqlite:///a\0b", "NUL"),
            ("sqlite:///a%00b", "NUL"),
        ] {
            let error = url(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn the_setting_takes_a_plain_path_and_a_url_alike() {
        let setting =
            |text| DatabaseLocation::from_setting(text).and_then(|location| location.resolve(|_| false));
        assert_eq!(setting("data/experts.db"), Ok("data/experts.db".into()));
        assert_eq!(setting("/srv/experts.db"), Ok("/srv/experts.db".into()));
        assert_eq!(setting("a?b%20.db"), Ok("a?b%20.db".into()));
        assert_eq!(setting("sqlite:////srv/experts.db?x=1"), Ok("/srv/experts.db".into()));
        for text in
            ["", ":memory:", "file:a.db", "sqlite:a.db", "sqlite+x:a.db", "postgresql://h/d", "a/", "."]
        {
            assert!(setting(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn where_versions_of_sqlalchemy_differ_the_file_that_exists_is_meant() {
        let settle = |there: &'static [&str]| {
            DatabaseLocation::from_url("sqlite:///a%20b.db")
                .unwrap()
                .resolve(|path| there.iter().any(|name| Path::new(name) == path))
        };
        assert_eq!(settle(&[]), Ok("a%20b.db".into()));
        assert_eq!(settle(&["a%20b.db"]), Ok("a%20b.db".into()));
        assert_eq!(settle(&["a b.db"]), Ok("a b.db".into()));
        assert!(settle(&["a b.db", "a%20b.db"]).unwrap_err().contains("both exist"));
    }

    #[test]
    fn a_password_in_a_url_is_never_printed() {
        assert_eq!(printable("postgresql://u:secret@host/db"), "postgresql://***");
        assert_eq!(printable("sqlite://u:secret@/a.db"), "sqlite://***");
        assert_eq!(printable("sqlite:///:memory:"), "sqlite:///:memory:");
        assert_eq!(printable("data/experts.db"), "data/experts.db");
    }

    proptest! {
        #[test]
        fn a_plain_path_is_the_file_itself_and_no_text_makes_the_readers_panic(
            path in "/?[a-z0-9_.\u{e9} -]{1,8}[a-z](/[a-z]{1,5}){0,3}",
            text in "(sqlite|file|[a-z+]{0,8})?:?/{0,4}[a-z?%0-9:@#.]{0,20}|.{0,20}",
        ) {
            prop_assert_eq!(url(&format!("sqlite:///{path}")), Ok(PathBuf::from(&path)));
            let setting = DatabaseLocation::from_setting(&path)
                .and_then(|location| location.resolve(|_| false));
            prop_assert_eq!(setting, Ok(PathBuf::from(&path)));
            url(&text).ok();
            DatabaseLocation::from_setting(&text).ok();
            printable(&text);
        }
    }
}
