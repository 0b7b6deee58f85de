//! Vectors of a `--rebuy`, which stand apart from all others until it has ended.
//!
//! In the tables they have a space of their own, and a note, the mark, says of
//! which space and since when. So one that is cut short goes on where it was,
//! and no other pass meets its vectors. After seven days of the cache's age
//! they are dropped: they would no longer be of one time.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use serde::{Deserialize, Serialize};

use super::age::Age;
use super::error::{CacheError, Warning};
use super::file::{self, CacheFileError};
use super::keys::key_apart;
use super::notes;
use crate::domain::record::Space;

/// For how much of the cache's age the vectors wait for the next `--rebuy`.
const MAX_AGE: i64 = 7 * 24 * 60 * 60;

/// A `--rebuy` that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RebuyNote {
    space: Space,
    /// What the clock said when it began, in seconds since 1970.
    began: i64,
    /// The cache's age then.
    age: i64,
    /// Where its vectors come from: those of two addresses never stand in one index without a proof.
    #[serde(default)]
    address: Option<String>,
    /// The build that it made, just before that was promoted.
    #[serde(default)]
    build: Option<String>,
}

/// A `--rebuy` that was cut short, or runs.
#[derive(Clone, Debug, PartialEq)]
pub struct RebuyMark {
    pub space: Space,
    /// In seconds since 1970.
    pub began: i64,
    pub vectors: u64,
    /// The build that it was about to promote.
    pub build: Option<String>,
}

/// The `--rebuy` whose vectors a cache is open for.
#[derive(Clone, Debug)]
pub(super) struct Rebuy {
    /// 0 until it has a mark.
    place: i64,
    note: RebuyNote,
}

impl Rebuy {
    /// The one that was cut short at this address, else a new one. One that was stopped after it had
    /// promoted the `served` build has ended.
    pub(super) fn find(
        connection: &mut Connection,
        space: &Space,
        served: Option<&str>,
        address: Option<&str>,
        age: Age,
    ) -> rusqlite::Result<Self> {
        let mark = notes_of(connection)?.into_iter().find(|(_, mark)| mark.space == *space);
        if let Some((place, note)) = mark
            && (note.build.is_none() || note.build.as_deref() != served)
            && note.address.as_deref() == address
        {
            return Ok(Self { place, note });
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        remove(&transaction, space)?;
        transaction.commit()?;
        let note = RebuyNote {
            space: space.clone(),
            began: age.clock(),
            age: age.seconds,
            address: address.map(str::to_owned),
            build: None,
        };
        Ok(Self { place: 0, note })
    }

    /// Since when it runs, if it had been cut short or has stored something.
    pub(super) fn began(&self) -> Option<i64> {
        (self.place < 0).then_some(self.note.began)
    }

    pub(super) fn space(&self) -> &Space {
        &self.note.space
    }

    /// Writes the mark with the first vectors that it is for.
    pub(super) fn begin(&mut self, transaction: &Transaction<'_>) -> rusqlite::Result<()> {
        if self.place < 0 {
            return Ok(());
        }
        let lowest: i64 =
            transaction.query_row("SELECT min(min(place), -1) FROM vector", [], |row| row.get(0))?;
        self.place = lowest - 1;
        notes::write(transaction, self.place, &self.note)
    }

    /// Notes which build is about to be promoted.
    pub(super) fn record_build(&mut self, connection: &Connection, id: &str) -> rusqlite::Result<()> {
        if self.place == 0 {
            return Ok(());
        }
        self.note.build = Some(id.to_owned());
        notes::write(connection, self.place, &self.note)
    }
}

/// Every `--rebuy` that was cut short or runs, read without a lock and without any change.
///
/// # Errors
///
/// A [`CacheError`] if nothing is known about the cache.
pub fn rebuys(path: &Path) -> Result<Vec<RebuyMark>, CacheError> {
    let marks = file::read_only(path, |connection| {
        let marks = notes_of(connection)?.into_iter();
        marks.map(|(_, mark)| shown(connection, mark)).collect::<Result<Vec<_>, _>>()
    });
    match marks {
        Ok(marks) => Ok(marks.unwrap_or_default()),
        Err(CacheFileError::Damaged(_)) => Ok(Vec::new()),
        Err(error) => Err(error.at(path)),
    }
}

/// Drops what has waited for too long, and says so. `age`: the cache's, now; where it was not known before,
/// the waiting begins again.
pub(super) fn expire(
    transaction: &Transaction<'_>,
    age: i64,
    is_age_known: bool,
) -> rusqlite::Result<Vec<Warning>> {
    let mut warnings = Vec::new();
    for (place, mark) in notes_of(transaction)? {
        if !is_age_known || mark.age > age {
            notes::write(transaction, place, &RebuyNote { age, ..mark })?;
        } else if age.saturating_sub(mark.age) > MAX_AGE {
            let RebuyMark { space, vectors, .. } = shown(transaction, mark)?;
            remove(transaction, &space)?;
            warnings.push(format!(
                "a --rebuy that was cut short was not continued for seven days: its {vectors} vectors of \
                 {space} are dropped, and the next `reindexd build --rebuy` embeds every text"
            ));
        }
    }
    Ok(warnings)
}

fn notes_of(connection: &Connection) -> rusqlite::Result<Vec<(i64, RebuyNote)>> {
    notes::read_from(connection, notes::AGE - 1)
}

fn shown(connection: &Connection, mark: RebuyNote) -> rusqlite::Result<RebuyMark> {
    let RebuyNote { space, began, build, .. } = mark;
    let count = "SELECT count(*) FROM entry WHERE space = ?1";
    let vectors: i64 = connection.query_row(count, [key_apart(&space)], |row| row.get(0))?;
    Ok(RebuyMark { space, began, vectors: vectors.cast_unsigned(), build })
}

/// Removes the vectors and the mark.
pub(super) fn remove(transaction: &Transaction<'_>, space: &Space) -> rusqlite::Result<()> {
    let apart = key_apart(space);
    transaction
        .execute("DELETE FROM vector WHERE place IN (SELECT place FROM entry WHERE space = ?1)", [apart])?;
    transaction.execute("DELETE FROM entry WHERE space = ?1", [apart])?;
    for (place, mark) in notes_of(transaction)? {
        if mark.space == *space {
            transaction.execute("DELETE FROM vector WHERE place = ?1", [place])?;
        }
    }
    Ok(())
}
