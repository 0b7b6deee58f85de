//! What a running pass is doing: `.reindexd/pass.json`, for `status` while the pass runs.
//!
//! The file is locked as long as its pass lives, so one that a crash left behind
//! is recognised and counts as none; only its user may open it, since a lock on
//! it would be taken for a pass. It is for people and monitoring: no
//! decision depends on it, it is never flushed, and a pass whose progress cannot
//! be written goes on. How often it is written is decided by the flow.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::disk;
use super::disk_error::DiskError;
use super::json_file;
use super::layout::Layout;
use super::open;

/// Bytes of the file: every version of it is padded to them, so that none is longer than the next.
const FILE_BYTES: usize = 512;
/// A version may be read while the next is being written.
const MAX_READS: usize = 3;

/// How far a pass is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentPass {
    pub trigger: String,
    pub stage: String,
    /// Texts embedded so far, in stage `embed`.
    pub done: Option<u64>,
    /// Texts to embed, in stage `embed`.
    pub total: Option<u64>,
    pub started: Timestamp,
}

/// The file of this process's pass; it is removed when the pass ends.
#[derive(Debug)]
pub struct CurrentPassFile {
    path: PathBuf,
    file: File,
}

impl CurrentPassFile {
    /// The holder of the pass lock makes it; `None` if it cannot be made.
    #[must_use]
    pub fn create(layout: &Layout) -> Option<Self> {
        let path = json_file::path(layout, "pass");
        let file = open::open_or_create(&path, 0o600).ok()?;
        file.try_lock().ok()?;
        file.set_len(0).ok()?;
        Some(Self { path, file })
    }

    /// Replaces what the file says; `false` if it could not be written.
    #[must_use]
    pub fn write(&self, pass: &CurrentPass) -> bool {
        let mut bytes = serde_json::to_vec(pass).expect("a pass has string keys only");
        bytes.resize(FILE_BYTES.max(bytes.len()), b' ');
        self.file.write_all_at(&bytes, 0).is_ok()
    }
}

impl Drop for CurrentPassFile {
    fn drop(&mut self) {
        // What remains counts as none, since nothing holds its lock.
        disk::remove_if_exists(&self.path).ok();
    }
}

/// Removes what a pass that was killed left. The caller holds the pass lock.
pub(super) fn remove(layout: &Layout) -> Result<(), DiskError> {
    disk::remove_if_exists(&json_file::path(layout, "pass"))
}

/// The pass that runs in this directory; `None` if none does, or none long enough to be worth a file.
#[must_use]
pub fn current_pass(layout: &Layout) -> Option<CurrentPass> {
    let path = json_file::path(layout, "pass");
    let file = open::open_to_read(&path).ok()?;
    if file.try_lock_shared().is_ok() {
        return None;
    }
    (0..MAX_READS).find_map(|_| {
        let mut bytes = vec![0; 2 * FILE_BYTES];
        let length = file.read_at(&mut bytes, 0).ok()?;
        serde_json::from_slice(&bytes[..length]).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::builds::Builds;

    fn pass(stage: &str, done: Option<u64>) -> CurrentPass {
        let (trigger, stage) = ("marker".to_owned(), stage.to_owned());
        CurrentPass { trigger, stage, done, total: done.map(|_| 400), started: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_pass_is_visible_while_it_runs_and_its_remains_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["faiss.index", "metadata.json"].map(|name| folder.path().join(name));
        let layout = Builds::at(&names[0], &names[1]).unwrap().layout;
        std::fs::create_dir(&layout.private).unwrap();
        assert_eq!(current_pass(&layout), None, "no file");

        let file = CurrentPassFile::create(&layout).unwrap();
        assert_eq!(current_pass(&layout), None, "nothing written yet");
        for expected in [pass("embed", Some(1234)), pass("verify", None), pass("embed", Some(7))] {
            assert!(file.write(&expected));
            assert_eq!(current_pass(&layout), Some(expected));
        }
        drop(file);
        assert!(!json_file::path(&layout, "pass").exists(), "removed at the end");

        std::fs::write(json_file::path(&layout, "pass"), serde_json::to_vec(&pass("embed", None)).unwrap())
            .unwrap();
        assert_eq!(current_pass(&layout), None, "left by a crash");
    }
}
