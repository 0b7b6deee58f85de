//! Which touch of the marker was handled, in `.reindexd/marker.json`.
//!
//! A damaged file counts as empty, with a warning: then the marker is handled
//! once more.

use std::io;

use crate::adapters::builds::Layout;
use crate::adapters::builds::json_file;
use crate::domain::file_stamp::FileStamp;

pub(super) struct MarkerFile {
    layout: Layout,
    last_handled: Option<FileStamp>,
}

impl MarkerFile {
    pub(super) fn open(layout: &Layout) -> Self {
        let (last_handled, damaged) = json_file::load(&json_file::path(layout, "marker"));
        if let Some(message) = damaged {
            tracing::warn!("{message}");
        }
        Self { layout: layout.clone(), last_handled }
    }

    pub(super) fn last_handled(&self) -> Option<FileStamp> {
        self.last_handled
    }

    pub(super) fn save(&mut self, stamp: FileStamp) -> io::Result<()> {
        if self.last_handled != Some(stamp) {
            json_file::save_note(&self.layout, "marker", &Some(stamp)).map_err(io::Error::other)?;
            self.last_handled = Some(stamp);
        }
        Ok(())
    }
}
