//! The folder of a measurement: a database, settings and builds.
//!
//! Folders stay below `target/bench`, so that a large database is made once. It is
//! made under another name first: a database with its final name is complete.

use std::collections::HashSet;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, params};
use serde_json::Value;

use crate::run::{Memory, Ran, run};
use crate::sample_rows::People;
use crate::server::Server;

/// The shape of a table.
#[derive(Clone)]
pub struct Shape {
    /// Rows with tags.
    pub tagged: u32,
    /// Rows without.
    pub untagged: u32,
    /// Characters of a bio.
    pub bio: Range<usize>,
    /// Whether ids are texts of 64 characters.
    pub long_ids: bool,
}

impl Shape {
    /// Bios of the usual length: about 550 bytes a row.
    pub const fn usual(tagged: u32) -> Self {
        Self { tagged, untagged: 0, bio: 80..280, long_ids: false }
    }

    fn rows(&self) -> u32 {
        self.tagged + self.untagged
    }

    /// Untagged rows are among the tagged ones, as in real tables.
    fn is_tagged(&self, id: u32) -> bool {
        let before = |id: u32| u64::from(id) * u64::from(self.tagged) / u64::from(self.rows());
        before(id) > before(id - 1)
    }
}

/// A folder to measure in.
pub struct Fixture {
    folder: PathBuf,
    pub shape: Shape,
    /// Whether each measurement starts without its files in memory.
    cold: bool,
}

impl Fixture {
    /// The folder of this name, with a database of this shape, made if it does not exist yet.
    pub fn open(name: &str, shape: Shape, server: &Server, dimension: usize) -> Self {
        let folder = root().join(name);
        let data = folder.join("data");
        std::fs::create_dir_all(&data).unwrap();
        let bed = Self { folder, shape, cold: false };
        if !bed.database().exists() {
            eprintln!("making the database of {name}");
            bed.make_database();
        }
        let quoted = |path: PathBuf| format!("\"{}\"", path.display());
        let settings = format!(
            "[source]\ndatabase = {}\n[trigger]\nmarker = {}\n[embedding]\nbase_url = \"http://{}\"\ndimension = {dimension}\n\
             [publish]\nindex = {}\nmetadata = {}\n",
            quoted(bed.database()),
            quoted(bed.marker()),
            server.address(),
            quoted(data.join("faiss.index")),
            quoted(data.join("metadata.json")),
        );
        std::fs::write(bed.folder.join("reindexd.toml"), settings).unwrap();
        bed
    }

    /// The same, but each measurement reads its files from the disk.
    pub fn cold(self) -> Self {
        Self { cold: true, ..self }
    }

    /// To be called right before a measurement: for a cold one, the kernel drops the pages of every file in
    /// the folder. That needs no privilege, but only clean pages are dropped, so all are flushed first.
    pub fn make_ready(&self) {
        if self.cold {
            rustix::fs::sync();
            drop_pages(&self.folder);
        }
    }

    /// The program with arguments, as a user would call it.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.folder.join("reindexd.toml"))
            .current_dir(&self.folder)
            .env_clear()
            .env("GOOGLE_API_KEY", "none-is-asked-for")
            .stdin(std::process::Stdio::null());
        command
    }

    /// `reindexd build --json`.
    pub fn build(&self, memory: Memory) -> Ran {
        run(&mut self.command(&["build", "--json"]), memory)
    }

    /// `reindexd plan --json` of this table where nothing is served; `source` and `document` are further
    /// settings.
    pub fn planned(&self, name: &str, source: &str, document: &str) -> Ran {
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let settings = format!(
            "[source]\ndatabase = {:?}\n{source}{document}[publish]\nindex = {:?}\nmetadata = {:?}\n",
            self.database().display().to_string(),
            folder.join("faiss.index").display().to_string(),
            folder.join("metadata.json").display().to_string(),
        );
        let file = folder.join("reindexd.toml");
        std::fs::write(&file, settings).unwrap();
        let mut plan = Command::new(program());
        plan.args(["plan", "--json", "--config"]).arg(file).current_dir(&folder).env_clear();
        run(plan.env("GOOGLE_API_KEY", "none-is-asked-for"), Memory::Unwatched)
    }

    /// Serves the content of the table, if it is not served yet.
    pub fn settle(&self) {
        self.build(Memory::Unwatched);
    }

    pub fn database(&self) -> PathBuf {
        self.folder.join("data/experts.db")
    }

    pub fn marker(&self) -> PathBuf {
        self.folder.join("data/tagging-complete")
    }

    /// A path to copy files to.
    pub fn scratch(&self) -> PathBuf {
        self.folder.join("scratch")
    }

    /// The served index and metadata.
    pub fn served_files(&self) -> Vec<PathBuf> {
        let names = ["faiss.index", "metadata.json"];
        names.iter().map(|name| self.folder.join("data/current").join(name)).collect()
    }

    /// The name of the served build.
    pub fn served(&self) -> Option<PathBuf> {
        std::fs::read_link(self.folder.join("data/current")).ok()
    }

    /// Removes all builds and all stored vectors.
    pub fn forget_builds(&self) {
        let data = self.folder.join("data");
        for name in ["builds", ".reindexd"] {
            std::fs::remove_dir_all(data.join(name)).ok();
        }
        for name in ["faiss.index", "metadata.json", "current", "served.json", "tagging-complete"] {
            std::fs::remove_file(data.join(name)).ok();
        }
    }

    /// Changes the bios of `count` random people.
    pub fn change(&self, count: u32, random: &mut fastrand::Rng) {
        self.set(count, "bio = 'Since ' || ?1 || ' on the board. ' || substr(bio, 1, 200)", random);
    }

    /// The same with their hourly rates, which are in the metadata and in no text.
    pub fn change_rates(&self, count: u32, random: &mut fastrand::Rng) {
        self.set(count, "hourly_rate = hourly_rate + 1", random);
    }

    /// Changes `count` random people; `?1` is a text that was never in the table.
    fn set(&self, count: u32, change: &str, random: &mut fastrand::Rng) {
        let mut database = Connection::open(self.database()).unwrap();
        let all = database.transaction().unwrap();
        let change = format!("UPDATE experts SET {change} WHERE id = ?2 AND tags NOT NULL");
        let (mut changed, mut drawn) = (0, HashSet::new());
        while changed < count {
            let news = format!("{:08x}", random.u32(..));
            let id = random.u32(1..=self.shape.rows());
            if !drawn.insert(id) {
                continue;
            }
            let done = if self.shape.long_ids {
                all.execute(&change, params![news, long_id(id)])
            } else {
                all.execute(&change, params![news, id])
            };
            changed += u32::try_from(done.unwrap()).unwrap();
        }
        all.commit().unwrap();
    }

    /// Makes every promotion eleven minutes older, so that a replaced build may be removed.
    pub fn let_the_grace_pass(&self) {
        let path = self.folder.join("data/.reindexd/state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for promotion in state["promotions"].as_array_mut().unwrap() {
            let at: jiff::Timestamp = promotion["at"].as_str().unwrap().parse().unwrap();
            promotion["at"] = (at - jiff::SignedDuration::from_mins(11)).to_string().into();
        }
        std::fs::write(path, state.to_string()).unwrap();
    }

    fn make_database(&self) {
        let fresh = self.folder.join("data/experts.db.fresh");
        std::fs::remove_file(&fresh).ok();
        let people = People::from_sample();
        let mut database = Connection::open(&fresh).unwrap();
        database.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let mut schema = include_str!("../data/schema.sql").to_owned();
        if self.shape.long_ids {
            schema = schema.replace("id INTEGER", "id TEXT");
        }
        database.execute_batch(&schema).unwrap();
        let all = database.transaction().unwrap();
        {
            let mut insert =
                all.prepare("INSERT INTO experts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)").unwrap();
            for id in 1..=self.shape.rows() {
                let person = people.person(u64::from(id), &self.shape.bio);
                let tags = self.shape.is_tagged(id).then_some(&person.tags);
                let long = self.shape.long_ids.then(|| long_id(id));
                let id: &dyn rusqlite::ToSql = if let Some(long) = &long { long } else { &id };
                insert
                    .execute(params![
                        id,
                        person.username,
                        person.first_name,
                        person.last_name,
                        person.job_title,
                        person.company,
                        person.bio,
                        person.hourly_rate,
                        person.currency,
                        person.profile_url,
                        person.profile_url_utm,
                        tags,
                        person.findability_score,
                        person.category,
                    ])
                    .unwrap();
            }
        }
        all.commit().unwrap();
        drop(database);
        std::fs::rename(fresh, self.database()).unwrap();
    }
}

/// Drops the cached pages of every file below a folder; links are not followed.
fn drop_pages(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            drop_pages(&entry.path());
        } else if kind.is_file() {
            let file = File::open(entry.path()).unwrap();
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

/// An id of 64 characters.
fn long_id(id: u32) -> String {
    blake3::hash(&id.to_le_bytes()).to_string()
}

/// The folder of everything that the bench makes.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

/// The measured program: the copy that `make bench` made, else the one that cargo just built.
pub fn program() -> PathBuf {
    let given = std::env::var_os("REINDEXD_BENCH_PROGRAM").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_reindexd")))
}
