//! Small JSON files in `.reindexd/`: how they are read and replaced.
//!
//! A file is replaced whole. One that is damaged counts as empty, with a
//! warning: nothing in these files is needed to serve. What the holder of the
//! pass lock writes is its own; every other file is a note, changed only under
//! the lock of the notes. What a file says belongs to `history`, `hold`,
//! `agent_status` and, for deliveries, to `deliver`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Serialize, de::DeserializeOwned};

use super::disk;
use super::disk_error::DiskError;
use super::layout::Layout;
use super::lock;
use super::mode::Mode;
use crate::domain::text::{error_chain, json_fault};

const MAX_FILE_BYTES: u64 = 1 << 20;

/// The path of a file by its name.
#[must_use]
pub fn path(layout: &Layout, name: &str) -> PathBuf {
    layout.private.join(format!("{name}.json"))
}

/// Reads a file to show it; one that cannot be read counts as empty, with a warning.
#[must_use]
pub fn load<T: DeserializeOwned + Default>(path: &Path) -> (T, Option<String>) {
    read(path).unwrap_or_else(|error| (T::default(), Some(error_chain(&error))))
}

/// Reads a file to decide by it; one that is damaged counts as empty, with a warning.
pub(super) fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<(T, Option<String>), DiskError> {
    let damaged = |reason: String| {
        let warning = format!("{} is damaged and counts as empty: {reason}", path.display());
        Ok((T::default(), Some(warning)))
    };
    match disk::read_small(path, MAX_FILE_BYTES) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok((value, None)),
            Err(error) => damaged(json_fault(&error)),
        },
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok((T::default(), None)),
        Err(error) if error.proves_damage() => damaged(error.source.to_string()),
        Err(error) => Err(error),
    }
}

/// Replaces a file that no other process changes.
pub(super) fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), DiskError> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("state has string keys only");
    bytes.push(b'\n');
    disk::replace_file(path, &bytes, Mode { file: 0o640, ..Mode::DEFAULT })
}

/// Replaces a note.
///
/// # Errors
///
/// [`DiskError`] if the lock of the notes stays taken or the file cannot be replaced.
pub fn save_note<T: Serialize>(layout: &Layout, name: &str, note: &T) -> Result<(), DiskError> {
    let _lock = lock::lock_notes(layout)?;
    save(&path(layout, name), note)
}

/// Changes a note; a value that stays equal is not written again.
///
/// # Errors
///
/// [`DiskError`] if the lock of the notes stays taken, or the file cannot be read or replaced.
pub fn change_note<T>(layout: &Layout, name: &str, change: impl FnOnce(&mut T)) -> Result<(), DiskError>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    let _lock = lock::lock_notes(layout)?;
    let path = path(layout, name);
    let before: T = read(&path)?.0;
    let mut note = before.clone();
    change(&mut note);
    if note == before { Ok(()) } else { save(&path, &note) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapters::builds::{agent_status::AgentStatus, history::History, hold::Hold};
    use crate::domain::file_stamp::FileStamp;

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_of_notes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("note.json");
            std::fs::write(&path, &bytes).unwrap();
            drop(load::<History>(&path));
            drop(load::<Option<Hold>>(&path));
            drop(load::<AgentStatus>(&path));
            drop(load::<Option<FileStamp>>(&path));
        }
    }
}
