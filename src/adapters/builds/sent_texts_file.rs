//! `.reindexd/sent.json` on disk: how many texts left the host and have no vector.
//!
//! The file is written in place and flushed before the texts leave, so that
//! neither a kill nor a power cut lets them be forgotten; its length stays, so
//! that a full disk does not matter. A file that is damaged, or of a newer
//! version, counts as an unknown number of texts. One that cannot be read says
//! nothing, and nothing is sent because of it. Only its user may open it, and
//! only the holder of the pass lock writes it.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::disk;
use super::disk_error::DiskError;
use super::json_file;
use super::layout::Layout;
use super::open;
use crate::domain::sent_texts::{SENT_TEXTS_BYTES, SentTexts};

/// The file, open for as long as an attempt sends.
#[derive(Debug)]
pub struct SentTextsFile {
    path: PathBuf,
    file: File,
}

impl SentTextsFile {
    /// Opens the file, or makes it, with what it says; and a warning where that is lost.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if it cannot be made or read.
    pub fn open(layout: &Layout) -> Result<(Self, SentTexts, Option<String>), DiskError> {
        let path = json_file::path(layout, "sent");
        let opened = match open::open_to_write(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            other => Some(other.map_err(DiskError::at("open", &path))?),
        };
        let Some(file) = opened else {
            let file = open::create(&path, 0o600).map_err(DiskError::at("create", &path))?;
            let new = Self { path, file };
            new.write(&SentTexts::default(), false)?;
            disk::sync_directory(&layout.private)?;
            return Ok((new, SentTexts::default(), None));
        };
        let found = Self { path, file };
        let (sent, warning) = found.read()?;
        Ok((found, sent, warning))
    }

    /// Replaces what the file says; it is durable when this returns, if `flush` asks for it.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if it cannot be written or flushed.
    pub fn write(&self, sent: &SentTexts, flush: bool) -> Result<(), DiskError> {
        self.file.write_all_at(&sent.print(), 0).map_err(DiskError::at("write", &self.path))?;
        if flush { self.file.sync_data().map_err(DiskError::at("flush", &self.path)) } else { Ok(()) }
    }

    fn read(&self) -> Result<(SentTexts, Option<String>), DiskError> {
        let meta = self.file.metadata().map_err(DiskError::at("stat", &self.path))?;
        if !meta.is_file() {
            return Err(DiskError::invalid(&self.path, "something other than a file".to_owned()));
        }
        let mut bytes = Vec::with_capacity(SENT_TEXTS_BYTES + 1);
        let file = open::open_to_read(&self.path).map_err(DiskError::at("open", &self.path))?;
        let mut beginning = file.take(SENT_TEXTS_BYTES as u64 + 1);
        beginning.read_to_end(&mut bytes).map_err(DiskError::at("read", &self.path))?;
        match SentTexts::parse(&bytes) {
            Ok(sent) => Ok((sent, None)),
            Err(why) => {
                let lost = format!(
                    "{} does not say how many texts were sent without an answer: {why}; one text is sent, and more only if its vector comes",
                    self.path.display()
                );
                self.file.set_len(0).map_err(DiskError::at("shorten", &self.path))?;
                Ok((SentTexts { is_unknown: true, ..SentTexts::default() }, Some(lost)))
            }
        }
    }
}

/// What is remembered, without a change; `None` if there is nothing, or it cannot be read.
#[must_use]
pub fn sent_texts(layout: &Layout) -> Option<SentTexts> {
    let bytes = disk::read_small(&json_file::path(layout, "sent"), SENT_TEXTS_BYTES as u64).ok()?;
    SentTexts::parse(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use super::*;
    use crate::adapters::builds::Builds;

    fn layout(folder: &Path) -> Layout {
        let names = ["faiss.index", "metadata.json"].map(|name| folder.join(name));
        let layout = Builds::at(&names[0], &names[1]).unwrap().layout;
        std::fs::create_dir(&layout.private).unwrap();
        layout
    }

    fn sent(unanswered: u64) -> SentTexts {
        SentTexts { unanswered, ..SentTexts::default() }
    }

    #[test]
    fn what_was_written_is_read_by_the_next_process_and_by_no_other_user() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        assert_eq!(sent_texts(&layout), None);
        let (file, found, warning) = SentTextsFile::open(&layout).unwrap();
        assert_eq!((found, warning), (SentTexts::default(), None));

        for (unanswered, flush) in [(7, true), (3, false)] {
            file.write(&sent(unanswered), flush).unwrap();

            assert_eq!(sent_texts(&layout), Some(sent(unanswered)));
            assert_eq!(SentTextsFile::open(&layout).unwrap().1, sent(unanswered));
        }
        let mode = json_file::path(&layout, "sent").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_was_not_written_so_counts_as_an_unknown_number() {
        let newer = r#"{"format":9}"#;
        let mut newer = format!("{newer}\n{}\n", blake3::hash(newer.as_bytes()).to_hex()).into_bytes();
        newer.resize(SENT_TEXTS_BYTES, b' ');
        let flipped = {
            let mut bytes = sent(5).print();
            bytes[20] ^= 1;
            bytes
        };
        for bytes in [vec![], b"{}".to_vec(), flipped, vec![b'x'; 1 << 20], newer] {
            let folder = tempfile::tempdir().unwrap();
            let layout = layout(folder.path());
            std::fs::write(json_file::path(&layout, "sent"), &bytes).unwrap();

            let (file, found, warning) = SentTextsFile::open(&layout).unwrap();
            assert!(found.is_unknown && warning.is_some_and(|warning| warning.contains("sent.json")));

            // It stays unknown until something is written.
            assert!(SentTextsFile::open(&layout).unwrap().1.is_unknown);
            file.write(&sent(1), true).unwrap();
            assert_eq!(SentTextsFile::open(&layout).unwrap().1, sent(1));
        }
    }

    #[test]
    fn what_is_not_a_file_is_neither_read_nor_written() {
        for make in [
            |path: &Path| std::fs::create_dir(path),
            |path: &Path| {
                let other = path.with_extension("other");
                std::fs::write(&other, "kept")?;
                std::os::unix::fs::symlink(&other, path)
            },
        ] {
            let folder = tempfile::tempdir().unwrap();
            let layout = layout(folder.path());
            let path = json_file::path(&layout, "sent");
            make(&path).unwrap();

            assert!(SentTextsFile::open(&layout).is_err());

            let other = std::fs::read(path.with_extension("other"));
            assert!(other.is_err() || other.unwrap() == b"kept");
        }
    }
}
