//! The files of judged queries, read whole.
//!
//! A file is read once in a pass, and only a regular one up to a bound: what an
//! operator names may be a pipe, a device, or as large as the disk. One that
//! changes while it is read is refused, because its beginning and its end may
//! not belong together. What the lines mean is `evaluate`'s.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::domain::evaluate::judged::JudgedFile;
use crate::domain::evaluate::{JudgedFault, JudgedQueries};

/// Largest file: more than the judgements that are allowed need.
const MAX_BYTES: u64 = 256 << 20;

/// Why there are no judged queries.
#[derive(Debug, Error)]
pub enum JudgedError {
    #[error("{} {} cannot be read", file.name(), path.display())]
    Unreadable { file: JudgedFile, path: PathBuf, source: io::Error },
    #[error("{} {}: expected a regular file of at most {MAX_BYTES} bytes, found {found}", file.name(), path.display())]
    Unusable { file: JudgedFile, path: PathBuf, found: String },
    #[error("{} {} changed while it was read", file.name(), path.display())]
    Changed { file: JudgedFile, path: PathBuf },
    #[error("{}: {fault}", path.display())]
    Fault { path: PathBuf, fault: JudgedFault },
}

/// Reads queries and judgements.
///
/// # Errors
///
/// [`JudgedError`]: nothing can be measured with these files.
pub fn read(queries: &Path, qrels: &Path) -> Result<JudgedQueries, JudgedError> {
    let questions = read_file(JudgedFile::Queries, queries)?;
    let judgements = read_file(JudgedFile::Qrels, qrels)?;
    JudgedQueries::parse(&questions, &judgements).map_err(|fault| {
        let path = match fault.file {
            JudgedFile::Queries => queries,
            JudgedFile::Qrels => qrels,
        };
        JudgedError::Fault { path: path.to_owned(), fault }
    })
}

fn read_file(file: JudgedFile, path: &Path) -> Result<Vec<u8>, JudgedError> {
    let unreadable = |source| JudgedError::Unreadable { file, path: path.to_owned(), source };
    // A pipe would be waited for.
    let no_wait = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let mut opened = OpenOptions::new().read(true).custom_flags(no_wait).open(path).map_err(unreadable)?;
    let before = stamp(&opened).map_err(unreadable)?;
    let unusable = |found: String| JudgedError::Unusable { file, path: path.to_owned(), found };
    let Some(before) = before else { return Err(unusable("another kind of file".to_owned())) };
    if before.bytes > MAX_BYTES {
        return Err(unusable(format!("{} bytes", before.bytes)));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.bytes).unwrap_or_default());
    (&mut opened).take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let after = stamp(&opened).map_err(unreadable)?;
    if after != Some(before) || bytes.len() as u64 != before.bytes {
        return Err(JudgedError::Changed { file, path: path.to_owned() });
    }
    Ok(bytes)
}

#[derive(Clone, Copy, PartialEq)]
struct ReadStamp {
    bytes: u64,
    written: [i64; 2],
}

/// What a write changes of a regular file; `None` for any other kind.
fn stamp(file: &File) -> io::Result<Option<ReadStamp>> {
    let about = file.metadata()?;
    let stamp = ReadStamp { bytes: about.len(), written: [about.mtime(), about.mtime_nsec()] };
    Ok(about.is_file().then_some(stamp))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::text::error_chain;

    const QUERIES: &str = "{\"_id\":\"a\",\"text\":\"A\"}\n";
    const QRELS: &str = "query-id\tcorpus-id\tscore\na\t7\t1\n";

    #[test]
    fn both_files_are_read_and_one_that_cannot_be_used_is_named_with_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let (queries, qrels) = (path("q.jsonl", QUERIES), path("r.tsv", QRELS));
        assert_eq!(read(&queries, &qrels).unwrap().queries.len(), 1);

        let huge = path("huge", "");
        File::options().write(true).open(&huge).unwrap().set_len(MAX_BYTES + 1).unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let wrong = path("wrong", "query-id\tcorpus-id\tscore\na\t7\tx\n");
        let cases = [
            (folder.path().join("none"), "evaluate.qrels", "none cannot be read: No such file"),
            (folder.path().to_owned(), "evaluate.qrels", "found another kind of file"),
            (pipe, "evaluate.qrels", "found another kind of file"),
            (huge, "evaluate.qrels", "found 268435457 bytes"),
            (wrong, "wrong: evaluate.qrels line 2", "expected a whole number"),
        ];
        for (qrels, name, expected) in cases {
            let message = error_chain(&read(&queries, &qrels).unwrap_err());
            assert!(message.contains(name) && message.contains(expected), "{message}");
        }
    }
}
