//! What an operator accepted: `.reindexd/accepted.json`, until it is promoted.
//!
//! The file checks itself, because a flipped bit in it could let a guard pass
//! what no operator accepted: a damaged one counts as none, with a warning. The
//! holder of the pass lock writes it. What holds of it is decided by
//! `acceptance`.

use serde::{Deserialize, Serialize};

use super::disk;
use super::disk_error::DiskError;
use super::json_file::{self, path};
use super::layout::Layout;
use crate::decide::acceptance::Acceptance;

const NAME: &str = "accepted";

/// What the file holds.
#[derive(Serialize, Deserialize)]
struct AcceptedFile {
    accepted: Acceptance,
    /// Blake3 digest of `accepted` as JSON without blanks.
    checksum: String,
}

/// Reads what is accepted, with a warning if the file is damaged.
///
/// # Errors
///
/// [`DiskError`] if the file cannot be read: it is unknown then what was accepted.
pub fn load(layout: &Layout) -> Result<(Option<Acceptance>, Option<String>), DiskError> {
    let (file, warning) = json_file::read::<Option<AcceptedFile>>(&path(layout, NAME))?;
    Ok(match file {
        Some(AcceptedFile { accepted, checksum }) if checksum == digest(&accepted) => {
            (Some(accepted), warning)
        }
        Some(_) => {
            let path = path(layout, NAME);
            let message = "is damaged and counts as empty: its checksum does not match";
            (None, Some(format!("{} {message}", path.display())))
        }
        None => (None, warning),
    })
}

/// Remembers what is accepted.
///
/// # Errors
///
/// [`DiskError`] if the file cannot be replaced.
pub fn save(layout: &Layout, accepted: &Acceptance) -> Result<(), DiskError> {
    let file = AcceptedFile { accepted: accepted.clone(), checksum: digest(accepted) };
    json_file::save(&path(layout, NAME), &file)
}

/// Forgets what was accepted.
///
/// # Errors
///
/// [`DiskError`] if the file cannot be removed.
pub fn forget(layout: &Layout) -> Result<(), DiskError> {
    disk::remove_if_exists(&path(layout, NAME))
}

fn digest(accepted: &Acceptance) -> String {
    let json = serde_json::to_vec(accepted).expect("string keys only");
    blake3::hash(&json).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptance_comes_back_as_it_was_given_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&folder.path().join("faiss.index"), &folder.path().join("metadata.json"));
        let layout = layout.unwrap();
        std::fs::create_dir(&layout.private).unwrap();
        assert_eq!(load(&layout).unwrap(), (None, None));
        let nothing = Acceptance::nothing(Some("a".to_owned()), "s".to_owned());
        let given = Acceptance { min_records: Some(7), ..nothing };

        save(&layout, &given).unwrap();

        assert_eq!(load(&layout).unwrap(), (Some(given.clone()), None));
        let bytes = std::fs::read(path(&layout, NAME)).unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << bit;
                std::fs::write(path(&layout, NAME), flipped).unwrap();
                let (found, warning) = load(&layout).unwrap();
                // Another blank between two values says the same.
                assert!(found.as_ref().is_none_or(|found| *found == given), "bit {bit} of byte {at}");
                assert_eq!(found.is_none(), warning.is_some(), "bit {bit} of byte {at}");
            }
        }
        forget(&layout).unwrap();
        forget(&layout).unwrap();
        assert_eq!(load(&layout).unwrap(), (None, None));
    }
}
