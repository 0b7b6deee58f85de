//! Takes over the files of a host that ran ingest.py.
//!
//! Two plain files under the public names become a build, so that the switch
//! to links changes nothing that a reader sees: the index gets a second name,
//! the metadata (which ingest.py writes in place) are copied, `current` is made
//! to lead to them, and only then a link is renamed over each name. No name is
//! ever missing, and the pair is never more mixed than it was found.
//!
//! Nothing proves that the rows of such a build match the table, so it gives
//! no vectors: the first reconcile buys them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use thiserror::Error;

use super::disk::{self, DiskError, Mode, Writer};
use super::index;
use super::layout::{HASHES, INDEX, MANIFEST, METADATA};
use super::promote::{self, PromoteError, leads_to, link_public_names};
use super::staging::{self, Staging};
use super::{Build, Builds, BuildsError, Served, error_chain};
use crate::domain::manifest::{FileFact, Files, MANIFEST_FORMAT, Manifest, SourceFacts};
use crate::domain::pass::{Counts, PromotedBy, Timings};
use crate::domain::row_hashes::hashes_header;
use crate::domain::stop::Stop;

/// What stood under the public names.
#[derive(Debug)]
pub enum Adoption {
    /// Links of ours, or nothing: nothing to adopt.
    Nothing,
    /// Two plain files, now served as a build.
    Adopted {
        /// The build.
        build: Box<Build>,
        /// Where index and metadata do not belong together: what Faiss and JSON say.
        mismatch: Option<String>,
    },
    /// Plain files with the bytes of the served build: only their links were missing.
    Relinked,
    /// One plain file beside a link: ingest.py was run again. The pair must be built anew.
    Mixed {
        /// The names that are plain files.
        plain: Vec<PathBuf>,
    },
}

/// Why nothing was adopted.
#[derive(Debug, Error)]
pub enum AdoptError {
    /// A stop was asked for; the names are as they were found.
    #[error("stopped while the files of ingest.py were taken over")]
    Stopped,
    /// Which says what is served.
    #[error(transparent)]
    Promote(#[from] PromoteError),
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

/// Asked between pieces of a long copy or digest: an error ends it.
type GoOn<'a> = &'a dyn Fn() -> Result<(), AdoptError>;

/// Looks at the public names and adopts what ingest.py left there. The caller holds the lock.
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
    let go_on = || if stop.check().is_err() { Err(AdoptError::Stopped) } else { Ok(()) };
    let names = builds.layout.public();
    let mut plain = Vec::new();
    for (link, target, name) in &names {
        if leads_to(link, target) {
            continue;
        }
        match link.metadata() {
            Ok(meta) if meta.is_file() => plain.push((link.clone(), *name)),
            Ok(meta) => {
                let found = if meta.is_dir() { "a directory" } else { "a device, fifo or socket" };
                return Err(BuildsError::NotFileOrLink { path: link.clone(), found }.into());
            }
            // Missing, or a link that leads nowhere: a promotion puts ours there.
            Err(_) => {}
        }
    }
    if plain.is_empty() {
        return Ok(Adoption::Nothing);
    }
    if let Some(build) = served.build()
        && are_of(build, &plain, &go_on)?
    {
        // Not noted as undone if it is cut short: the same bytes under plain names are found again.
        link_public_names(builds)?;
        return Ok(Adoption::Relinked);
    }
    if plain.len() < names.len() {
        let linked = names.iter().any(|(link, target, _)| leads_to(link, target));
        let plain = plain.into_iter().map(|(path, _)| path).collect();
        return Ok(if linked { Adoption::Mixed { plain } } else { Adoption::Nothing });
    }
    let (build, mismatch) = take_over(builds, sequence, now, &go_on)?;
    promote::serve(builds, &build.manifest.id, builds.mode(), now)?;
    Ok(Adoption::Adopted { build: Box::new(build), mismatch })
}

/// Makes a sealed build of the two plain files.
fn take_over(
    builds: &Builds,
    sequence: u64,
    now: Timestamp,
    go_on: GoOn<'_>,
) -> Result<(Build, Option<String>), AdoptError> {
    let layout = &builds.layout;
    let stat = layout.index.metadata().map_err(DiskError::at("stat", &layout.index))?;
    let mode = Mode::like(stat.mode(), stat.gid());
    let id = format!("{}{}", staging::new_id(now), staging::ADOPTED);
    let staging = Staging { mode, ..Staging::begin(builds, id)? };
    // A link's target is taken, not the link: the build must stand by itself.
    let index = layout.index.canonicalize().map_err(DiskError::at("find", &layout.index))?;
    disk::link_or_copy(&index, &staging.path(INDEX), go_on)?;
    disk::copy(&layout.metadata, &staging.path(METADATA), go_on)?;
    let mut hashes = Writer::create(&staging.path(HASHES))?;
    hashes.write(&hashes_header(&[]))?;
    let hashes = hashes.finish(mode)?;
    for name in [INDEX, METADATA] {
        // Their modes stay as they were found: the index shares them with the old name.
        let bits = if name == INDEX { stat.mode() & 0o777 } else { metadata_bits(layout)? };
        disk::seal_file(&staging.path(name), Mode { file: bits, ..mode })?;
    }
    let (index, metadata) =
        (file_fact(&staging.path(INDEX), go_on)?, file_fact(&staging.path(METADATA), go_on)?);
    let (header, mismatch) = classify(&staging, go_on)?;
    let files = Files { index, metadata, hashes };
    let manifest = manifest_of(&staging.id, sequence, now, files, header);
    let mut writer = Writer::create(&staging.path(MANIFEST))?;
    writer.write(&manifest.print())?;
    writer.finish(mode)?;
    disk::sync_directory(&staging.directory)?;
    let directory = layout.build(&staging.id);
    disk::rename(&staging.directory, &directory)?;
    disk::sync_directory(&layout.builds)?;
    Ok((Build { directory, manifest }, mismatch))
}

fn metadata_bits(layout: &super::Layout) -> Result<u32, DiskError> {
    let meta = layout.metadata.metadata().map_err(DiskError::at("stat", &layout.metadata))?;
    Ok(meta.mode() & 0o777)
}

/// Whether the pair belongs together, as far as the two files can tell.
fn classify(
    staging: &Staging,
    go_on: GoOn<'_>,
) -> Result<(Option<index::IndexHeader>, Option<String>), AdoptError> {
    let header = match index::header(&staging.path(INDEX)) {
        Ok(header) => header,
        Err(error) => return Ok((None, Some(error_chain(&error)))),
    };
    let mut counter = super::verify::RecordCounter::default();
    read_through(&staging.path(METADATA), &mut |piece| counter.bytes(piece), go_on)?;
    let records = counter.finish();
    let same = records == header.ntotal.to_string();
    let words = format!("the index has {} vectors, the metadata: {records}", header.ntotal);
    Ok((Some(header), (!same).then_some(words)))
}

fn manifest_of(
    id: &str,
    sequence: u64,
    now: Timestamp,
    files: Files,
    header: Option<index::IndexHeader>,
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
        source: SourceFacts { database: "unknown".to_owned(), indexed_rows: ntotal },
        space: None,
        scan_hash: None,
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
        previous: None,
    }
}

/// Whether these plain files have the bytes of a build's.
fn are_of(build: &Build, plain: &[(PathBuf, &str)], go_on: GoOn<'_>) -> Result<bool, AdoptError> {
    for (path, name) in plain {
        if !same_bytes(path, &build.path(name), go_on)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn same_bytes(one: &Path, other: &Path, go_on: GoOn<'_>) -> Result<bool, AdoptError> {
    let inode = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino(), meta.len()));
    let (Some(a), Some(b)) = (inode(one), inode(other)) else { return Ok(false) };
    Ok(a == b || (a.2 == b.2 && file_fact(one, go_on)? == file_fact(other, go_on)?))
}

fn file_fact(path: &Path, go_on: GoOn<'_>) -> Result<FileFact, AdoptError> {
    let mut hasher = blake3::Hasher::new();
    let mut digest = |piece: &[u8]| {
        hasher.update(piece);
    };
    let bytes = read_through(path, &mut digest, go_on)?;
    Ok(FileFact { bytes, blake3: hasher.finalize().to_string() })
}

fn read_through(path: &Path, each: &mut dyn FnMut(&[u8]), go_on: GoOn<'_>) -> Result<u64, AdoptError> {
    use std::io::Read;
    let mut file = disk::open_file(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        go_on()?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                bytes += read as u64;
                each(&buffer[..read]);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(DiskError::at("read", path)(error).into()),
        }
    }
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
