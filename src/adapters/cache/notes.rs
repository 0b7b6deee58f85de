//! What the cache keeps beside its vectors: small JSON values with a checksum, in rows of their own.
//!
//! They stand in the table of vectors at places below zero, which no vector
//! ever has, and have no entry: so the file has the layout of 0.1.0, which
//! passes them over. A note that is not as it was written counts as missing.

use rusqlite::{Connection, params};
use serde::{Serialize, de::DeserializeOwned};
use xxhash_rust::xxh3::xxh3_64;

/// The place of what is known of the age; those of other notes are below it.
pub(super) const AGE: i64 = -1;

/// Writes a note, in the place of an older one.
pub(super) fn write<T: Serialize>(connection: &Connection, place: i64, note: &T) -> rusqlite::Result<()> {
    let bytes = serde_json::to_vec(note).expect("a note has string keys only");
    connection
        .prepare_cached("INSERT OR REPLACE INTO vector(place, proof, floats) VALUES (?1, ?2, ?3)")?
        .execute(params![place, proof(place, &bytes), bytes])
        .map(drop)
}

/// Reads the notes from this place down, each with its place; those that are not as written are passed over.
pub(super) fn read_from<T: DeserializeOwned>(
    connection: &Connection,
    first: i64,
) -> rusqlite::Result<Vec<(i64, T)>> {
    let mut select = connection.prepare_cached(
        "SELECT place, proof, floats FROM vector WHERE place <= ?1 ORDER BY place DESC LIMIT 1000",
    )?;
    let mut rows = select.query([first])?;
    let mut notes = Vec::new();
    while let Some(row) = rows.next()? {
        let (place, found, bytes) = (row.get(0)?, row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?);
        if found == proof(place, bytes)
            && let Ok(note) = serde_json::from_slice(bytes)
        {
            notes.push((place, note));
        }
    }
    Ok(notes)
}

/// Removes every vector, and keeps the notes.
pub(super) fn clear_vectors(connection: &Connection) -> rusqlite::Result<()> {
    let mut select = connection.prepare("SELECT place, proof, floats FROM vector WHERE place < 0")?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let notes: Vec<(i64, Vec<u8>, Vec<u8>)> = select.query_map([], row)?.collect::<Result<_, _>>()?;
    // Without a condition it is ten times as fast.
    connection.execute("DELETE FROM vector", [])?;
    let mut insert = connection.prepare("INSERT INTO vector(place, proof, floats) VALUES (?1, ?2, ?3)")?;
    notes.into_iter().try_for_each(|note| insert.execute(note).map(drop))
}

fn proof(place: i64, bytes: &[u8]) -> [u8; 8] {
    (xxh3_64(bytes) ^ place.cast_unsigned()).to_le_bytes()
}
