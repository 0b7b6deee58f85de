//! What is remembered between passes, besides the builds themselves.
//!
//! Promotions in their order (for rollback, and so that a build just replaced
//! is not taken from under a reader), the last attempts (for people), a scan
//! that was found to hold the same content, the hold of a rollback, and what
//! was announced. Each file is small JSON, replaced whole. None of it is
//! needed to serve: a damaged file counts as empty, with a warning.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::collect::READER_GRACE;
use super::disk::{self, DiskError, Mode};
use super::layout::Layout;
use super::lock;
use crate::domain::pass::{Counts, StoredOutcome, Timings, attempt_times};
use crate::domain::record::{ContentHash, ScanHash};

/// Attempts that `history` can show.
const ATTEMPTS: usize = 20;
/// Promotions that are remembered: many more than builds are kept. More, while a reader
/// may still be opening what was replaced so lately.
const PROMOTIONS: usize = 200;
/// Promotions that are remembered at most: one every 150 ms for the whole of that time.
const MAX_PROMOTIONS: usize = 4000;
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Written by the holder of the pass lock only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Oldest first.
    pub promotions: Vec<Promotion>,
    /// Oldest first.
    pub attempts: Vec<AttemptRecord>,
    /// A scan that differs from the served build's and has its content all the same.
    #[serde(rename = "same_content")]
    pub equivalent_scan: Option<EquivalentScan>,
}

/// A build that became the served one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promotion {
    /// Its id.
    pub build: String,
    /// When.
    pub at: Timestamp,
    /// `build`, `adopt` or `rollback`.
    pub by: String,
}

/// One pass that did something, or failed to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// When it ended.
    pub at: Timestamp,
    /// What asked for it.
    pub trigger: String,
    pub outcome: StoredOutcome,
    /// The build that it promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// Why it failed or was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What it did.
    #[serde(default)]
    pub counts: Counts,
    /// Where the time went; of a pass that failed, up to there.
    #[serde(flatten, with = "attempt_times")]
    pub timings: Timings,
}

/// A scan with the content of a build that was made from another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquivalentScan {
    /// The build.
    pub build: String,
    /// The scan.
    pub scan_hash: ScanHash,
}

/// A rollback's word that nothing be built until the table changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The build that is served meanwhile.
    pub build: String,
    /// The build that was served before.
    pub from: Option<String>,
    /// The table's content at that time; `None` where it could not be read.
    pub content_hash: Option<ContentHash>,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// What the agent is at, written by it alone and read by `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentStatus {
    /// When it started.
    pub started: Option<Timestamp>,
    /// The phase of its loop.
    #[serde(rename = "phase")]
    pub state: String,
    /// How it watches: `inotify`, `poll` or `none`.
    pub watch: Option<String>,
    /// Since when something has been waiting to be served.
    pub behind_since: Option<Timestamp>,
    /// When it tries again after a failure.
    pub retry_at: Option<Timestamp>,
    /// How its last pass ended that was more than a look.
    pub last_pass: Option<LastPass>,
}

/// How a pass of the agent ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastPass {
    /// When.
    pub at: Timestamp,
    /// What asked for it.
    pub trigger: String,
    pub outcome: StoredOutcome,
    /// Its summary, or what went wrong.
    pub message: String,
}

impl History {
    /// Reads the state; a damaged file counts as empty, with a warning.
    ///
    /// # Errors
    ///
    /// [`DiskError`] where the file cannot be read: to go on would be to forget what it says.
    pub fn load(layout: &Layout) -> Result<(Self, Option<String>), DiskError> {
        read(&path(layout, "state"))
    }

    /// Replaces the state.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn save(&self, layout: &Layout) -> Result<(), DiskError> {
        save(&path(layout, "state"), self)
    }

    /// Adds an attempt and lets the oldest go.
    pub fn record_attempt(&mut self, attempt: AttemptRecord) {
        self.attempts.push(attempt);
        let surplus = self.attempts.len().saturating_sub(ATTEMPTS);
        self.attempts.drain(..surplus);
    }

    /// The pass that promoted a build, while it is remembered.
    #[must_use]
    pub fn attempt_of(&self, build: &str) -> Option<&AttemptRecord> {
        self.attempts.iter().rev().find(|one| one.build.as_deref() == Some(build))
    }

    /// Adds a promotion and lets the oldest go.
    pub fn record_promotion(&mut self, build: &str, by: &str, at: Timestamp) {
        self.promotions.push(Promotion { build: build.to_owned(), at, by: by.to_owned() });
        let count = self.promotions.len();
        let long_ago = |next: &Promotion| at.duration_since(next.at).unsigned_abs() >= READER_GRACE;
        let surplus = self.promotions.iter().skip(1).take(count.saturating_sub(PROMOTIONS));
        let surplus = surplus.take_while(|next| long_ago(next)).count();
        self.promotions.drain(..surplus.max(count.saturating_sub(MAX_PROMOTIONS)));
    }

    /// The build that a rollback from `served` goes to: the one served before it that is still there.
    ///
    /// A build that is served a second time was rolled back to, and whatever
    /// came after its first time is before nothing any more.
    #[must_use]
    pub fn previous_to(&self, served: &str, there: &dyn Fn(&str) -> bool) -> Option<&str> {
        let mut line: Vec<&str> = Vec::new();
        for promotion in &self.promotions {
            let build = promotion.build.as_str();
            match line.iter().position(|earlier| *earlier == build) {
                Some(at) => line.truncate(at + 1),
                None => line.push(build),
            }
        }
        let at = line.iter().position(|build| *build == served)?;
        line[..at].iter().rev().copied().find(|build| there(build))
    }

    /// When a build was last promoted away, if it was.
    #[must_use]
    pub fn replaced_at(&self, build: &str) -> Option<Timestamp> {
        let at = self.promotions.iter().rposition(|one| one.build == build)?;
        self.promotions.get(at + 1).map(|next| next.at)
    }
}

impl Hold {
    /// Reads the hold, if there is one. A damaged one is none, with a warning.
    ///
    /// # Errors
    ///
    /// [`DiskError`] where the file cannot be read: what it forbids is not known then.
    pub fn load(layout: &Layout) -> Result<(Option<Self>, Option<String>), DiskError> {
        read(&path(layout, "hold"))
    }

    /// Begins the hold.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn save(&self, layout: &Layout) -> Result<(), DiskError> {
        save(&path(layout, "hold"), self)
    }

    /// Ends the hold.
    ///
    /// # Errors
    ///
    /// [`DiskError`].
    pub fn release(layout: &Layout) -> Result<(), DiskError> {
        disk::remove_if_exists(&path(layout, "hold"))?;
        disk::sync_directory(&layout.private)
    }

    /// Whether the hold forbids a build: it is about the build that is served,
    /// and the table has not changed since.
    #[must_use]
    pub fn forbids(&self, served: Option<&str>, content: &ContentHash) -> bool {
        served == Some(self.build.as_str()) && self.content_hash.as_ref() == Some(content)
    }
}

/// Replaces a note that is not written by the holder of the pass lock.
///
/// # Errors
///
/// [`DiskError`].
pub fn save_note<T: Serialize>(layout: &Layout, name: &str, note: &T) -> Result<(), DiskError> {
    let _alone = lock::lock_notes(layout)?;
    save(&path(layout, name), note)
}

/// Changes a note that is not written by the holder of the pass lock, while
/// no other process does; a value that stays equal is not written again.
///
/// # Errors
///
/// [`DiskError`].
pub fn change_note<T>(layout: &Layout, name: &str, change: impl FnOnce(&mut T)) -> Result<(), DiskError>
where
    T: Clone + Default + PartialEq + Serialize + DeserializeOwned,
{
    let _alone = lock::lock_notes(layout)?;
    let path = path(layout, name);
    let before: T = load(&path).0;
    let mut note = before.clone();
    change(&mut note);
    if note == before { Ok(()) } else { save(&path, &note) }
}

/// The path of a state file by its name.
#[must_use]
pub fn path(layout: &Layout, name: &str) -> PathBuf {
    layout.private.join(format!("{name}.json"))
}

/// Reads a small state file for show; one that cannot be read counts as empty, with a warning.
#[must_use]
pub fn load<T: DeserializeOwned + Default>(path: &Path) -> (T, Option<String>) {
    read(path).unwrap_or_else(|error| (T::default(), Some(super::error_chain(&error))))
}

/// Reads a small state file; one that is damaged counts as empty, with a warning.
fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<(T, Option<String>), DiskError> {
    let damaged = |why: String| {
        Ok((T::default(), Some(format!("{} is damaged and counts as empty: {why}", path.display()))))
    };
    match disk::read_small(path, MAX_FILE_BYTES) {
        Ok(bytes) => match serde_json::from_slice(&bytes) {
            Ok(value) => Ok((value, None)),
            Err(error) => damaged(error.to_string()),
        },
        Err(error) => match error.source.kind() {
            ErrorKind::NotFound => Ok((T::default(), None)),
            ErrorKind::InvalidData => damaged(error.source.to_string()),
            _ => Err(error),
        },
    }
}

fn save<T: Serialize>(path: &Path, value: &T) -> Result<(), DiskError> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("state has string keys only");
    bytes.push(b'\n');
    disk::replace_file(path, &bytes, Mode { file: 0o640, ..Mode::DEFAULT })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::pass::Stage;

    fn promoted(log: &str) -> History {
        let mut state = History::default();
        for (nth, word) in log.split_whitespace().enumerate() {
            let (build, by) = word.strip_suffix('<').map_or((word, "build"), |build| (build, "rollback"));
            state.record_promotion(build, by, Timestamp::from_second(i64::try_from(nth).unwrap()).unwrap());
        }
        state
    }

    #[test]
    fn an_unreadable_hold_is_not_a_missing_hold() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(&folder.path().join("faiss.index"), &folder.path().join("metadata.json"));
        let layout = layout.unwrap();
        let hold = path(&layout, "hold");
        std::fs::create_dir(&layout.private).unwrap();
        assert!(matches!(Hold::load(&layout), Ok((None, None))), "there is none");

        std::fs::write(&hold, "{").unwrap();
        assert!(matches!(Hold::load(&layout), Ok((None, Some(_)))), "a damaged one counts as none");

        std::fs::remove_file(&hold).unwrap();
        std::os::unix::fs::symlink("hold.json", &hold).unwrap();
        let error = Hold::load(&layout).unwrap_err();
        assert_eq!((error.act, error.path), ("open", hold), "a link that leads to itself can never be read");
    }

    #[test]
    fn each_rollback_goes_one_further_back_along_the_promotions() {
        let cases = [
            // promotions (`<`: by rollback), served, builds that are there, goes to
            ("a b c", "c", "abc", Some("b")),
            ("a b c b<", "b", "abc", Some("a")),
            ("a b c b< a<", "a", "abc", None),
            ("a b c b< d", "d", "abcd", Some("b")),
            ("a b c b< d b<", "b", "abcd", Some("a")),
            ("a b c b< c<", "c", "abc", Some("b")),
            ("a b c a<", "a", "abc", None),
            ("a b c a< d", "d", "abcd", Some("a")),
            ("a b c b", "b", "abc", Some("a")),
            ("a b c", "c", "ac", Some("a")),
            ("a", "a", "a", None),
            ("", "x", "x", None),
        ];
        for (log, served, there, expected) in cases {
            let state = promoted(log);
            assert_eq!(state.previous_to(served, &|build| there.contains(build)), expected, "{log}");
        }
    }

    #[test]
    fn a_replaced_build_is_remembered_for_the_readers_grace_however_many_follow() {
        let mut state = History::default();
        for second in 0..1000 {
            state.record_promotion(&second.to_string(), "build", Timestamp::from_second(second).unwrap());
        }

        let at = |build| state.replaced_at(build).map(Timestamp::as_second);
        assert_eq!((at("999"), at("998"), at("400"), at("398")), (None, Some(999), Some(401), None));
        assert!(state.promotions.len() < 1000, "what was replaced long ago is forgotten");
    }

    #[test]
    fn a_history_of_an_earlier_program_without_stage_times_is_read_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let earlier = r#"{"promotions": [{"build": "b1", "at": "2026-11-22T17:41:19Z", "by": "build"}],
            "attempts": [{"at": "2026-11-22T17:41:19Z", "trigger": "command", "outcome": "promoted", "build": "b1",
            "counts": {"records": 3, "kept": 0, "embedded": 3, "metadata_only": 0, "removed": 0, "requests": 1},
            "took_ms": 168, "promote_ms": 4}], "same_content": null}"#;
        std::fs::write(&path, earlier).unwrap();

        let (state, damaged) = load::<History>(&path);

        assert_eq!((damaged, state.promotions.len()), (None, 1));
        let attempt = state.attempt_of("b1").unwrap();
        let timings = attempt.timings;
        assert_eq!((timings.total, timings.get(Stage::Promote)), (168, Some(4)));
        assert!(!timings.has_stages());
        save(&path, &state).unwrap();
        assert_eq!(load::<History>(&path), (state, None));
    }

    #[test]
    fn a_build_is_replaced_when_the_next_one_is_promoted() {
        let state = promoted("a b a c");

        let at = |build| state.replaced_at(build).map(Timestamp::as_second);
        assert_eq!((at("a"), at("b"), at("c"), at("x")), (Some(3), Some(2), None, None));
    }

    /// A time that can be written and read.
    fn time() -> impl Strategy<Value = Timestamp> {
        (Timestamp::MIN.as_second()..Timestamp::MAX.as_second())
            .prop_map(|second| Timestamp::from_second(second).unwrap())
    }

    fn state() -> impl Strategy<Value = History> {
        let promotion = ("[ab]", time(), ".{0,3}").prop_map(|(build, at, by)| Promotion { build, at, by });
        let stages = any::<Option<(u64, Option<u64>)>>().prop_map(|known| {
            let Some((embed, promote)) = known else { return Timings::default() };
            let mut timings = Timings::zero().before_promotion();
            timings.add(Stage::Embed, embed);
            if let Some(promote) = promote {
                timings.add(Stage::Promote, promote);
            }
            timings
        });
        let attempt = (time(), any::<Option<String>>(), any::<u64>(), stages).prop_map(
            |(at, error, took_ms, stages)| AttemptRecord {
                at,
                trigger: "start".to_owned(),
                outcome: StoredOutcome::Failed,
                build: None,
                error,
                counts: Counts { records: took_ms, ..Counts::default() },
                timings: stages.with_total(took_ms),
            },
        );
        let lists = (prop::collection::vec(promotion, 0..5), prop::collection::vec(attempt, 0..3));
        lists.prop_map(|(promotions, attempts)| History { promotions, attempts, equivalent_scan: None })
    }

    proptest! {
        #[test]
        fn a_state_is_read_as_it_was_written_and_a_damaged_one_counts_as_empty(
            state in state(),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state.json");
            save(&path, &state).unwrap();
            prop_assert_eq!(load::<History>(&path), (state, None));

            let mut bytes = std::fs::read(&path).unwrap();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            std::fs::write(folder.path().join("spoiled.json"), &bytes).unwrap();
            let (spoiled, damaged) = load::<History>(&folder.path().join("spoiled.json"));
            prop_assert!(damaged.is_none() || spoiled == History::default());
            // Whatever it now says, nothing that is asked of it may fail.
            prop_assert_ne!(spoiled.previous_to("a", &|_| true), Some("a"));
            prop_assert_eq!(spoiled.replaced_at("never"), None);
        }

        #[test]
        fn no_bytes_make_the_readers_of_notes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("note.json");
            std::fs::write(&path, &bytes).unwrap();
            drop(load::<History>(&path));
            drop(load::<Option<Hold>>(&path));
            drop(load::<AgentStatus>(&path));
            drop(load::<Option<crate::domain::file_stamp::FileStamp>>(&path));
        }
    }
}
