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

use super::paths::{Of, Places};
use super::{Control, HintSender};
use crate::decide::debounce::Hint;

/// Where events arrive: turns them into hints, on the watcher's own thread.
pub(super) struct Ear {
    pub(super) places: Places,
    pub(super) hints: HintSender,
    pub(super) heard: Arc<Heard>,
    pub(super) control: Arc<Control>,
}

impl Ear {
    pub(super) fn hear(&self, event: notify::Result<notify::Event>) {
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
            if self.places.is_dir(path) && came_or_went(event.kind) {
                self.control.order(|orders| orders.arm_anew = true);
            }
            self.hear_of(path, event.kind);
        }
    }

    fn hear_of(&self, path: &Path, kind: EventKind) {
        let Some(name) = self.places.find(path) else { return };
        self.heard.count(name.of);
        if name.is_step && came_or_went(kind) {
            self.control.order(|orders| orders.look_now = true);
        }
        let went =
            matches!(kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)));
        match name.of {
            Of::Database => self.hints.send(Hint::Database),
            Of::Marker if went => {}
            Of::Marker => self.hints.send(Hint::Marker),
        }
    }
}

fn came_or_went(kind: EventKind) -> bool {
    matches!(kind, EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

/// How many events came, for database and marker.
#[derive(Debug, Default)]
pub(super) struct Heard([AtomicU64; 2]);

impl Heard {
    pub(super) fn counts(&self) -> [u64; 2] {
        [self.0[0].load(Ordering::Relaxed), self.0[1].load(Ordering::Relaxed)]
    }

    pub(super) fn count(&self, of: Of) {
        let which = match of {
            Of::Database => 0,
            Of::Marker => 1,
        };
        self.0[which].fetch_add(1, Ordering::Relaxed);
    }
}
