//! The claim: one directory belongs to one configuration.
//!
//! A small file names the two published paths and, once a build made from it is
//! served, the source: database, table and id column. A second configuration
//! that would publish from the same directory, or fill it from another source,
//! finds the claim and is refused. The database counts as the same by its name
//! in the settings, whichever file a link there leads to; by its real path; or
//! by that path relative to the directory, so that both may be moved together.
//! Version 0.1.0 wrote the names alone; the first pass that ends well
//! adds the source.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk;
use super::error::BuildsError;
use super::layout::{Layout, relative};
use super::mode::Mode;

/// Longer than any two paths.
const MAX_CLAIM_BYTES: u64 = 1 << 16;

/// What a configuration reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimedSource {
    /// The path in the settings, made absolute.
    named: String,
    /// The real path of the database.
    database: String,
    /// The same, from the directory.
    from_directory: String,
    table: String,
    id: Vec<String>,
}

/// What the file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct DirectoryClaim {
    index: String,
    metadata: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<ClaimedSource>,
}

impl ClaimedSource {
    /// The source of a configuration; `None` if the database cannot be found, which nothing is built from.
    #[must_use]
    ///
    /// `table`: the table, or what stands for the query. `id`: empty where the settings leave it to the
    /// declared key.
    pub fn find(layout: &Layout, database: &Path, table: &str, id: &[String]) -> Option<Self> {
        let named = std::path::absolute(database).ok()?.to_string_lossy().into_owned();
        let database = database.canonicalize().ok()?;
        Some(Self {
            named,
            from_directory: relative(&layout.root, &database).to_string_lossy().into_owned(),
            database: database.to_string_lossy().into_owned(),
            table: table.to_owned(),
            id: id.to_vec(),
        })
    }

    fn is_same(&self, other: &Self) -> bool {
        let is_same_database = self.named == other.named
            || self.database == other.database
            || self.from_directory == other.from_directory;
        // The declared key of a table is one, whether the settings name it or not.
        let is_same_id = self.id == other.id || self.id.is_empty() || other.id.is_empty();
        is_same_database && self.table == other.table && is_same_id
    }

    fn describe(&self) -> String {
        let id = if self.id.is_empty() { "its declared key".to_owned() } else { self.id.join(", ") };
        format!("table {} by {id} of {}", self.table, self.database)
    }
}

impl DirectoryClaim {
    fn of(layout: &Layout) -> Self {
        let [index, metadata] = layout.public().map(|(link, target, _)| {
            let name = link.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            // The path from the name to `current` distinguishes directories without naming them.
            format!("{name} -> {}", target.display())
        });
        Self { index, metadata, source: None }
    }

    fn has_same_names(&self, other: &Self) -> bool {
        (&self.index, &self.metadata) == (&other.index, &other.metadata)
    }

    fn describe(&self) -> String {
        let source = self.source.as_ref().map(|source| format!(" from {}", source.describe()));
        format!("{} and {}{}", self.index, self.metadata, source.unwrap_or_default())
    }
}

/// Whether this configuration has claimed the directory; [`BuildsError::Claimed`] if another has.
pub(super) fn is_claimed(layout: &Layout, source: Option<&ClaimedSource>) -> Result<bool, BuildsError> {
    let Some(theirs) = read(layout) else { return Ok(false) };
    let ours = DirectoryClaim { source: source.cloned(), ..DirectoryClaim::of(layout) };
    let is_other_source = match (&theirs.source, source) {
        (Some(theirs), Some(ours)) => !theirs.is_same(ours),
        _ => false,
    };
    // What was never served is taken over without a question.
    let is_other_source = is_other_source && layout.current.is_symlink();
    if ours.has_same_names(&theirs) && !is_other_source {
        return Ok(true);
    }
    Err(BuildsError::Claimed {
        path: layout.root.clone(),
        theirs: theirs.describe(),
        ours: ours.describe(),
        claim: claim_path(layout),
    })
}

/// Claims the directory for these two names; what is known of the source stays. The caller holds the lock.
pub(super) fn claim_names(layout: &Layout) -> Result<(), BuildsError> {
    let theirs = read(layout);
    let ours = DirectoryClaim::of(layout);
    if theirs.as_ref().is_some_and(|theirs| theirs.has_same_names(&ours)) {
        return Ok(());
    }
    write(layout, &DirectoryClaim { source: theirs.and_then(|theirs| theirs.source), ..ours })
}

/// Claims the directory for this source, of which a build is served. The caller holds the lock.
pub(super) fn claim_source(layout: &Layout, source: &ClaimedSource) -> Result<(), BuildsError> {
    let ours = DirectoryClaim { source: Some(source.clone()), ..DirectoryClaim::of(layout) };
    if read(layout).as_ref() == Some(&ours) { Ok(()) } else { write(layout, &ours) }
}

fn read(layout: &Layout) -> Option<DirectoryClaim> {
    let bytes = disk::read_small(&claim_path(layout), MAX_CLAIM_BYTES).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn write(layout: &Layout, claim: &DirectoryClaim) -> Result<(), BuildsError> {
    let bytes = serde_json::to_vec(claim).expect("strings");
    let mode = Mode { file: 0o640, ..Mode::DEFAULT };
    Ok(disk::replace_file(&claim_path(layout), &bytes, mode)?)
}

fn claim_path(layout: &Layout) -> PathBuf {
    layout.private.join("claim.json")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::adapters::builds::Builds;

    fn source(database: &str, from_directory: &str, table: &str, id: &str) -> ClaimedSource {
        ClaimedSource {
            named: format!("{database} as named"),
            database: database.to_owned(),
            from_directory: from_directory.to_owned(),
            table: table.to_owned(),
            id: vec![id.to_owned()],
        }
    }

    #[test]
    fn a_source_is_the_same_by_either_path_and_by_table_and_id() {
        let claimed = source("/a/data/x.db", "x.db", "experts", "id");
        for (other, is_same) in [
            (source("/a/data/x.db", "x.db", "experts", "id"), true),
            (source("/b/data/x.db", "x.db", "experts", "id"), true),
            (source("/a/data/x.db", "../data/x.db", "experts", "id"), true),
            (source("/a/data/y.db", "y.db", "experts", "id"), false),
            (source("/a/data/x.db", "x.db", "people", "id"), false),
            (source("/a/data/x.db", "x.db", "experts", "username"), false),
        ] {
            assert_eq!(claimed.is_same(&other), is_same, "{other:?}");
        }
    }

    #[test]
    fn a_source_is_claimed_once_served_and_then_refused_to_another() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let layout = Builds::at(&at("faiss.index"), &at("metadata.json")).unwrap().layout;
        std::fs::write(at("x.db"), "").unwrap();
        std::fs::write(at("y.db"), "").unwrap();
        let find =
            |name: &str| ClaimedSource::find(&layout, &at(name), "experts", &["id".to_owned()]).unwrap();
        let (ours, other) = (find("x.db"), find("y.db"));
        assert_eq!(ClaimedSource::find(&layout, &at("z.db"), "experts", &["id".to_owned()]), None);
        std::fs::create_dir(&layout.private).unwrap();
        // As 0.1.0 wrote it.
        claim_names(&layout).unwrap();
        let names = std::fs::read_to_string(claim_path(&layout)).unwrap();
        assert!(!names.contains("source"), "{names}");
        assert!(is_claimed(&layout, Some(&other)).unwrap(), "the source is not known yet");

        claim_source(&layout, &ours).unwrap();
        claim_names(&layout).unwrap();
        assert!(is_claimed(&layout, Some(&other)).unwrap(), "nothing is served yet");
        std::os::unix::fs::symlink("builds/x", &layout.current).unwrap();

        assert!(is_claimed(&layout, Some(&ours)).unwrap());
        assert!(is_claimed(&layout, None).unwrap());
        let error = is_claimed(&layout, Some(&other)).unwrap_err().to_string();
        assert!(
            error.contains("/x.db") && error.contains("/y.db") && error.contains("--accept-source"),
            "{error}"
        );
        claim_source(&layout, &other).unwrap();
        assert!(is_claimed(&layout, Some(&other)).unwrap());
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_claim_that_is_not_one_and_ours_stays_ours(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            at in any::<prop::sample::Index>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let builds = Builds::at(&folder.path().join("faiss.index"), &folder.path().join("metadata.json")).unwrap();
            drop(builds.lock().unwrap().unwrap());
            prop_assert!(is_claimed(&builds.layout, None).unwrap());
            let path = claim_path(&builds.layout);
            let ours = std::fs::read(&path).unwrap();

            std::fs::write(&path, &bytes).unwrap();
            prop_assert!(!is_claimed(&builds.layout, None).unwrap());
            // Cut short it claims nothing, and is written again.
            std::fs::write(&path, &ours[..at.index(ours.len())]).unwrap();
            prop_assert!(!is_claimed(&builds.layout, None).unwrap());
            drop(builds.lock().unwrap().unwrap());
            prop_assert_eq!(std::fs::read(&path).unwrap(), ours);
        }
    }
}
