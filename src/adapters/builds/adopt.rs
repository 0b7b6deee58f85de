//! Adopts the files of a host that ran ingest.py.
//!
//! Two plain files under the public names become a build, so that the switch
//! to links changes nothing that a reader sees: the index gets a second name,
//! the metadata (which ingest.py writes in place) are copied, `current` leads
//! to them, and only then a link is renamed over each name. No name is ever
//! missing, and the pair is never more mixed than it was found.
//!
//! Nothing shows that the rows of such a build match the table, so no vector
//! of it is reused by itself: the first pass embeds every text, unless an
//! operator asks to prove some of them.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::io::Errno;
use thiserror::Error;

use super::build::{ADOPTED, new_id};
use super::disk::{self, is_link_to};
use super::disk_error::DiskError;
use super::index::{self, IndexError, IndexHeader};
use super::layout::{HASHES, INDEX, Layout, METADATA};
use super::mode::Mode;
use super::promote::{self, PromoteError, link_public_names};
use super::staging::{Staging, write_hashes};
use super::verify::{ReadError, RecordCounter, read_to_end};
use super::{Build, Builds, BuildsError, Served};
use crate::domain::manifest::{FileFact, Files, MANIFEST_FORMAT, Manifest, SourceFacts};
use crate::domain::pass::{Counts, PromotedBy, Timings};
use crate::domain::stop::{Stop, Stopped};
use crate::domain::text::error_chain;

/// What stood under the public names.
#[derive(Debug)]
pub enum Adoption {
    /// Links of ours, or nothing: nothing to adopt.
    Nothing,
    /// Two plain files, now served as a build.
    Adopted {
        build: Box<Build>,
        /// Why index and metadata do not belong together, if they do not.
        mismatch: Option<String>,
    },
    /// Plain files with the bytes of the served build: only their links were missing.
    Relinked,
    /// One plain file beside a link: ingest.py was run again. The pair must be built again.
    Mixed {
        /// The names that are plain files.
        plain: Vec<PathBuf>,
    },
}

/// Why nothing was adopted.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// The names are as they were found.
    #[error("stopped while the files of ingest.py were adopted")]
    Stopped,
    /// Says what is served.
    #[error(transparent)]
    Promote(#[from] PromoteError),
}

impl From<Stopped> for AdoptError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<BuildsError> for AdoptError {
    fn from(error: BuildsError) -> Self {
        Self::Promote(PromoteError::NotPromoted(error))
    }
}

impl From<DiskError> for AdoptError {
    fn from(error: DiskError) -> Self {
        BuildsError::from(error).into()
    }
}

impl From<ReadError> for AdoptError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped => Self::Stopped,
            ReadError::Disk(error) => error.into(),
        }
    }
}

/// A public name under which a plain file stands, and the file in a build that it stands for.
type PlainFile = (PathBuf, &'static str);

/// Adopts what ingest.py left under the public names. The caller holds the pass lock.
///
/// # Errors
///
/// [`AdoptError`], which says what is served.
pub fn adopt(
    builds: &Builds,
    served: &Served,
    sequence: u64,
    now: Timestamp,
    stop: &Stop,
) -> Result<Adoption, AdoptError> {
    let names = builds.layout.public();
    let plain = plain_files(&builds.layout)?;
    if plain.is_empty() {
        return Ok(Adoption::Nothing);
    }
    if let Some(build) = served.build()
        && are_of(build, &plain, stop)?
    {
        // Not noted as unfinished if it is cut short: the same bytes under plain names are found again.
        link_public_names(builds)?;
        return Ok(Adoption::Relinked);
    }
    if plain.len() < names.len() {
        let is_linked = names.iter().any(|(link, target, _)| is_link_to(link, target));
        let plain = plain.into_iter().map(|(path, _)| path).collect();
        return Ok(if is_linked { Adoption::Mixed { plain } } else { Adoption::Nothing });
    }
    let (build, mismatch) = take_over(builds, sequence, now, stop)?;
    promote::serve(builds, &build.manifest.id, builds.mode()?, now)?;
    Ok(Adoption::Adopted { build: Box::new(build), mismatch })
}

fn plain_files(layout: &Layout) -> Result<Vec<PlainFile>, BuildsError> {
    let mut plain = Vec::new();
    for (link, target, name) in layout.public() {
        if is_known_link_to(&link, &target)? {
            continue;
        }
        match link.metadata() {
            Ok(meta) if meta.is_file() => plain.push((link, name)),
            Ok(meta) => {
                let found = if meta.is_dir() { "a directory" } else { "a device, fifo or socket" };
                return Err(BuildsError::NotFileOrLink { path: link, found });
            }
            // Missing, or a link that leads nowhere: a promotion puts ours there.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) if Errno::from_io_error(&error) == Some(Errno::LOOP) => {}
            Err(error) => return Err(DiskError::at("stat", &link)(error).into()),
        }
    }
    Ok(plain)
}

/// Whether a name is a link with exactly this target; a link that cannot be read is not taken for a file.
fn is_known_link_to(link: &Path, target: &Path) -> Result<bool, DiskError> {
    match link.read_link() {
        Ok(found) => Ok(found == target),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(false),
        Err(error) => Err(DiskError::at("read the link", link)(error)),
    }
}

/// Makes a sealed build of the two plain files.
fn take_over(
    builds: &Builds,
    sequence: u64,
    now: Timestamp,
    stop: &Stop,
) -> Result<(Build, Option<String>), AdoptError> {
    let layout = &builds.layout;
    let stat = layout.index.metadata().map_err(DiskError::at("stat", &layout.index))?;
    let mode = Mode::like(stat.mode(), stat.gid());
    let staging = Staging::begin(builds, format!("{}{ADOPTED}", new_id(now)))?;
    let staging = Staging { mode, ..staging };
    let check = || stop.check().map_err(AdoptError::from);
    // A link's target is adopted, not the link: the build must stand by itself.
    let index = layout.index.canonicalize().map_err(DiskError::at("find", &layout.index))?;
    disk::link_or_copy(&index, &staging.path(INDEX), &check)?;
    let metadata = layout.metadata.canonicalize().map_err(DiskError::at("find", &layout.metadata))?;
    disk::copy(&metadata, &staging.path(METADATA), &check)?;
    let hashes = write_hashes(&staging.path(HASHES), mode, &[])?;
    // Their modes stay as they were found: the index shares its own with the old name.
    disk::seal_file(&staging.path(INDEX), Mode { file: stat.mode() & 0o777, ..mode })?;
    disk::seal_file(&staging.path(METADATA), Mode { file: metadata_bits(layout)?, ..mode })?;
    let index = file_fact(&staging.path(INDEX), stop)?;
    let metadata = file_fact(&staging.path(METADATA), stop)?;
    let (header, mismatch) = classify(&staging, stop)?;
    let manifest = manifest_of(&staging.id, sequence, now, Files { index, metadata, hashes }, header);
    Ok((staging.take_name(layout, &manifest)?, mismatch))
}

fn metadata_bits(layout: &Layout) -> Result<u32, DiskError> {
    let meta = layout.metadata.metadata().map_err(DiskError::at("stat", &layout.metadata))?;
    Ok(meta.mode() & 0o777)
}

/// Whether the pair belongs together, as far as the two files show.
fn classify(staging: &Staging, stop: &Stop) -> Result<(Option<IndexHeader>, Option<String>), AdoptError> {
    let header = match index::header(&staging.path(INDEX)) {
        Ok(header) => header,
        Err(IndexError::Disk(error)) if !error.proves_damage() => return Err(error.into()),
        Err(error) => return Ok((None, Some(error_chain(&error)))),
    };
    let mut counter = RecordCounter::default();
    read_to_end(&staging.path(METADATA), stop, &mut |chunk| counter.bytes(chunk))?;
    let records = match counter.finish() {
        Ok(records) if records == header.ntotal => return Ok((Some(header), None)),
        Ok(records) => records.to_string(),
        Err(error) => error.to_string(),
    };
    let mismatch = format!("the index has {} vectors, the metadata: {records}", header.ntotal);
    Ok((Some(header), Some(mismatch)))
}

fn manifest_of(
    id: &str,
    sequence: u64,
    now: Timestamp,
    files: Files,
    header: Option<IndexHeader>,
) -> Manifest {
    let ntotal = header.map_or(0, |header| header.ntotal);
    Manifest {
        format: MANIFEST_FORMAT,
        id: id.to_owned(),
        sequence,
        created: now.to_string(),
        trigger: PromotedBy::Adopt.as_str().to_owned(),
        adopted: true,
        program: crate::PROGRAM.to_owned(),
        faiss: "unknown".to_owned(),
        source: SourceFacts {
            database: "unknown".to_owned(),
            indexed_rows: ntotal,
            ..SourceFacts::default()
        },
        rules: None,
        space: None,
        address: None,
        scan_hash: None,
        values_hash: None,
        content_hash: None,
        quarantined: Vec::new(),
        files,
        ntotal,
        dimension: header.map_or(0, |header| header.dimension),
        metric: header
            .map_or("unknown", |header| if header.inner_product { "inner_product" } else { "other" })
            .to_owned(),
        counts: Counts { records: ntotal, ..Counts::default() },
        timings: Timings::zero().before_promotion(),
        evaluation: None,
        previous: None,
    }
}

/// Whether these plain files have the bytes of a build's.
fn are_of(build: &Build, plain: &[PlainFile], stop: &Stop) -> Result<bool, AdoptError> {
    for (path, name) in plain {
        if !have_same_bytes(path, &build.path(name), stop)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn have_same_bytes(one: &Path, other: &Path, stop: &Stop) -> Result<bool, AdoptError> {
    let stat = |path: &Path| match path.metadata() {
        Ok(meta) => Ok(Some((meta.dev(), meta.ino(), meta.len()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(DiskError::at("stat", path)(error)),
    };
    let (Some(a), Some(b)) = (stat(one)?, stat(other)?) else { return Ok(false) };
    if a == b || a.2 != b.2 {
        return Ok(a == b);
    }
    let found = one.canonicalize().map_err(DiskError::at("find", one))?;
    Ok(file_fact(&found, stop)? == file_fact(other, stop)?)
}

fn file_fact(path: &Path, stop: &Stop) -> Result<FileFact, AdoptError> {
    let mut hasher = blake3::Hasher::new();
    let bytes = read_to_end(path, stop, &mut |chunk| {
        hasher.update(chunk);
    })?;
    Ok(FileFact { bytes, blake3: hasher.finalize().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::stop::stop_at_check;

    #[test]
    fn an_adoption_that_is_stopped_at_any_chunk_leaves_both_names_as_they_were_found() {
        for pieces in 0.. {
            let folder = tempfile::tempdir().unwrap();
            let names = ["faiss.index", "metadata.json"].map(|name| folder.path().join(name));
            for name in &names {
                std::fs::write(name, b"[]").unwrap();
            }
            let builds = Builds::at(&names[0], &names[1]).unwrap();
            let _lock = builds.lock().unwrap().unwrap();
            let stop = stop_at_check(pieces + 1);

            let adopted = adopt(&builds, &builds.served(), 1, Timestamp::UNIX_EPOCH, &stop);

            if !stop.is_requested() {
                assert!(matches!(adopted, Ok(Adoption::Adopted { .. })), "{pieces}: {adopted:?}");
                assert!(pieces > 3, "it was hardly ever asked");
                return;
            }
            assert!(matches!(adopted, Err(AdoptError::Stopped)), "{pieces}: {adopted:?}");
            let plain = |name: &PathBuf| name.symlink_metadata().unwrap().is_file();
            assert!(names.iter().all(plain) && !builds.layout.current.exists(), "{pieces}");
        }
    }
}
