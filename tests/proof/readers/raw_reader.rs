//! Readers without Faiss, in processes of their own: they check the files to the last byte.
//!
//! One resolves `current` once and opens everything below the result, as README
//! says. The other opens the two old names, as an API does that does not know
//! `current`: its two files may be of two builds, and each of them is whole all
//! the same.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::support::provider::vector;
use crate::support::served_before::NAMES;
use crate::support::{MODEL, text_of};

/// How many pairs are kept open until their builds are collected.
const KEPT: usize = 8;
/// The time from one kept pair to the next.
const EVERY: Duration = Duration::from_millis(250);

/// What a reader does.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReaderPlan {
    /// The folder with `current` and the two names.
    pub data: PathBuf,
    /// Whether to open the two names instead of the files below `current`.
    pub by_name: bool,
    /// How soon all files must be open after `current` was resolved.
    pub grace: Duration,
    /// It ends when this file exists.
    pub stop: PathBuf,
    /// The file for what it saw.
    pub report: PathBuf,
}

/// What a reader saw.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// Pairs opened and found whole.
    pub opened: u64,
    /// Vectors that were searched in their index.
    pub searched: u64,
    /// Pairs that were unchanged to the last byte after their builds had been collected.
    pub outlived: u64,
    /// Files that were removed before a reader opened them later than the grace.
    pub late: u64,
    /// Pairs by the two names that were of two builds.
    pub straddled: u64,
    /// The builds seen.
    pub builds: BTreeSet<String>,
    /// The first few things that went wrong.
    pub faults: Vec<String>,
}

impl Seen {
    fn wrong(&mut self, what: String) {
        if self.faults.len() < 5 {
            self.faults.push(what);
        }
    }
}

/// Reads until the stop file exists.
pub fn read(plan: &ReaderPlan) {
    let mut seen = Seen::default();
    let mut kept: VecDeque<(Instant, Pair)> = VecDeque::new();
    while !plan.stop.exists() {
        let began = Instant::now();
        match Pair::open(plan).and_then(|pair| pair.whole(&mut seen, plan.by_name).map(|()| pair)) {
            Ok(pair) if kept.back().is_none_or(|(since, _)| since.elapsed() > EVERY) && kept.len() < KEPT => {
                kept.push_back((began, pair));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && began.elapsed() > plan.grace => {
                seen.late += 1;
            }
            Err(error) => seen.wrong(error.to_string()),
        }
        while kept.front().is_some_and(|(_, pair)| !pair.parts.iter().any(|part| part.build.exists())) {
            let (_, pair) = kept.pop_front().unwrap();
            match pair.unchanged() {
                Ok(()) => seen.outlived += 1,
                Err(error) => seen.wrong(format!("after it was collected: {error}")),
            }
        }
        // Lets the agent promote.
        std::thread::yield_now();
    }
    std::fs::write(&plan.report, serde_json::to_vec(&seen).unwrap()).unwrap();
}

/// Index and metadata, kept open.
struct Pair {
    parts: [Part; 2],
}

/// A file, its build, and the manifest of that build.
struct Part {
    file: File,
    build: PathBuf,
    manifest: Value,
    name: &'static str,
}

impl Pair {
    fn open(plan: &ReaderPlan) -> io::Result<Self> {
        let folder =
            if plan.by_name { plan.data.clone() } else { plan.data.join("current").canonicalize()? };
        let open = |name| Part::open(&folder, name);
        Ok(Self { parts: [open(NAMES[0])?, open(NAMES[1])?] })
    }

    /// Whether each file matches its build's manifest, and the two are of one build if they must be.
    fn whole(&self, seen: &mut Seen, may_straddle: bool) -> io::Result<()> {
        let [index, metadata] = [self.parts[0].bytes()?, self.parts[1].bytes()?];
        let records: Vec<Value> = serde_json::from_slice(&metadata)?;
        let index = Index::of(&index)?;
        seen.opened += 1;
        for part in &self.parts {
            seen.builds.insert(part.build.file_name().unwrap().to_str().unwrap().to_owned());
        }
        if self.parts[0].build != self.parts[1].build {
            seen.straddled += 1;
            return if may_straddle {
                Ok(())
            } else {
                Err(io::Error::other("two builds below one `current`"))
            };
        }
        if records.len() != index.vectors.len() {
            let found = format!("{} vectors for {} records", index.vectors.len(), records.len());
            return Err(io::Error::other(found));
        }
        // The first row has another text in each build.
        for row in [0, records.len() - 1] {
            let expected = vector(MODEL, &text_of(&records[row]), index.vectors[row].len());
            seen.searched += 1;
            let nearest = index.nearest(&expected);
            if nearest != row {
                return Err(io::Error::other(format!("the text of row {row} finds row {nearest}")));
            }
        }
        Ok(())
    }

    fn unchanged(&self) -> io::Result<()> {
        self.parts.iter().try_for_each(|part| part.bytes().map(drop))
    }
}

impl Part {
    fn open(folder: &Path, name: &'static str) -> io::Result<Self> {
        let file = File::open(folder.join(name))?;
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let path = path.to_str().unwrap().trim_end_matches(" (deleted)");
        let build = Path::new(path).parent().unwrap().to_owned();
        let manifest = serde_json::from_slice(&std::fs::read(build.join("manifest.json"))?)?;
        Ok(Self { file, build, manifest, name })
    }

    /// All bytes, which must have the digest that the manifest has.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut file = &self.file;
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        let digest = blake3::hash(&bytes).to_hex();
        if self.manifest["files"][self.name]["blake3"] == digest.as_str() {
            return Ok(bytes);
        }
        let build = self.build.display();
        Err(io::Error::other(format!("{} of {build} is torn: {} bytes", self.name, bytes.len())))
    }
}

/// The vectors of a flat index.
struct Index {
    vectors: Vec<Vec<f32>>,
}

impl Index {
    const HEADER: usize = 45;

    fn of(bytes: &[u8]) -> io::Result<Self> {
        let short = || io::Error::other("an index without a header");
        let dimension = u32::from_le_bytes(bytes.get(4..8).ok_or_else(short)?.try_into().unwrap()) as usize;
        let floats = bytes.get(Self::HEADER..).ok_or_else(short)?.chunks_exact(4);
        let floats: Vec<f32> = floats.map(|float| f32::from_le_bytes(float.try_into().unwrap())).collect();
        Ok(Self { vectors: floats.chunks_exact(dimension).map(<[f32]>::to_vec).collect() })
    }

    /// The row with the best score.
    fn nearest(&self, query: &[f32]) -> usize {
        let score = |row: &Vec<f32>| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
        let scores = self.vectors.iter().map(score).enumerate();
        scores.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(row, _)| row)
    }
}
