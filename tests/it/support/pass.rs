//! Passes in the test's own process: many in a second, on a clock that the test sets.
//!
//! Real files and a real database, on a file system in memory if there is one;
//! only the provider is a function. It embeds in batches of [`BATCH`], one
//! after the other, so that a test knows which texts were embedded before it
//! failed.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reindexd::adapters::builds::uptime::Uptime;
use reindexd::adapters::embed::{Embedder, Failure, FailureKind, SentLog, Task};
use reindexd::config::{self, Config, Inputs};
use reindexd::domain::pass::PassReport;
use reindexd::domain::stop::Stop;
use reindexd::flows::reconcile::{
    self, PassContext, PassError, PassOptions, PassProgress, Rollback, RollbackReport,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::SOON;
use super::provider::vector;

/// Texts in a request.
pub const BATCH: usize = 2;

thread_local! {
    /// Seconds since 1970, for every pass of this thread.
    static NOW: Cell<i64> = const { Cell::new(1_800_000_000) };
}

/// The time that passes see.
pub fn now() -> i64 {
    NOW.get()
}

/// Advances the time of day and how long the system has run.
pub fn wait(seconds: i64) {
    NOW.set(now() + seconds);
}

/// A data directory, and the settings of the passes that publish to it.
pub struct PassHarness {
    folder: TempDir,
    /// The settings; a test may change them between passes.
    pub config: Config,
    runtime: Runtime,
    /// Texts embedded since a test last took them.
    pub embedded: Arc<Mutex<Vec<String>>>,
    /// The warnings of passes.
    pub warned: Arc<Mutex<Vec<String>>>,
}

impl PassHarness {
    /// An empty data directory; builds are made from this database.
    pub fn new(database: &Path) -> Self {
        Self::at(folder(), database, 8)
    }

    /// A data directory that may have builds already, for vectors of this dimension.
    pub fn at(folder: TempDir, database: &Path, dimension: usize) -> Self {
        let dimension = dimension.to_string();
        let path = |name: &str| Some(folder.path().join(name).into_os_string());
        let env = |name: &str| match name {
            "FAISS_INDEX_PATH" => path("faiss.index"),
            "METADATA_PATH" => path("metadata.json"),
            "OUTPUT_DIM" => Some(dimension.clone().into()),
            _ => None,
        };
        let nowhere = Path::new("/nowhere");
        let inputs =
            Inputs { flag: None, env: &env, cwd: nowhere, system_file: nowhere, dotenv: false, key: false };
        let mut config = config::from_inputs(&inputs).unwrap().config;
        database.clone_into(&mut config.source.database);
        config.embedding.concurrency = 1;
        config.guard.max_shrink = 1.0;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { folder, config, runtime: runtime.unwrap(), embedded: Arc::default(), warned: Arc::default() }
    }

    /// Replaces the settings of source and document by these keys of the two sections.
    pub fn settings(&mut self, source: &str, document: &str) {
        let (file, database) =
            (self.path("reindexd.toml"), self.config.source.database.display().to_string());
        let name = |name: &str| self.path(name).display().to_string();
        let toml = format!(
            "[source]\ndatabase = {database:?}\n{source}\n[document]\n{document}\n[publish]\nindex = {:?}\n\
             metadata = {:?}\n[embedding]\ndimension = {}\nconcurrency = 1\n[guard]\nmax_shrink = 1.0\n",
            name("faiss.index"),
            name("metadata.json"),
            self.config.embedding.dimension,
        );
        std::fs::write(&file, &toml).unwrap();
        let nowhere = Path::new("/nowhere");
        let inputs = Inputs {
            flag: Some(&file),
            env: &|_| None,
            cwd: nowhere,
            system_file: nowhere,
            dotenv: false,
            key: false,
        };
        let loaded = config::from_inputs(&inputs).unwrap_or_else(|error| panic!("{error}\n{toml}"));
        self.config = loaded.config;
    }

    /// Runs one pass in whatever space; the provider fails permanently after `requests` requests.
    ///
    /// What earlier passes sent without an answer is forgotten, which would make a pass begin with one text.
    pub fn pass(&self, options: &PassOptions, requests: usize) -> Result<PassReport, PassError> {
        std::fs::remove_file(self.path(".reindexd/sent.json")).ok();
        let options = PassOptions { accept_space: true, ..options.clone() };
        self.unlocked(requests, |world| reconcile::reconcile(world, &options))
    }

    /// Serves an earlier build again.
    pub fn roll_back(&self, to: &str) -> Result<RollbackReport, PassError> {
        let asked = Rollback { to: Some(to.to_owned()), by: "a test".to_owned(), accept_space: true };
        self.unlocked(0, |world| reconcile::rollback(world, &asked))
    }

    /// The three served files that depend on rows and vectors alone.
    pub fn served(&self) -> [Vec<u8>; 3] {
        ["faiss.index", "metadata.json", "hashes.bin"]
            .map(|name| std::fs::read(self.path("current").join(name)).unwrap())
    }

    /// The names in `builds/`, sorted.
    pub fn builds(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("builds")).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Acts when the lock is free. Another test that starts a program forks, and
    /// the fork has every lock of this process until it has become that program.
    fn unlocked<T>(
        &self,
        requests: usize,
        act: impl Fn(&PassContext<'_>) -> Result<T, PassError>,
    ) -> Result<T, PassError> {
        let deadline = Instant::now() + SOON;
        loop {
            match self.with_pass(requests, &act) {
                Err(PassError::Busy) if Instant::now() < deadline => std::thread::yield_now(),
                other => return other,
            }
        }
    }

    fn with_pass<T>(&self, requests: usize, act: impl FnOnce(&PassContext<'_>) -> T) -> T {
        let model = self.config.embedding.model.clone();
        let embedder: Arc<dyn Embedder> = Arc::new(FakeEmbedder {
            dimension: self.config.embedding.dimension,
            model,
            requests_left: Mutex::new(requests),
            embedded: Arc::clone(&self.embedded),
        });
        let on_progress = |now: PassProgress<'_>| {
            if let PassProgress::Warning(message) = now {
                self.warned.lock().unwrap().push(message.to_owned());
            }
        };
        act(&PassContext {
            config: &self.config,
            space: self.config.space(|| unreachable!("no local model")),
            embedder: &|| Ok(Arc::clone(&embedder)),
            sent: SentLog::default(),
            runtime: self.runtime.handle().clone(),
            stop: Stop::new(),
            progress: &on_progress,
            clock: || Timestamp::from_second(now()).unwrap(),
            uptime: || Uptime(now() * 1000),
        })
    }
}

/// A folder in memory if possible: a thousand passes are a thousand times thirty flushes.
pub fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

struct FakeEmbedder {
    model: String,
    dimension: usize,
    requests_left: Mutex<usize>,
    embedded: Arc<Mutex<Vec<String>>>,
}

impl Embedder for FakeEmbedder {
    fn embed<'a>(&'a self, texts: &'a [String], _: Task) -> BoxFuture<'a, Result<Vec<Vec<f32>>, Failure>> {
        async move {
            let mut left = self.requests_left.lock().unwrap();
            *left =
                left.checked_sub(1).ok_or_else(|| Failure::new(FailureKind::Final, "no requests left"))?;
            self.embedded.lock().unwrap().extend_from_slice(texts);
            Ok(texts.iter().map(|text| vector(&self.model, text, self.dimension)).collect())
        }
        .boxed()
    }

    fn max_texts(&self) -> usize {
        BATCH
    }

    fn max_bytes(&self) -> usize {
        1 << 20
    }
}
