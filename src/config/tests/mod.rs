//! Settings as an operator meets them: files, variables and keys in a directory of their own.

mod api_keys;
mod directory;
mod evaluate;
mod faults;
mod layers;
mod providers;
mod reload;
mod shipped_file;
mod sources;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::domain::evaluate::Metric;
use crate::domain::request_extras::RequestExtras;
use crate::domain::tokens::TooLong;

/// A directory and an environment of its own; nothing else of the machine is read.
struct SettingsFixture {
    dir: tempfile::TempDir,
    env: BTreeMap<String, OsString>,
    flag: Option<PathBuf>,
    dotenv: bool,
    key: bool,
}

impl SettingsFixture {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), env: BTreeMap::new(), flag: None, dotenv: true, key: true }
    }

    fn with_settings(text: &str) -> Self {
        Self::new().file("reindexd.toml", text)
    }

    fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.to_owned(), value.into());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn load(&self) -> Result<Loaded, ConfigError> {
        from_inputs(&Inputs {
            flag: self.flag.as_deref(),
            env: &|name| self.env.get(name).cloned(),
            cwd: self.dir.path(),
            system_file: &self.path("etc/reindexd.toml"),
            dotenv: self.dotenv,
            key: self.key,
        })
    }

    fn config(&self) -> Config {
        self.load().unwrap().config
    }

    /// The whole error, with its causes.
    fn error_text(&self) -> String {
        let error = self.load().expect_err("these settings should be refused");
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            message = format!("{message}: {error}");
            cause = error.source();
        }
        message
    }
}

impl Loaded {
    fn origin(&self, key: &str) -> (&str, &str) {
        let setting = self.origins.iter().find(|setting| setting.key == key).expect(key);
        (&setting.value, &setting.origin)
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn defaults() -> Config {
    Config {
        source: SourceSettings {
            database: "data/experts.db".into(),
            table: None,
            id: Vec::new(),
            filter: None,
            columns: Vec::new(),
            query: None,
        },
        document: DocumentSettings { template: None, chunk: None },
        trigger: TriggerSettings {
            marker: "data/tagging-complete".into(),
            on: TriggerOn { database: true, marker: true },
            quiet: seconds(30),
            max_wait: seconds(600),
            marker_quiet: Duration::from_millis(250),
            resync: seconds(600),
            watch: WatchMode::Auto,
            poll_interval: seconds(2),
        },
        embedding: EmbeddingSettings {
            provider: Provider::Gemini,
            model: "gemini-embedding-001".to_owned(),
            dimension: 768,
            task_type: Some("RETRIEVAL_DOCUMENT".to_owned()),
            base_url: None,
            api_key: None,
            batch_size: 100,
            concurrency: 4,
            items_per_minute: 0,
            tokens_per_minute: 0,
            request_timeout: seconds(60),
            retry_budget: seconds(600),
            max_tokens: Some(2048),
            too_long: TooLong::Warn,
            document: RequestExtras::default(),
            query: RequestExtras::default(),
        },
        publish: PublishSettings {
            index: "data/faiss.index".into(),
            metadata: "data/metadata.json".into(),
            keep: 3,
            group: None,
            mode: None,
        },
        evaluate: EvaluateSettings {
            queries: None,
            qrels: None,
            k: 10,
            metric: Metric::Ndcg,
            min: 0.0,
            max_drop: 0.05,
        },
        guard: GuardSettings { max_shrink: 0.3, max_texts: 0, quarantine: 0, max_rows: 0, max_scan: None },
        announce: Vec::new(),
        search: SearchSettings { show: Vec::new() },
        log: LogSettings { level: "info".to_owned(), format: LogFormat::Auto },
        file: None,
    }
}
