//! A database on a disk that keeps whole seconds: what was read there without locks could be half of one
//! commit and half of the next, so it is read with locks or not at all.
//!
//! Each test runs itself once more in a mount namespace of its own, with such a disk.

use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::source_read_only::Reader;
use crate::support::{not_run, run};

/// Environment variable that is set where the test already runs in a namespace of its own.
const INSIDE: &str = "REINDEXD_TEST_INSIDE_NAMESPACE";

/// Runs `act` with a copy of a reader's database on such a disk, in a process of its own.
fn on_a_disk_of_whole_seconds(mode: &str, act: impl FnOnce(&Reader, &Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let reader = Reader::of(3, mode);
        let (image, disk) = (reader.world.path("image"), reader.world.path("disk"));
        std::fs::create_dir(&disk).unwrap();
        assert!(mount(&image, &disk));
        let database = disk.join("experts.db");
        std::fs::copy(reader.database(), &database).unwrap();
        act(&reader, &database);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let probe = folder.path().join("disk");
    std::fs::create_dir(&probe).unwrap();
    let script = "mkfs.ext4 -q -I 128 -F image 2>&1 && mount -o loop image disk";
    std::fs::File::create(folder.path().join("image")).unwrap().set_len(IMAGE_BYTES).unwrap();
    let tried = Command::new("unshare").args(["-m", "sh", "-c", script]).current_dir(folder.path()).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        return not_run("a disk with inodes of 128 bytes cannot be made and mounted here");
    }
    let test = std::thread::current().name().unwrap().to_owned();
    let inside = run(Command::new("unshare")
        .arg("-m")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &test, "--nocapture"])
        .env(INSIDE, "1"));
    assert!(inside.code == 0 && inside.stdout.contains("1 passed"), "{}\n{}", inside.stdout, inside.stderr);
}

const IMAGE_BYTES: u64 = 16 << 20;

/// Makes a disk in `image` and mounts it at `disk`.
fn mount(image: &Path, disk: &Path) -> bool {
    std::fs::File::create(image).unwrap().set_len(IMAGE_BYTES).unwrap();
    let made = run(Command::new("mkfs.ext4").args(["-q", "-I", "128", "-F"]).arg(image));
    made.code == 0 && run(Command::new("mount").args(["-o", "loop"]).args([image, disk])).code == 0
}

fn names(database: &Path) -> Vec<String> {
    let files = std::fs::read_dir(database.parent().unwrap()).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The program as a user who may only read this database.
fn command(reader: &Reader, database: &Path, arguments: &[&str]) -> Command {
    let mut command = reader.command(arguments);
    command.env("DATABASE_URL", format!("sqlite:///{}", database.display()));
    command
}

#[test]
fn an_idle_log_on_a_disk_of_whole_seconds_is_refused_until_a_writer_keeps_it_open() {
    on_a_disk_of_whole_seconds("wal", |reader, database| {
        let before = names(database);

        for arguments in [["plan", "--json"], ["build", "--json"]] {
            let refused = run(&mut command(reader, database, &arguments));
            assert_eq!(refused.code, 1, "{refused:?}");
            let error = refused.text("error");
            assert!(error.contains("is in WAL mode on ext4") && error.contains("as the owner"), "{error}");
        }
        let status = run(&mut command(reader, database, &["status", "--json"]));
        assert!(status.text("error").contains("is in WAL mode on ext4"), "{status:?}");
        assert_eq!(names(database), before, "no file is made beside it");

        let writer = Connection::open(database).unwrap();
        writer.execute("UPDATE experts SET bio = 'of the writer' WHERE id = 1", []).unwrap();
        let built = run(&mut command(reader, database, &["build", "--json"]));
        assert_eq!((built.code, built.number("records")), (0, 3), "{built:?}");
        let with_log: Vec<_> =
            names(database).into_iter().filter(|name| name.starts_with("experts")).collect();
        assert_eq!(with_log, ["experts.db", "experts.db-shm", "experts.db-wal"]);
    });
}

#[test]
fn a_journal_on_a_disk_of_whole_seconds_is_read_and_no_file_is_made() {
    on_a_disk_of_whole_seconds("delete", |reader, database| {
        let before = names(database);

        for (arguments, records) in [(["build", "--json"], 3), (["plan", "--json"], 3)] {
            let ran = run(&mut command(reader, database, &arguments));
            assert_eq!((ran.code, ran.number("records")), (0, records), "{ran:?}");
        }

        assert_eq!(names(database), before);
    });
}
