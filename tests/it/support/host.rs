//! The Python side of a host: what ingest.py would make from the same table, and readers with faiss-cpu.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::provider::vector;
use super::{MODEL, Ran, World, python, reader_script, run};

/// What ingest.py would write and send.
pub struct IngestReference {
    /// The bytes of its `metadata.json`.
    pub metadata: Vec<u8>,
    /// The document texts, in the order of the index.
    pub texts: Vec<String>,
    /// The rows that would have ended it, with Python's message.
    pub quarantined: String,
}

impl IngestReference {
    /// Each text once, at its first place: the texts that must be embedded.
    pub fn distinct_texts(&self) -> Vec<String> {
        let mut seen = std::collections::HashSet::new();
        self.texts.iter().filter(|text| seen.insert(text.as_str())).cloned().collect()
    }
}

/// How Faiss compares two index files.
#[derive(Debug)]
pub struct Compared(Value);

impl Compared {
    /// Same shape, inner product in a flat index, and no component that differs by more than a last bit.
    #[track_caller]
    pub fn assert_same(&self, rows: usize, dimension: usize) {
        let Self(said) = self;
        let flat = serde_json::json!({
            "ntotal": rows, "d": dimension, "metric": "inner_product", "type": "IndexFlatIP",
        });
        assert_eq!((&said["a"], &said["b"]), (&flat, &flat));
        let gap = said["largest_difference"].as_f64();
        assert!(gap.is_some_and(|gap| gap <= 2e-7), "largest difference of a component: {gap:?}");
    }
}

impl World {
    /// Runs a script of `tests/reader` in the world's folder.
    #[track_caller]
    pub fn python(&self, script: &str, arguments: &[&Path]) -> Ran {
        run(&mut self.python_command(&reader_script(script), arguments))
    }

    /// A Python program in the world's folder, with faiss-cpu available.
    pub fn python_command(&self, script: &Path, arguments: &[&Path]) -> Command {
        let mut command = Command::new(python());
        // One thread: many of these run at the same time.
        command.arg(script).args(arguments).current_dir(self.path("")).env("OMP_NUM_THREADS", "1");
        command
    }

    /// What ingest.py would make from the current table.
    #[track_caller]
    pub fn reference(&self) -> IngestReference {
        let (metadata, texts) = (self.path("oracle.metadata"), self.path("oracle.texts"));
        let ran = self.python("oracle.py", &[&self.database(), &metadata, &texts]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let texts = std::fs::read_to_string(texts).unwrap();
        IngestReference {
            metadata: std::fs::read(metadata).unwrap(),
            texts: texts.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            quarantined: ran.stderr,
        }
    }

    /// Runs the substitute of ingest.py on the two names that the API opens.
    #[track_caller]
    pub fn ingest(&self, dimension: usize) {
        self.ingest_to(&self.path("data/faiss.index"), &self.path("data/metadata.json"), dimension);
    }

    /// The same, with files elsewhere.
    #[track_caller]
    pub fn ingest_to(&self, index: &Path, metadata: &Path, dimension: usize) {
        let ran = self.try_ingest(index, metadata, dimension);
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// The same, where it may fail half-way.
    #[track_caller]
    pub fn try_ingest(&self, index: &Path, metadata: &Path, dimension: usize) -> Ran {
        let vectors = self.raw_vectors(&self.reference().texts, dimension);
        self.python("ingest_like.py", &[&self.database(), &vectors, index, metadata])
    }

    /// How Faiss compares two index files.
    #[track_caller]
    pub fn compared(&self, one: &Path, other: &Path) -> Compared {
        let ran = self.python("compare_index.py", &[one, other]);
        assert_eq!(ran.code, 0, "{ran:?}");
        Compared(ran.json())
    }

    /// A reader with Faiss must find index and metadata of one build, through `current` and the old names.
    #[track_caller]
    pub fn assert_readable(&self) {
        let ran = self.python("reader.py", &[&self.path("data")]);
        assert_eq!(ran.code, 0, "{ran:?}");
    }

    /// The provider's vector for each text, one JSON list per line.
    fn raw_vectors(&self, texts: &[String], dimension: usize) -> PathBuf {
        let path = self.path("vectors.jsonl");
        let mut file = std::io::BufWriter::new(std::fs::File::create(&path).unwrap());
        for text in texts {
            // As an f64, which JSON preserves to the last bit.
            let vector: Vec<f64> = vector(MODEL, text, dimension).into_iter().map(f64::from).collect();
            serde_json::to_writer(&mut file, &vector).unwrap();
            file.write_all(b"\n").unwrap();
        }
        file.flush().unwrap();
        path
    }
}
