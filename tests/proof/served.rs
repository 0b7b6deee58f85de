//! The served build, read as a reader reads it, and checked without the program.
//!
//! A [`Pair`] is read by resolving `current` once, as README recommends.
//! [`Pair::check`] compares it with the fake provider's vector of each record's own
//! text: a vector of another text, of another model or of no text is found,
//! whatever its origin.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use crate::support::{provider, text_of, unit};

/// The rows by id: the bio, which no two rows ever share, and the rate.
pub type Content = BTreeMap<i64, (String, f64)>;

/// The records and vectors of one build.
pub struct Pair {
    /// The id of the build.
    pub build: String,
    records: Vec<Value>,
    vectors: Vec<Vec<f32>>,
}

/// The expected vectors of texts, each computed once.
#[derive(Default)]
pub struct ExpectedVectors(HashMap<String, Vec<f32>>);

impl Pair {
    /// What `current` in a data folder leads to; `None` if nothing is served. Fails with
    /// the file that is missing or has another length than it says.
    pub fn of(data: &Path) -> Result<Option<Self>, String> {
        let Ok(target) = std::fs::read_link(data.join("current")) else { return Ok(None) };
        let folder = data.join(&target);
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let build = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let vectors = floats(&read("faiss.index")?).ok_or_else(|| format!("{build}: a torn index"))?;
        let records: Vec<Value> = serde_json::from_slice(&read("metadata.json")?)
            .map_err(|error| format!("{build}: torn metadata: {error}"))?;
        Ok(Some(Self { build, records, vectors }))
    }

    /// The rows that it serves.
    pub fn content(&self) -> Content {
        let row = |record: &Value| {
            let bio = record["Bio"].as_str().unwrap_or_default().to_owned();
            (
                record["id"].as_i64().unwrap_or_default(),
                (bio, record["Hourly Rate"].as_f64().unwrap_or_default()),
            )
        };
        self.records.iter().map(row).collect()
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Checks that every record is there once, in the order of ids, with the vector of
    /// its own text. Fails with the first record that is not.
    pub fn check(&self, model: &str, expected: &mut ExpectedVectors) -> Result<(), String> {
        let build = &self.build;
        if self.records.len() != self.vectors.len() {
            return Err(format!(
                "{build}: {} records for {} vectors",
                self.records.len(),
                self.vectors.len()
            ));
        }
        let ids: Vec<i64> = self.records.iter().filter_map(|record| record["id"].as_i64()).collect();
        if ids.len() != self.records.len() || !ids.is_sorted_by(|one, next| one < next) {
            return Err(format!("{build}: ids out of order or twice: {ids:?}"));
        }
        for (record, vector) in self.records.iter().zip(&self.vectors) {
            let right = expected.vector(model, text_of(record), vector.len());
            // A float of a unit vector is exact to 2^-24 and its sum and root to about as much.
            if !vector.iter().zip(right).all(|(found, right)| (found - right).abs() < 2e-7) {
                return Err(format!("{build}: {record} has the vector of another text"));
            }
        }
        Ok(())
    }
}

impl ExpectedVectors {
    fn vector(&mut self, model: &str, text: String, dimension: usize) -> &[f32] {
        let made = |text: &String| unit(&provider::vector(model, text, dimension));
        self.0.entry(text).or_insert_with_key(made)
    }
}

/// The vectors of a flat index, by its layout: 45 bytes of header, then floats.
fn floats(index: &[u8]) -> Option<Vec<Vec<f32>>> {
    let dimension = u32::from_le_bytes(index.get(4..8)?.try_into().ok()?) as usize;
    let rows = u64::from_le_bytes(index.get(8..16)?.try_into().ok()?);
    let (floats, rest) = index.get(45..)?.as_chunks::<4>();
    let whole = rest.is_empty() && floats.len() as u64 == rows * dimension as u64;
    let floats: Vec<f32> = floats.iter().copied().map(f32::from_le_bytes).collect();
    whole.then(|| floats.chunks_exact(dimension.max(1)).map(<[f32]>::to_vec).collect())
}
