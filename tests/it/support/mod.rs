//! A world for one test: folder, database, embedding server, program.
//!
//! Only the embedding server is simulated, and it speaks real HTTP. The program
//! is the one that users run, in a clean environment.

pub mod agent;
pub mod api;
pub mod client;
pub mod clock;
pub mod host;
pub mod judged;
pub mod pass;
pub mod provider;
pub mod search_api;
pub mod served_before;
pub mod source;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::Pid;
use serde_json::Value;
use tempfile::TempDir;

use provider::Provider;

/// How long a condition may take to come true on a slow machine.
pub const SOON: Duration = Duration::from_secs(30);
/// Floats in a vector, small so that tests are fast.
pub const DIMENSION: usize = 32;
/// The model that the settings name for the fake server.
pub const MODEL: &str = "gemini-embedding-001";

/// The model that the settings name for it as a `/v1/embeddings` server.
pub const OPENAI_MODEL: &str = "text-embedding-3-small";

/// Folder, database, embedding server.
pub struct World {
    folder: TempDir,
    /// The embedding server that the program uses.
    pub provider: Provider,
}

/// The result of a run of the program.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; 128 and the number for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The object that `--json` prints; panics where anything else was printed.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON object: {error}: {self:?}"))
    }

    /// A number in that object.
    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        self.json()[key].as_u64().unwrap_or_else(|| panic!("no number {key}: {self:?}"))
    }

    /// A text in that object.
    #[track_caller]
    pub fn text(&self, key: &str) -> String {
        self.json()[key].as_str().unwrap_or_else(|| panic!("no text {key}: {self:?}")).to_owned()
    }
}

impl World {
    /// An empty table in a rollback-journal database at `data/experts.db`.
    pub fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    /// The same on a file system in memory, if there is one: many promotions need not wait for the disk.
    pub fn in_memory() -> Self {
        Self::at(tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap())
    }

    fn at(folder: TempDir) -> Self {
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let world = Self { folder, provider: Provider::start() };
        world.make_table();
        world
    }

    /// Makes the empty table if there is none yet.
    pub fn make_table(&self) {
        self.sql(include_str!("../../../data/schema.sql"));
    }

    /// A table with `count` tagged people.
    pub fn with_people(count: u32) -> Self {
        let world = Self::new();
        world.add_people(1..=count);
        world
    }

    /// Adds tagged people by id, each with a text of its own.
    pub fn add_people(&self, ids: impl IntoIterator<Item = u32>) {
        let mut database = self.connect();
        let all = database.transaction().unwrap();
        for id in ids {
            add_person(&all, id);
        }
        all.commit().unwrap();
    }

    /// A path below the world's folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.path("data/experts.db")
    }

    /// A connection of a writer.
    pub fn connect(&self) -> Connection {
        let database = Connection::open(self.database()).unwrap();
        database.busy_timeout(Duration::from_secs(10)).unwrap();
        database
    }

    /// Runs SQL on a connection of its own, which is closed afterwards.
    #[track_caller]
    pub fn sql(&self, sql: &str) {
        self.connect().execute_batch(sql).unwrap();
    }

    /// Writes `reindexd.toml`, which then replaces the environment of ingest.py.
    pub fn settings(&self, toml: &str) {
        std::fs::write(self.path("reindexd.toml"), toml).unwrap();
    }

    /// Settings for the fake server's `/v1/embeddings`; `more` is added to `[embedding]`.
    pub fn ask_openai(&self, more: &str) {
        std::fs::write(self.path("openai.key"), "openai-test-key\n").unwrap();
        let base = self.provider.base_url();
        let more = if more.contains("base_url") {
            more.to_owned()
        } else {
            format!("base_url = \"{base}\"\n{more}")
        };
        self.settings(&format!(
            "[embedding]\nprovider = \"openai\"\nmodel = \"{OPENAI_MODEL}\"\napi_key_file = \"openai.key\"\n{more}"
        ));
    }

    /// The program with arguments, in the world's folder, in the environment that ingest.py had.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reindexd"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("DATABASE_URL", "sqlite:///data/experts.db")
            .env("OUTPUT_DIM", DIMENSION.to_string())
            .env("GOOGLE_API_KEY", "test-key")
            .env("GOOGLE_GEMINI_BASE_URL", self.provider.base_url())
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        run(&mut self.command(arguments))
    }

    /// `reindexd build --json`, which must succeed.
    #[track_caller]
    pub fn build(&self) -> Ran {
        let ran = self.run(&["build", "--json"]);
        assert_eq!(ran.code, 0, "build failed: {ran:?}");
        ran
    }

    /// The id of the served build, from the link alone.
    pub fn served(&self) -> Option<String> {
        let target = std::fs::read_link(self.path("data/current")).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// A file as the API opens it, by its old name.
    #[track_caller]
    pub fn published(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path("data").join(name)).unwrap()
    }

    /// The served records.
    #[track_caller]
    pub fn records(&self) -> Vec<Value> {
        serde_json::from_slice(&self.published("metadata.json")).unwrap()
    }

    /// How many records are served; 0 before the first build.
    pub fn served_count(&self) -> usize {
        let records = std::fs::read(self.path("data/metadata.json")).ok();
        let records = records.and_then(|bytes| serde_json::from_slice::<Vec<Value>>(&bytes).ok());
        records.map_or(0, |records| records.len())
    }

    /// The served vectors.
    #[track_caller]
    pub fn vectors(&self) -> Vec<Vec<f32>> {
        let index = self.published("faiss.index");
        let dimension = u32::from_le_bytes(index[4..8].try_into().unwrap()) as usize;
        let floats = index[45..].chunks_exact(4).map(|float| f32::from_le_bytes(float.try_into().unwrap()));
        floats.collect::<Vec<_>>().chunks_exact(dimension).map(<[f32]>::to_vec).collect()
    }

    /// Every served vector must be the provider's vector of its record's text, at unit length.
    ///
    /// The text is made from the metadata alone, for people as [`World::add_people`] makes them.
    #[track_caller]
    pub fn assert_true(&self, model: &str) {
        let (records, vectors) = (self.records(), self.vectors());
        assert_eq!(records.len(), vectors.len(), "a vector for every record");
        for (record, vector) in records.iter().zip(&vectors) {
            let expected = unit(&provider::vector(model, &text_of(record), vector.len()));
            let close = vector.iter().zip(&expected).all(|(found, due)| (found - due).abs() < 2e-7);
            assert!(close, "the vector of {record} is that of another record");
        }
    }

    /// Makes every promotion ten minutes older: no reader can still use an old build.
    #[track_caller]
    pub fn let_the_grace_pass(&self) {
        self.edit_promotions(|promotion| {
            let at: jiff::Timestamp = promotion["at"].as_str().unwrap().parse().unwrap();
            promotion["at"] = (at - jiff::SignedDuration::from_mins(11)).to_string().into();
            let uptime = promotion["uptime_ms"].as_i64().unwrap();
            promotion["uptime_ms"] = (uptime - 660_000).into();
        });
    }

    /// Changes what is remembered of each promotion.
    #[track_caller]
    pub fn edit_promotions(&self, edit: impl FnMut(&mut Value)) {
        let path = self.path("data/.reindexd/state.json");
        let mut state: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        state["promotions"].as_array_mut().unwrap().iter_mut().for_each(edit);
        std::fs::write(path, state.to_string()).unwrap();
    }

    /// The builds in `builds/`, by their names, sorted.
    pub fn builds(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("data/builds")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Everything below `data/` whose name ends in `.staging`.
    pub fn staging(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("data")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                }
                if entry.file_name().as_encoded_bytes().ends_with(b".staging") {
                    found.push(entry.path());
                }
            }
        }
        found
    }

    /// The directories of builds not yet proven.
    pub fn drafts(&self) -> Vec<PathBuf> {
        let builds = self.path("data/builds");
        self.staging().into_iter().filter(|path| path.starts_with(&builds)).collect()
    }

    /// `reindexd verify` must prove the served build.
    #[track_caller]
    pub fn assert_proven(&self) {
        let ran = self.run(&["verify", "--json"]);
        assert_eq!((ran.code, ran.json()["ok"].as_bool()), (0, Some(true)), "{ran:?}");
    }
}

/// Adds a tagged person with a text of its own, in a transaction of its own unless one is open.
pub fn add_person(database: &Connection, id: u32) {
    let person = "INSERT INTO experts (id, username, first_name, last_name, job_title, company, bio, hourly_rate, currency, tags)
         VALUES (?1, 'user' || ?1, 'First' || ?1, 'Last' || ?1, 'Title', 'Company', 'Bio of person ' || ?1 || '.', 100.5, 'EUR', '[\"tag\", \"other\"]')";
    database.execute(person, [id]).unwrap();
}

/// The document text of a record as [`World::add_people`] makes them.
pub fn text_of(record: &Value) -> String {
    let part = |key: &str| record[key].as_str().unwrap();
    let tags: Vec<&str> =
        record["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
    format!(
        "{} {}. {} at {}. {} Domains: {}.",
        part("First Name"),
        part("Last Name"),
        part("Job Title"),
        part("Company"),
        part("Bio"),
        tags.join(", ")
    )
}

/// A vector at unit length, computed with twice the precision.
pub fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is wanted")]
    vector.iter().map(|&x| (f64::from(x) / length) as f32).collect()
}

/// Runs a command to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Ran {
    ended(start(command))
}

/// Starts a command whose output is kept for [`ended`].
#[track_caller]
pub fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for the end of a command that was started.
#[track_caller]
pub fn ended(child: Child) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let output = child.wait_with_output().unwrap();
    let code = output.status.code().or_else(|| output.status.signal().map(|number| 128 + number)).unwrap();
    Ran {
        code,
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Waits until a condition holds; panics with `what` if it does not hold [`SOON`].
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "still not so after {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Prints that a test could not run here, past the harness, which shows only the output of failing tests.
pub fn not_run(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not by a macro, since the harness captures those.
    let line = format!("NOT RUN: {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}

/// A Python with faiss-cpu, as the API host has one. `make test` makes it; without it tests fail and name it.
pub fn python() -> PathBuf {
    let python = std::env::var_os("REINDEXD_TEST_PYTHON");
    python
        .map(PathBuf::from)
        .expect("REINDEXD_TEST_PYTHON names a python with faiss-cpu: run the tests by `make test`")
}

/// A script below `tests/reader`.
pub fn reader_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reader").join(name)
}

/// The files that a process has open; none after its end.
pub fn open_files(pid: Pid) -> Vec<PathBuf> {
    let open = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    open.into_iter().flatten().flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
}

/// The letter of the process's state in the system; `None` after its end.
pub fn process_state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // The name is in brackets and may contain anything.
    stat.rsplit_once(") ")?.1.chars().next()
}
