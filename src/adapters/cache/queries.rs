//! Vectors of judged queries, which stand beside those of document texts.
//!
//! In the tables they have a space of their own, named by a [`QueryKey`]. They
//! are in no build, so they stay while the queries are asked, and for seven
//! days of the cache's age at most: then the queries are embedded again, and a
//! model that was replaced behind its name shows itself.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use rusqlite::Connection;

use super::age::Age;
use super::error::CacheError;
use super::file::{self, CacheFileError};
use super::keys::{QueryKey, checksum};
use super::notes;
use super::rebuy::Rebuy;
use super::{Cache, rowids};
use crate::domain::record::TextHash;

/// For how much of the cache's age a vector is used.
const MAX_AGE: i64 = 7 * 24 * 60 * 60;

/// The cache, turned to the vectors of queries until this is dropped.
#[derive(Debug)]
pub struct QueryCache<'a> {
    cache: &'a mut Cache,
    space: i64,
    rowids: HashMap<TextHash, i64>,
    rebuy: Option<Rebuy>,
}

impl Cache {
    /// Turns to the vectors of these queries.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`] if they cannot be listed.
    pub fn queries(&mut self, key: QueryKey) -> Result<QueryCache<'_>, CacheError> {
        let found = rowids(&self.connection, key.0).map_err(self.failed("list the vectors of queries"))?;
        let space = mem::replace(&mut self.space, key.0);
        let rowids = mem::replace(&mut self.rowids, found);
        let rebuy = self.rebuy.take();
        Ok(QueryCache { cache: self, space, rowids, rebuy })
    }
}

impl QueryCache<'_> {
    /// The texts whose vectors are at most seven days old.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`] if they cannot be listed.
    pub fn fresh(&self) -> Result<HashSet<TextHash>, CacheError> {
        let fresh = fresh(&self.cache.connection, QueryKey(self.cache.space), self.cache.age);
        fresh.map_err(self.cache.failed("list the vectors of queries"))
    }
}

impl Cache {
    /// Floats in a vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }
}

impl Deref for QueryCache<'_> {
    type Target = Cache;

    fn deref(&self) -> &Cache {
        self.cache
    }
}

impl DerefMut for QueryCache<'_> {
    fn deref_mut(&mut self) -> &mut Cache {
        self.cache
    }
}

impl Drop for QueryCache<'_> {
    fn drop(&mut self) {
        self.cache.space = self.space;
        self.cache.rowids = mem::take(&mut self.rowids);
        self.cache.rebuy = self.rebuy.take();
    }
}

/// The vectors of queries that are at most seven days old, read without a lock and without any change.
/// Empty if there is no cache or it is damaged: then they are embedded again. `now`: what the clock says.
///
/// # Errors
///
/// A [`CacheError`] if nothing is known about the cache.
pub fn stored_queries(
    path: &Path,
    key: QueryKey,
    now: i64,
) -> Result<HashMap<TextHash, Vec<f32>>, CacheError> {
    let read = |connection: &Connection| {
        let known = notes::read_from::<Age>(connection, notes::AGE)?.into_iter();
        let age = known.map(|(_, age)| age).next().map_or_else(|| Age::new(now), |age| age.grown(now));
        let fresh = fresh(connection, key, age)?;
        let mut select = connection
            .prepare("SELECT text, proof, floats FROM entry JOIN vector USING (place) WHERE space = ?1")?;
        let mut rows = select.query([key.0])?;
        let mut vectors = HashMap::new();
        while let Some(row) = rows.next()? {
            let text = TextHash(row.get(0)?);
            let (proof, floats) = (row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
            if fresh.contains(&text) && proof == checksum(key.0, &text, floats) {
                let floats = floats.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
                vectors.insert(text, floats.collect());
            }
        }
        Ok(vectors)
    };
    match file::read_only(path, read) {
        Ok(vectors) => Ok(vectors.unwrap_or_default()),
        Err(CacheFileError::Damaged(_)) => Ok(HashMap::new()),
        Err(error) => Err(error.at(path)),
    }
}

fn fresh(connection: &Connection, key: QueryKey, age: Age) -> rusqlite::Result<HashSet<TextHash>> {
    let oldest = age.seconds.saturating_sub(MAX_AGE);
    let mut select = connection.prepare("SELECT text FROM entry WHERE space = ?1 AND stored_at >= ?2")?;
    select.query_map([key.0, oldest], |row| row.get(0).map(TextHash))?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::record::Space;
    use crate::domain::request_extras::RequestExtras;

    const NOW: i64 = 1_795_000_000;
    const DAY: i64 = 24 * 60 * 60;

    fn space() -> Space {
        Space { provider: "openai".to_owned(), model: "m".to_owned(), dimension: 2, ..Space::default() }
    }

    fn key(prefix: &str, address: &str, is_rebuy: bool) -> QueryKey {
        let extras = RequestExtras { prefix: prefix.to_owned(), ..RequestExtras::default() };
        QueryKey::new(&space(), &extras, Some(address), is_rebuy)
    }

    #[test]
    fn queries_stand_apart_from_documents_and_from_those_asked_in_another_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let (mut cache, _) = Cache::open(&path, &space(), NOW).unwrap();
        let text = TextHash::of("x");
        cache.store(&[text], &[1.0, 0.0]).unwrap();
        let asked = key("", "http://h", false);

        let mut queries = cache.queries(asked).unwrap();
        assert!(queries.hashes().is_empty());
        queries.store(&[text], &[0.0, 1.0]).unwrap();
        drop(queries);

        let mut out = [0.0; 2];
        cache.vector(&text, &mut out).unwrap();
        assert!(out[0] > 0.5, "the document has its own");
        cache.queries(asked).unwrap().vector(&text, &mut out).unwrap();
        assert!(out[1] > 0.5);
        for other in [key("q: ", "http://h", false), key("", "http://i", false), key("", "http://h", true)] {
            assert!(cache.queries(other).unwrap().hashes().is_empty(), "{other:?}");
        }
        // Removing what a build holds leaves the queries.
        cache.remove(&|_| true).unwrap();
        assert_eq!(cache.queries(asked).unwrap().hashes().len(), 1);
        assert_eq!(stored_queries(&path, asked, NOW).unwrap(), HashMap::from([(text, vec![0.0, 1.0])]));
    }

    #[test]
    fn a_vector_is_fresh_for_seven_days_of_the_age_and_not_of_the_clock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cache");
        let (asked, text) = (key("", "", false), TextHash::of("x"));
        let open = |now| Cache::open(&path, &space(), now).unwrap().0;
        open(NOW).queries(asked).unwrap().store(&[text], &[1.0, 0.0]).unwrap();
        // A clock that jumps by a year ages it by a day.
        for (day, expected) in [(366, true), (367, true), (368, true), (372, true), (373, false)] {
            let now = NOW + day * DAY;
            let days: i64 = if day == 372 { 3 } else { 0 };
            for nth in (0..=days).rev() {
                drop(open(now - nth * DAY));
            }
            let fresh = open(now).queries(asked).unwrap().fresh().unwrap();
            assert_eq!(fresh.contains(&text), expected, "day {day}");
            assert_eq!(stored_queries(&path, asked, now).unwrap().len(), usize::from(expected), "day {day}");
        }
    }
}
