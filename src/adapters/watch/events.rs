//! The watcher's events become hints.
//!
//! This code runs on the watcher's own thread, so it never waits. Only a
//! change of a watched name counts; opening, reading and closing do not, and a
//! removed marker requests nothing. An event that reports lost events has no
//! path, so it is recognised before any path is compared.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify::EventKind;
use notify::event::{ModifyKind, RenameMode};

use super::control::Control;
use super::hints::HintSender;
use super::paths::{WatchedFile, WatchedPaths};
use crate::decide::debounce::Hint;

pub(super) struct EventHandler {
    pub(super) paths: WatchedPaths,
    pub(super) hints: HintSender,
    pub(super) counts: Arc<EventCounts>,
    pub(super) control: Arc<Control>,
}

impl EventHandler {
    pub(super) fn handle(&self, event: notify::Result<notify::Event>) {
        let Ok(event) = event else {
            self.hints.send(Hint::Everything);
            return;
        };
        // First: this event carries no path, and any filter would drop it.
        if event.need_rescan() {
            self.hints.send(Hint::Everything);
            return;
        }
        // Opening and closing changes nothing, and our own reading does both.
        // A rename was already reported by its two halves.
        if event.kind.is_access() || event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
            return;
        }
        for path in &event.paths {
            if self.paths.is_dir(path) && is_create_or_remove(event.kind) {
                self.control.request(|requests| requests.rearm = true);
            }
            self.handle_path(path, event.kind);
        }
    }

    fn handle_path(&self, path: &Path, kind: EventKind) {
        let Some(name) = self.paths.find(path) else { return };
        self.counts.count(name.file);
        if name.is_step && is_create_or_remove(kind) {
            self.control.request(|requests| requests.check_now = true);
        }
        let is_removed =
            matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
        match name.file {
            WatchedFile::Database => self.hints.send(Hint::Database),
            WatchedFile::Marker if is_removed => {}
            WatchedFile::Marker => self.hints.send(Hint::Marker),
        }
    }
}

fn is_create_or_remove(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// How many events arrived, for database and marker.
#[derive(Debug, Default)]
pub(super) struct EventCounts([AtomicU64; 2]);

impl EventCounts {
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed)]
    }

    pub(super) fn count(&self, file: WatchedFile) {
        let which = match file {
            WatchedFile::Database => 0,
            WatchedFile::Marker => 1,
        };
        self.0[which].fetch_add(1, Ordering::Relaxed);
    }
}
