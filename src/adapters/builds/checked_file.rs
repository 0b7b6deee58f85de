//! Small files in `.reindexd/` that check themselves.
//!
//! A flipped bit in one could let a guard pass what no operator accepted, or
//! vectors of two models stand in one index: a damaged file counts as none,
//! with a warning. The holder of the pass lock writes them. What they say, and
//! for how long, is decided elsewhere.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::disk;
use super::disk_error::DiskError;
use super::json_file::{self, path};
use super::layout::Layout;

/// What an operator accepted, until it is served.
pub const ACCEPTED: &str = "accepted";
/// The addresses that cached vectors came from, by the keys of their spaces.
pub const CACHED_FROM: &str = "cached-from";

/// What such a file holds.
#[derive(Serialize, Deserialize)]
struct CheckedFile<T> {
    content: T,
    /// Blake3 digest of `content` as JSON without blanks.
    checksum: String,
}

/// Reads a file, with a warning if it is damaged.
///
/// # Errors
///
/// [`DiskError`] if the file cannot be read: it is unknown then what it says.
pub fn load<T>(layout: &Layout, name: &str) -> Result<(Option<T>, Option<String>), DiskError>
where
    T: Serialize + DeserializeOwned,
{
    let (file, warning) = json_file::read::<Option<CheckedFile<T>>>(&path(layout, name))?;
    Ok(match file {
        Some(CheckedFile { content, checksum }) if checksum == digest(&content) => (Some(content), warning),
        Some(_) => {
            let path = path(layout, name);
            let message = "is damaged and counts as empty: its checksum does not match";
            (None, Some(format!("{} {message}", path.display())))
        }
        None => (None, warning),
    })
}

/// Replaces a file.
///
/// # Errors
///
/// [`DiskError`] if it cannot be replaced.
pub fn save<T: Serialize>(layout: &Layout, name: &str, content: &T) -> Result<(), DiskError> {
    let file = CheckedFile { content, checksum: digest(content) };
    json_file::save(&path(layout, name), &file)
}

/// Removes a file, if it exists.
///
/// # Errors
///
/// [`DiskError`] if it cannot be removed.
pub fn forget(layout: &Layout, name: &str) -> Result<(), DiskError> {
    disk::remove_if_exists(&path(layout, name))
}

fn digest<T: Serialize>(content: &T) -> String {
    let json = serde_json::to_vec(content).expect("string keys only");
    blake3::hash(&json).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::acceptance::Acceptance;

    #[test]
    fn an_acceptance_comes_back_as_it_was_given_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&folder.path().join("faiss.index"), &folder.path().join("metadata.json"));
        let layout = layout.unwrap();
        std::fs::create_dir(&layout.private).unwrap();
        assert_eq!(load::<Acceptance>(&layout, ACCEPTED).unwrap(), (None, None));
        let nothing = Acceptance::nothing(Some("a".to_owned()), "s".to_owned());
        let given = Acceptance { min_records: Some(7), ..nothing };

        save(&layout, ACCEPTED, &given).unwrap();

        assert_eq!(load::<Acceptance>(&layout, ACCEPTED).unwrap(), (Some(given.clone()), None));
        let bytes = std::fs::read(path(&layout, ACCEPTED)).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                std::fs::write(path(&layout, ACCEPTED), flipped).unwrap();
                let (found, warning) = load::<Acceptance>(&layout, ACCEPTED).unwrap();
                // Another blank between two values says the same.
                assert!(found.as_ref().is_none_or(|found| *found == given), "bit {bit} of byte {at}");
                assert_eq!(found.is_none(), warning.is_some(), "bit {bit} of byte {at}");
            }
        }
        forget(&layout, ACCEPTED).unwrap();
        forget(&layout, ACCEPTED).unwrap();
        assert_eq!(load::<Acceptance>(&layout, ACCEPTED).unwrap(), (None, None));
    }
}
