//! The watch on real directories, and on watchers that fail as the kernel can.

use super::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use notify::event::{AccessKind, AccessMode, Flag};
use notify::{EventKind, RecursiveMode, Watcher};

use super::arm::inotify;
use super::control::Backend;
use super::events::EventHandler;
use super::paths::{WatchedFile, WatchedPaths};
use crate::config::WatchMode;
use crate::decide::debounce::Hint;

/// A directory with a database and a marker, and a watch on both.
struct WatchFixture {
    temp: tempfile::TempDir,
    hints: Hints,
    watch: Watch,
}

impl WatchFixture {
    fn new(mode: WatchMode) -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("data")).unwrap();
        for file in ["data/experts.db", "data/experts.db-wal", "data/marker"] {
            fs::write(temp.path().join(file), "there before").unwrap();
        }
        let (watch, hints) = Watch::start(spec(temp.path(), mode)).unwrap();
        Self { temp, hints, watch }
    }

    /// A world whose watch gets its watchers from `make`.
    fn with(make: MakeWatcher) -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("data")).unwrap();
        let spec = spec(temp.path(), WatchMode::Auto);
        let (watch, hints) = Watch::start_with(spec, make, Duration::from_millis(20)).unwrap();
        Self { temp, hints, watch }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join("data").join(name)
    }

    fn append(&self, name: &str) {
        let file = fs::OpenOptions::new().append(true).create(true).open(self.path(name));
        file.unwrap().write_all(b"more").unwrap();
    }

    async fn next_hint(&mut self) -> Hint {
        tokio::time::timeout(Duration::from_secs(20), self.hints.next()).await.expect("a hint in time")
    }

    /// Waits for one certain hint; others may come before it.
    async fn wait_for_hint(&mut self, hint: Hint) {
        while self.next_hint().await != hint {}
    }

    /// Writes until one write is hinted at: the watch may not be set again yet.
    async fn write_until_hint(&mut self, name: &str, hint: Hint) {
        for _ in 0..200 {
            self.append(name);
            let received = tokio::time::timeout(Duration::from_millis(100), self.wait_for_hint(hint)).await;
            if received.is_ok() {
                return;
            }
        }
        panic!("no hint for any of many writes to {name}");
    }
}

fn spec(root: &Path, mode: WatchMode) -> WatchSpec {
    WatchSpec {
        database: root.join("data/experts.db"),
        marker: root.join("data/marker"),
        mode,
        poll_interval: Duration::from_millis(20),
    }
}

/// A watcher that is granted and never reports anything.
#[derive(Debug)]
struct SilentWatcher;

impl Watcher for SilentWatcher {
    fn new<F: notify::EventHandler>(_: F, _: notify::Config) -> notify::Result<Self> {
        Ok(Self)
    }

    fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
        Ok(())
    }

    fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
        Ok(())
    }

    fn kind() -> notify::WatcherKind {
        notify::WatcherKind::NullWatcher
    }
}

type Act = fn(&WatchFixture);

const DATABASE_ACTS: [(&str, Act); 7] = [
    ("a commit in WAL mode", |world| world.append("experts.db-wal")),
    ("the first commit", |world| {
        fs::remove_file(world.path("experts.db-wal")).unwrap();
        world.append("experts.db-wal");
    }),
    ("a commit in rollback mode", |world| world.append("experts.db")),
    ("the log removed by its last writer", |world| fs::remove_file(world.path("experts.db-wal")).unwrap()),
    ("a restored database", |world| {
        fs::write(world.path("restored"), "other").unwrap();
        fs::rename(world.path("restored"), world.path("experts.db")).unwrap();
    }),
    ("made readable", |world| {
        fs::set_permissions(world.path("experts.db"), fs::Permissions::from_mode(0o604)).unwrap();
    }),
    ("removed", |world| fs::remove_file(world.path("experts.db")).unwrap()),
];

const MARKER_ACTS: [(&str, Act); 5] = [
    ("written", |world| world.append("marker")),
    ("touched", |world| {
        let marker = fs::File::options().append(true).open(world.path("marker")).unwrap();
        marker.set_modified(std::time::UNIX_EPOCH).unwrap();
    }),
    ("opened for writing and left empty", |world| {
        fs::File::create(world.path("marker")).unwrap();
    }),
    ("replaced", |world| {
        fs::write(world.path("new"), "").unwrap();
        fs::rename(world.path("new"), world.path("marker")).unwrap();
    }),
    ("removed and created", |world| {
        fs::remove_file(world.path("marker")).unwrap();
        fs::File::create(world.path("marker")).unwrap();
    }),
];

#[tokio::test]
async fn inotify_and_polling_hint_at_every_change() {
    for mode in [WatchMode::Inotify, WatchMode::Auto, WatchMode::Poll] {
        let acts = DATABASE_ACTS.map(|(what, act)| (what, act, Hint::Database));
        let acts = acts.into_iter().chain(MARKER_ACTS.map(|(what, act)| (what, act, Hint::Marker)));
        for (what, act, hint) in acts {
            let mut world = WatchFixture::new(mode);
            act(&world);
            assert_eq!(world.next_hint().await, hint, "{what}, {mode:?}");
        }
    }
}

#[tokio::test]
async fn reading_the_shared_memory_or_other_files_causes_no_hint() {
    for mode in [WatchMode::Inotify, WatchMode::Auto, WatchMode::Poll] {
        let mut world = WatchFixture::new(mode);
        fs::read(world.path("experts.db")).unwrap();
        drop(fs::File::options().append(true).open(world.path("experts.db-wal")).unwrap());
        world.append("experts.db-shm");
        world.append("experts.db.bak");
        world.append("metadata.json");
        fs::remove_file(world.path("marker")).unwrap();
        // Events keep their order: what follows is received after all of that.
        world.append("experts.db-wal");
        assert_eq!(world.next_hint().await, Hint::Database, "{mode:?}");
        world.append("marker");
        world.wait_for_hint(Hint::Marker).await;
    }
}

#[tokio::test]
async fn a_commit_to_a_database_behind_a_link_is_hinted_at() {
    let temp = tempfile::tempdir().unwrap();
    for dir in ["data", "first", "second"] {
        fs::create_dir(temp.path().join(dir)).unwrap();
    }
    let link = temp.path().join("data/experts.db");
    symlink("../first/real.db", &link).unwrap();
    let (watch, hints) = Watch::start(spec(temp.path(), WatchMode::Inotify)).unwrap();
    let mut world = WatchFixture { temp, hints, watch };

    world.append("../first/real.db-wal");
    assert_eq!(world.next_hint().await, Hint::Database);

    symlink("../second/real.db", world.path("new")).unwrap();
    fs::rename(world.path("new"), &link).unwrap();
    world.wait_for_hint(Hint::Everything).await;
    world.write_until_hint("../second/real.db-wal", Hint::Database).await;
}

#[tokio::test]
async fn a_directory_that_comes_late_goes_or_is_replaced_is_watched_again() {
    for mode in [WatchMode::Inotify, WatchMode::Auto] {
        let temp = tempfile::tempdir().unwrap();
        let (watch, hints) = Watch::start(spec(temp.path(), mode)).unwrap();
        let mut world = WatchFixture { temp, hints, watch };
        let data = world.path("");

        fs::create_dir(&data).unwrap();
        world.wait_for_hint(Hint::Everything).await;
        world.write_until_hint("experts.db-wal", Hint::Database).await;

        fs::remove_dir_all(&data).unwrap();
        fs::create_dir(&data).unwrap();
        world.wait_for_hint(Hint::Everything).await;
        world.write_until_hint("marker", Hint::Marker).await;

        fs::rename(&data, world.temp.path().join("moved")).unwrap();
        fs::create_dir(&data).unwrap();
        world.wait_for_hint(Hint::Everything).await;
        world.write_until_hint("experts.db", Hint::Database).await;
    }
}

#[tokio::test]
async fn a_retargeted_watch_reports_the_new_directory() {
    let mut world = WatchFixture::new(WatchMode::Auto);
    let elsewhere = world.temp.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let old = spec(world.temp.path(), WatchMode::Auto);
    world.watch.retarget(WatchSpec { marker: elsewhere.join("marker"), ..old });
    world.wait_for_hint(Hint::Everything).await;
    world.write_until_hint("../elsewhere/marker", Hint::Marker).await;
}

#[tokio::test]
async fn where_inotify_is_refused_files_are_polled_until_it_is_granted() {
    let granted = Arc::new(AtomicBool::new(false));
    let is_granted = Arc::clone(&granted);
    let mut world = WatchFixture::with(Box::new(move |handler| {
        if is_granted.load(Ordering::SeqCst) {
            inotify(handler)
        } else {
            // What the kernel answers when every instance is taken: EMFILE.
            Err(notify::Error::io(io::Error::from_raw_os_error(24)))
        }
    }));
    world.append("experts.db");
    assert_eq!(world.next_hint().await, Hint::Database);
    world.append("marker");
    world.wait_for_hint(Hint::Marker).await;

    granted.store(true, Ordering::SeqCst);
    world.wait_for_hint(Hint::Everything).await;
    world.write_until_hint("experts.db-wal", Hint::Database).await;
}

#[tokio::test]
async fn a_file_system_that_reports_no_events_is_detected_and_polled() {
    let mut world = WatchFixture::with(Box::new(|_| Ok(Box::new(SilentWatcher))));
    world.append("experts.db");
    assert_eq!(world.next_hint().await, Hint::Everything);
    world.append("marker");
    assert_eq!(world.next_hint().await, Hint::Marker);
}

/// A watcher whose checks the test runs itself, on an empty directory.
fn file_watcher(root: &Path, mode: WatchMode, make: MakeWatcher) -> FileWatcher {
    let (hints, _) = channel();
    FileWatcher::new(spec(root, mode), hints, Arc::default(), make, INOTIFY_RETRY)
}

fn refuse(_: EventHandler) -> notify::Result<Box<dyn Watcher + Send>> {
    Err(notify::Error::new(notify::ErrorKind::MaxFilesWatch))
}

#[test]
fn inotify_that_was_refused_is_tried_again_only_after_a_while() {
    let temp = tempfile::tempdir().unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let make = move |handler| {
        count.fetch_add(1, Ordering::SeqCst);
        refuse(handler)
    };
    let mut watcher = file_watcher(temp.path(), WatchMode::Auto, Box::new(make));
    let start = Instant::now();
    for second in [0, 1, 29, 31, 32, 60, 62] {
        watcher.check(start + Duration::from_secs(second));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    assert_eq!(watcher.logged, Some(Backend::Polling));
}

#[test]
fn where_only_inotify_is_allowed_nothing_is_polled() {
    let temp = tempfile::tempdir().unwrap();
    let mut watcher = file_watcher(temp.path(), WatchMode::Inotify, Box::new(refuse));
    watcher.check(Instant::now());
    assert_eq!(watcher.logged, Some(Backend::NotAtAll));
    assert!(watcher.polled.is_none());
}

fn is_silent(watcher: &FileWatcher) -> bool {
    watcher.inotify.as_ref().unwrap().is_silent()
}

#[test]
fn a_change_explained_by_a_later_event_does_not_count_as_silence() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("data")).unwrap();
    let mut watcher = file_watcher(temp.path(), WatchMode::Auto, Box::new(|_| Ok(Box::new(SilentWatcher))));
    let start = Instant::now();
    watcher.check(start);
    fs::write(temp.path().join("data/experts.db"), "x").unwrap();
    watcher.check(start + Duration::from_millis(100));
    watcher.inotify.as_ref().unwrap().counts.count(WatchedFile::Database);
    watcher.check(start + Duration::from_secs(9));
    assert!(!is_silent(&watcher));
    fs::write(temp.path().join("data/marker"), "x").unwrap();
    watcher.check(start + Duration::from_secs(10));
    assert!(!is_silent(&watcher), "not before its time");
    watcher.check(start + Duration::from_secs(11));
    assert!(is_silent(&watcher));
}

#[tokio::test]
async fn a_queue_that_overflowed_and_an_error_are_hints_for_everything() {
    let temp = tempfile::tempdir().unwrap();
    let (sender, mut hints) = channel();
    let handler = EventHandler {
        paths: WatchedPaths::of(&temp.path().join("db"), &temp.path().join("marker")),
        hints: sender,
        counts: Arc::default(),
        control: Arc::default(),
    };
    handler.handle(Ok(notify::Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert_eq!(hints.next().await, Hint::Everything);
    handler.handle(Err(notify::Error::generic("the queue is gone")));
    assert_eq!(hints.next().await, Hint::Everything);
    let closed = EventKind::Access(AccessKind::Close(AccessMode::Write));
    handler.handle(Ok(notify::Event::new(closed).add_path(temp.path().join("marker"))));
    assert_eq!(handler.counts.counts(), [0, 0]);
}
