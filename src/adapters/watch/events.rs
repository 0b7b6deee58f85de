//! Where the watcher's events arrive and become hints.
//!
//! Runs on the watcher's own thread, so it never waits. What counts is a
//! change of a name that matters; opening, reading and closing are not, and a
//! marker that goes away asks for nothing. An event that says that events were
//! lost has no path, and is asked about before any path is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use notify::EventKind;
use notify::event::{ModifyKind, RenameMode};

use super::paths::{WatchedFile, WatchedPaths};
use super::{Control, HintSender};
use crate::decide::debounce::Hint;

/// Where events arrive: turns them into hints, on the watcher's own thread.
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
        // First of all: this one carries no path, and any filter would drop it.
        if event.need_rescan() {
            self.hints.send(Hint::Everything);
            return;
        }
        // Opening and closing changes nothing, and our own reading does both.
        // A rename was told of by its two halves already.
        if event.kind.is_access() || event.kind == EventKind::Modify(ModifyKind::Name(RenameMode::Both)) {
            return;
        }
        for path in &event.paths {
            if self.paths.is_dir(path) && is_create_or_remove(event.kind) {
                self.control.request(|orders| orders.rearm = true);
            }
            self.handle_path(path, event.kind);
        }
    }

    fn handle_path(&self, path: &Path, kind: EventKind) {
        let Some(name) = self.paths.find(path) else { return };
        self.counts.count(name.file);
        if name.is_step && is_create_or_remove(kind) {
            self.control.request(|orders| orders.check_now = true);
        }
        let went =
            matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
        match name.file {
            WatchedFile::Database => self.hints.send(Hint::Database),
            WatchedFile::Marker if went => {}
            WatchedFile::Marker => self.hints.send(Hint::Marker),
        }
    }
}

fn is_create_or_remove(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// How many events came, for database and marker.
#[derive(Debug, Default)]
pub(super) struct EventCounts([AtomicU64; 2]);

impl EventCounts {
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed)]
    }

    pub(super) fn count(&self, of: WatchedFile) {
        let which = match of {
            WatchedFile::Database => 0,
            WatchedFile::Marker => 1,
        };
        self.0[which].fetch_add(1, Ordering::Relaxed);
    }
}
