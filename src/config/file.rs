//! Finds the settings file, and reads small files without blocking on one.
//!
//! The first of flag, `$REINDEXD_CONFIG`, `./reindexd.toml` and the system's
//! file is taken. A file named by flag or variable must exist. One that exists
//! but cannot be read is an error and never skipped: the program would run with
//! settings that the operator did not mean. Whose file it may be is
//! `ownership`'s decision.

use std::ffi::OsString;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::dotenv::{self, DotEnv};
use super::ownership::{Caller, Chosen, Ownership};
use super::{ConfigError, process_env};

/// The name looked for in the working directory.
const LOCAL: &str = "reindexd.toml";

/// Far more than every key with its comments; a longer file is another kind of file.
const MAX_SETTINGS_BYTES: u64 = 1024 * 1024;

/// A settings file that was found and read.
#[derive(Debug)]
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The settings file in force, if there is one.
///
/// `flag` is the file named on the command line, `env` the environment; relative
/// names begin at `cwd`, and `system_file` is the last place.
pub(super) fn find(
    flag: Option<&Path>,
    env: &dyn Fn(&str) -> Option<OsString>,
    cwd: &Path,
    system_file: &Path,
) -> Result<Option<SettingsFile>, ConfigError> {
    let named = match flag {
        Some(path) => Some((path.to_path_buf(), "--config")),
        None => env(process_env::REINDEXD_CONFIG)
            .filter(|path| !path.is_empty())
            .map(|path| (PathBuf::from(path), "$REINDEXD_CONFIG")),
    };
    if let Some((path, named_by)) = named {
        return match settings(cwd, &path, Chosen::ByName)? {
            Some(found) => Ok(Some(found)),
            None => Err(ConfigError::Missing { path, named_by }),
        };
    }
    match settings(cwd, Path::new(LOCAL), Chosen::ByPlace)? {
        Some(found) => Ok(Some(found)),
        None => settings(cwd, system_file, Chosen::ByPlace),
    }
}

/// What the `.env` in the working directory sets; nothing if it does not exist.
pub(super) fn dotenv(cwd: &Path, env: &dyn Fn(&str) -> Option<OsString>) -> Result<DotEnv, ConfigError> {
    let path = cwd.join(".env");
    // Some users keep a Python environment in a directory of that name.
    if path.is_dir() {
        return Ok(DotEnv::default());
    }
    let text = read(".env file", &path, MAX_SETTINGS_BYTES, Chosen::ByPlace)?;
    Ok(text.map(|text| dotenv::parse(&text, env)).unwrap_or_default())
}

/// Reads a regular UTF-8 file of at most `largest` bytes that no stranger may write; `None` if it does not
/// exist.
pub(super) fn read(
    what: &'static str,
    path: &Path,
    largest: u64,
    chosen: Chosen,
) -> Result<Option<String>, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { what, path: path.to_path_buf(), source };
    let unusable = |message| ConfigError::Unusable { what, path: path.to_path_buf(), message };
    let not_a_file = |kind: FileType| unusable(format!("is {}, expected a regular file", name_of(kind)));
    let file = match open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => {
            // A socket cannot be opened at all, and no time makes a file of it.
            let kind = path.metadata().ok().map(|metadata| metadata.file_type());
            return Err(kind.filter(FileType::is_socket).map_or_else(|| unreadable(error), not_a_file));
        }
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(not_a_file(metadata.file_type()));
    }
    // Who may replace a link decides which of our own files is read.
    let as_link = match path.symlink_metadata() {
        Ok(metadata) => Some(metadata).filter(std::fs::Metadata::is_symlink),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(error)),
    };
    let owners = [Some(Ownership::of(&metadata)), as_link.as_ref().map(Ownership::of)];
    let caller = Caller::of_process();
    if let Some(fault) = owners.into_iter().flatten().find_map(|owner| owner.fault(caller, chosen)) {
        return Err(unusable(fault));
    }
    let mut bytes = Vec::new();
    file.take(largest + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > largest {
        return Err(unusable(format!("is longer than {largest} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = good.split(|&byte| byte == b'\n').count();
            Err(unusable(format!("is not UTF-8 in line {line}")))
        }
    }
}

fn settings(cwd: &Path, path: &Path, chosen: Chosen) -> Result<Option<SettingsFile>, ConfigError> {
    let text = read("settings file", &cwd.join(path), MAX_SETTINGS_BYTES, chosen)?;
    Ok(text.map(|text| SettingsFile { path: path.to_path_buf(), text }))
}

/// Opens without blocking: opening a fifo without a writer would never return.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

fn name_of(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a fifo"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pass::ErrorClass;

    #[test]
    fn only_a_small_regular_utf8_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("good"), "x = 1\n").unwrap();
        std::fs::write(at("latin1"), b"a = 1\n# caf\xe9\n").unwrap();
        std::fs::write(at("exact"), "12345678").unwrap();
        std::fs::write(at("long"), "123456789").unwrap();
        std::fs::create_dir(at("dir")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
            .unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let read = |name: &str, largest| {
            read("file", &at(name), largest, Chosen::ByPlace).map_err(|error| error.to_string())
        };

        assert_eq!(read("good", 100), Ok(Some("x = 1\n".to_owned())));
        assert_eq!(read("exact", 8), Ok(Some("12345678".to_owned())));
        assert_eq!(read("absent", 8), Ok(None));
        assert_eq!(read("good/under", 8), Ok(None));
        for (name, fault) in [
            ("loop", "cannot be read"),
            ("long", "longer than 8 bytes"),
            ("latin1", "not UTF-8 in line 2"),
            ("dir", "is a directory, expected a regular file"),
            ("fifo", "is a fifo, expected a regular file"),
            ("socket", "is a socket, expected a regular file"),
        ] {
            let largest = if name == "long" { 8 } else { 100 };
            let error = super::read("file", &at(name), largest, Chosen::ByPlace).unwrap_err();
            // Only where nothing is known of the contents may it pass by itself.
            let class = if name == "loop" { ErrorClass::Other } else { ErrorClass::Settings };
            let message = error.to_string();
            assert!(message.contains(fault) && message.contains(name), "{message}");
            assert_eq!(error.class(), class, "{message}");
        }
        let device = super::read("file", Path::new("/dev/null"), 8, Chosen::ByName).unwrap_err().to_string();
        assert!(device.contains("is a device"), "{device}");
    }
}
