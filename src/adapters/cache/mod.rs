//! Vectors that were paid for and that no kept build holds yet.
//!
//! One SQLite file, opened by the holder of the pass lock alone. When
//! [`Cache::store`] returns, its vectors survive a killed process and a power
//! cut, so nothing is paid for twice: a commit costs a few milliseconds and the
//! request that filled it some hundred, so synchronous is FULL.
//!
//! A damaged file is moved away and an empty one created, with a warning. Every
//! vector is checked against its own checksum when it is read; one that fails
//! counts as missing. Whether a build holds a vector, and what to embed, is left
//! to the caller, and so is the clock, by which alone nothing ever grows old.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, TransactionBehavior, params};

use crate::domain::record::{Space, TextHash};

mod age;
mod error;
mod file;
mod keys;
mod notes;
mod queries;
mod rebuy;

use age::Age;
pub use error::{CacheError, Warning};
use file::CacheFileError;
pub use keys::QueryKey;
use keys::{checksum, key, key_apart};
pub use queries::{QueryCache, stored_queries};
use rebuy::Rebuy;
pub use rebuy::{RebuyMark, rebuys};

/// The vectors of one space; those of other spaces in the same file are not touched.
///
/// The tables are made for appending: vectors and their entries are in the order
/// they came, and 16 KiB pages hold five vectors of 768 floats without waste. A
/// tree ordered by text would have each batch write a page for every text in it;
/// so the place of each text's vector is held in memory, and the entries are a
/// table of their own, so that listing them reads no vector.
#[derive(Debug)]
pub struct Cache {
    connection: Connection,
    path: PathBuf,
    space: i64,
    dimension: usize,
    age: Age,
    /// The `--rebuy` whose vectors these are.
    rebuy: Option<Rebuy>,
    /// The place of the vector of each text of this space.
    rowids: HashMap<TextHash, i64>,
}

impl Cache {
    /// Opens the cache at `path`, whose directory must exist, and drops what is 30
    /// days old, if a pass has ended well since it came. `now`: what the clock says,
    /// in seconds since 1970.
    ///
    /// A write is made and durable before this returns: nothing is embedded for a
    /// cache that cannot store it.
    ///
    /// # Errors
    ///
    /// A [`CacheError`] if the cache cannot be read and written, or if another
    /// process has it open. Damage is not an error: it gives the warning.
    pub fn open(path: &Path, space: &Space, now: i64) -> Result<(Self, Option<Warning>), CacheError> {
        let (connection, path, warning) = file::open(path, now)?;
        let mut cache = Self {
            connection,
            path,
            space: key(space),
            dimension: space.dimension,
            age: Age::new(now),
            rebuy: None,
            rowids: HashMap::new(),
        };
        let dropped = cache.grow_older(now).map_err(cache.failed("remove expired vectors"))?;
        let warning = warning.or_else(|| (!dropped.is_empty()).then(|| dropped.join("; ")));
        cache.rowids = rowids(&cache.connection, cache.space).map_err(cache.failed("list the vectors"))?;
        Ok((cache, warning))
    }

    /// As [`Self::open`], for a `--rebuy`: the vectors are those of one that was cut short, at the same
    /// `address` of the provider. One that was stopped after it had promoted the `served` build has ended.
    ///
    /// # Errors
    ///
    /// As for [`Self::open`].
    pub fn open_rebuy(
        path: &Path,
        space: &Space,
        now: i64,
        served: Option<&str>,
        address: Option<&str>,
    ) -> Result<(Self, Option<Warning>), CacheError> {
        let (mut cache, warning) = Self::open(path, space, now)?;
        let found = Rebuy::find(&mut cache.connection, space, served, address, cache.age);
        let failed = "list the vectors of the last --rebuy";
        cache.rebuy = Some(found.map_err(cache.failed(failed))?);
        cache.space = key_apart(space);
        cache.rowids = rowids(&cache.connection, cache.space).map_err(cache.failed(failed))?;
        Ok((cache, warning))
    }

    /// The texts of this space in the cache at `path`, read without a lock and without any change.
    ///
    /// An estimate: while a pass runs the latest batch may be missing. Empty if
    /// there is no cache or it is damaged: then the texts would be embedded again.
    ///
    /// # Errors
    ///
    /// A [`CacheError`] if nothing is known about the cache, as when it cannot be read or is of a newer
    /// version.
    pub fn stored_hashes(path: &Path, space: &Space) -> Result<HashSet<TextHash>, CacheError> {
        match file::read_only(path, |connection| rowids(connection, key(space))) {
            Ok(rowids) => Ok(rowids.unwrap_or_default().into_keys().collect()),
            Err(CacheFileError::Damaged(_)) => Ok(HashSet::new()),
            Err(error) => Err(error.at(path)),
        }
    }

    /// Stores one batch in one transaction: `vectors` holds the floats of each
    /// text in turn. A text that is stored already gets the new vector.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`]; then none of the batch is stored.
    ///
    /// # Panics
    ///
    /// If there is not one vector for each text, which is our own mistake.
    pub fn store(&mut self, texts: &[TextHash], vectors: &[f32]) -> Result<(), CacheError> {
        assert_eq!(vectors.len(), texts.len() * self.dimension, "a batch has one vector for each text");
        self.store_all(texts, vectors).map_err(self.failed("store a batch of vectors"))
    }

    /// The texts of this space whose vectors are stored.
    #[must_use]
    pub fn hashes(&self) -> HashSet<TextHash> {
        self.rowids.keys().copied().collect()
    }

    /// Reads the vector of one text into `out`, bit for bit as it was stored.
    ///
    /// # Errors
    ///
    /// [`CacheError::Missing`] if it is missing, of another length or no longer
    /// what was stored; the text is then dropped from [`Cache::hashes`].
    ///
    /// # Panics
    ///
    /// If `out` has another dimension than the space, which is our own mistake.
    pub fn vector(&mut self, text: &TextHash, out: &mut [f32]) -> Result<(), CacheError> {
        assert_eq!(out.len(), self.dimension, "a vector has as many floats as its space has dimensions");
        let read = self.read(text, out).map_err(self.failed("read a vector"))?;
        let Err(message) = read else { return Ok(()) };
        if let Some(place) = self.rowids.remove(text) {
            self.connection
                .execute("DELETE FROM entry WHERE place = ?1", [place])
                .map_err(self.failed("remove a damaged vector"))?;
        }
        Err(CacheError::Missing { text: *text, message })
    }

    /// Removes the vectors of this space that a kept build now holds, frees their
    /// disk space, and returns how many they were.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`]; at worst the vectors stay and take disk space.
    pub fn remove(&mut self, indexed: &dyn Fn(&TextHash) -> bool) -> Result<u64, CacheError> {
        // What is removed may come back after a power cut, and is then removed again: no commit of
        // this is worth a flush. Flushes that order log and file stay.
        let dropped = self
            .synchronous("NORMAL")
            .and_then(|()| self.drop_indexed(indexed))
            .and_then(|dropped| self.synchronous("FULL").map(|()| dropped));
        dropped.map_err(self.failed("remove vectors that a build holds"))
    }

    /// Since when the `--rebuy` runs whose vectors these are, if there are any.
    #[must_use]
    pub fn rebuy_began(&self) -> Option<i64> {
        self.rebuy.as_ref()?.began()
    }

    /// Notes which build a `--rebuy` is about to promote; without an effect for any other pass.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`]: then the build is not to be promoted.
    pub fn record_rebuy_build(&mut self, id: &str) -> Result<(), CacheError> {
        let Some(rebuy) = &mut self.rebuy else { return Ok(()) };
        rebuy.record_build(&self.connection, id).map_err(self.failed("record the build of the --rebuy"))
    }

    /// Ends a `--rebuy`, if it is one: its vectors are in a build. From now on the vectors are those of all
    /// other passes.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`]; at worst the vectors stay and take disk space.
    pub fn end_rebuy(&mut self) -> Result<bool, CacheError> {
        let Some(rebuy) = self.rebuy.take() else { return Ok(false) };
        self.space = key(rebuy.space());
        self.drop_rebuy(rebuy.space()).map_err(self.failed("end the --rebuy"))?;
        Ok(true)
    }

    /// A pass ends well: what is 30 days old may leave from now on.
    ///
    /// # Errors
    ///
    /// [`CacheError::Sqlite`]; at worst the vectors stay and take disk space.
    pub fn record_good_end(&mut self) -> Result<(), CacheError> {
        self.age = self.age.at_good_end();
        let written = self
            .synchronous("NORMAL")
            .and_then(|()| notes::write(&self.connection, notes::AGE, &self.age))
            .and_then(|()| self.synchronous("FULL"));
        written.map_err(self.failed("record that a pass ended well"))
    }

    fn synchronous(&self, how: &str) -> rusqlite::Result<()> {
        self.connection.pragma_update(None, "synchronous", how)
    }

    fn failed(&self, act: &'static str) -> impl FnOnce(rusqlite::Error) -> CacheError + use<> {
        let path = self.path.clone();
        move |source| CacheError::Sqlite { act, path, source }
    }
}

// --- vectors ----------------------------------------------------------------

impl Cache {
    fn store_all(&mut self, texts: &[TextHash], vectors: &[f32]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut entered: HashMap<TextHash, i64> = HashMap::with_capacity(texts.len());
        {
            let mut append = transaction
                .prepare_cached("INSERT OR REPLACE INTO vector(place, proof, floats) VALUES (?1, ?2, ?3)")?;
            let mut enter = transaction.prepare_cached(
                "INSERT OR REPLACE INTO entry(place, space, text, stored_at) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let mut floats = Vec::with_capacity(self.dimension * size_of::<f32>());
            for (text, vector) in texts.iter().zip(vectors.chunks_exact(self.dimension)) {
                floats.clear();
                floats.resize(size_of_val(vector), 0);
                for (bytes, float) in floats.as_chunks_mut().0.iter_mut().zip(vector) {
                    *bytes = float.to_le_bytes();
                }
                let place = entered.get(text).or_else(|| self.rowids.get(text));
                append.execute(params![place, checksum(self.space, text, &floats), floats])?;
                let place = transaction.last_insert_rowid();
                enter.execute(params![place, self.space, text.0, self.age.seconds])?;
                entered.insert(*text, place);
            }
        }
        if let Some(rebuy) = &mut self.rebuy {
            rebuy.begin(&transaction)?;
        }
        transaction.commit()?;
        self.rowids.extend(entered);
        Ok(())
    }

    fn drop_rebuy(&mut self, space: &Space) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        rebuy::remove(&transaction, space)?;
        transaction.commit()?;
        self.rowids = rowids(&self.connection, self.space)?;
        self.shrink()
    }

    fn read(&self, text: &TextHash, out: &mut [f32]) -> rusqlite::Result<Result<(), String>> {
        let mut select =
            self.connection.prepare_cached("SELECT proof, floats FROM vector WHERE place = ?1")?;
        let mut rows = select.query([self.rowids.get(text)])?;
        let Some(row) = rows.next()? else {
            return Ok(Err("expected one, found none".to_owned()));
        };
        let (found, floats) = (row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        if floats.len() != size_of_val(out) {
            return Ok(Err(format!("expected {} bytes, found {}", size_of_val(out), floats.len())));
        }
        if found != checksum(self.space, text, floats) {
            return Ok(Err("expected the bytes that were stored, found others".to_owned()));
        }
        for (float, bytes) in out.iter_mut().zip(floats.as_chunks().0) {
            *float = f32::from_le_bytes(*bytes);
        }
        Ok(Ok(()))
    }

    fn drop_indexed(&mut self, indexed: &dyn Fn(&TextHash) -> bool) -> rusqlite::Result<u64> {
        let mut gone: Vec<i64> =
            self.rowids.iter().filter(|(text, _)| indexed(text)).map(|(_, place)| *place).collect();
        if gone.is_empty() {
            return Ok(0);
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let dropped = gone.len() as u64;
        let all: i64 = transaction.query_row("SELECT count(*) FROM entry", [], |row| row.get(0))?;
        if dropped == all.cast_unsigned() {
            // The usual case, and ten times as fast as one by one.
            transaction.execute("DELETE FROM entry", [])?;
            notes::clear_vectors(&transaction)?;
        } else {
            // In the order of the file, so that each page is visited once.
            gone.sort_unstable();
            let mut drop_entry = transaction.prepare("DELETE FROM entry WHERE place = ?1")?;
            let mut drop_vector = transaction.prepare("DELETE FROM vector WHERE place = ?1")?;
            for place in &gone {
                drop_entry.execute([place])?;
                drop_vector.execute([place])?;
            }
        }
        transaction.commit()?;
        self.rowids.retain(|text, _| !indexed(text));
        self.shrink()?;
        Ok(dropped)
    }

    fn grow_older(&mut self, now: i64) -> rusqlite::Result<Vec<Warning>> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let known = notes::read_from::<Age>(&transaction, notes::AGE)?;
        let known = known.into_iter().find(|(place, _)| *place == notes::AGE).map(|(_, age)| age);
        self.age = known.map_or_else(|| Age::new(now), |age| age.grown(now));
        // 0.1.0 stores what its clock says, and where no age is known, that is all there is.
        let newest = if known.is_some() { self.age.seconds } else { i64::MIN };
        transaction
            .execute("UPDATE entry SET stored_at = ?1 WHERE stored_at > ?2", [self.age.seconds, newest])?;
        let warnings = rebuy::expire(&transaction, self.age.seconds, known.is_some())?;
        let mut dropped = warnings.len();
        if let Some(last) = self.age.last_expired() {
            transaction.execute(
                "DELETE FROM vector WHERE place IN (SELECT place FROM entry WHERE stored_at <= ?1)",
                [last],
            )?;
            dropped += transaction.execute("DELETE FROM entry WHERE stored_at <= ?1", [last])?;
        }
        // It is written even if nothing has changed: the proof that writing works.
        notes::write(&transaction, notes::AGE, &self.age)?;
        transaction.commit()?;
        if dropped > 0 {
            self.shrink()?;
        }
        Ok(warnings)
    }

    /// Gives free disk space back to the file system. An emptied cache, the usual
    /// case, is rewritten, which costs nothing; otherwise the remaining pages move
    /// to the front, which costs by the pages freed.
    fn shrink(&mut self) -> rusqlite::Result<()> {
        let occupied: bool =
            self.connection.query_row("SELECT EXISTS (SELECT 1 FROM entry)", [], |row| row.get(0))?;
        if occupied {
            let mut vacuum = self.connection.prepare("PRAGMA incremental_vacuum")?;
            let mut steps = vacuum.query([])?;
            while steps.next()?.is_some() {}
        } else {
            // Vectors whose entry was found damaged go with the last entry.
            self.connection.execute_batch("DELETE FROM vector WHERE place >= 0; VACUUM")?;
        }
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
    }
}

/// The place of the vector of each text of a space.
fn rowids(connection: &Connection, space: i64) -> rusqlite::Result<HashMap<TextHash, i64>> {
    let mut select = connection.prepare_cached("SELECT text, place FROM entry WHERE space = ?1")?;
    let places = select.query_map([space], |row| Ok((row.get(0).map(TextHash)?, row.get(1)?)))?;
    places.collect()
}

#[cfg(test)]
mod tests;
