//! Every setting, declared once: key, kind, default, range, variable, and when a change takes effect.
//!
//! The lines of documentation are those of the shipped settings file and of
//! docs/settings.md; range and restart are added to them. After a change here
//! run the tests of generated files with `REINDEXD_WRITE_GENERATED=1`.
//!
//! Where a default depends on the provider, the one here is gemini's; the others
//! and their rules are in `embedding`.

use std::path::PathBuf;
use std::sync::Arc;

use super::ConfigError;
use super::access::{FileMode, GroupName};
use super::api_key::ApiKey;
use super::choices::{LogFormat, Provider, TriggerOn, WatchMode};
use super::declare::{Key, Reload, differs, settings};
use super::kinds::{
    ByHand, Choice, DatabasePath, DiskSpace, FilePath, NameList, Period, Share, Typed, WholeNumber,
};
use super::log_level::LogLevel;
use super::request_extras::RawExtras;
use super::resolved::Resolved;
use super::written_source::{WrittenChunk, WrittenColumn, WrittenId};
use crate::domain::document::Template;
use crate::domain::evaluate::Metric;
use crate::domain::request_extras::RequestExtras;
use crate::domain::source_spec::{ChunkSpec, ColumnSpec};
use crate::domain::tokens::TooLong;

/// The key at the top of the settings file, before every section.
pub(super) const DIRECTORY: Key = Key {
    section: "",
    name: "directory",
    field: "directory",
    default: None,
    example: Some("\"/var/lib/reindexd\""),
    range: None,
    variable: None,
    reload: Reload::Restart,
    about: &[
        "Where the relative paths in this file, and the defaults, begin; a whole path. Without it they begin",
        "at the working directory, as paths in environment variables always do.",
    ],
};

settings! { by_hand source: RawSource => SourceSettings {
    /// The SQLite file with the table; a path, or a URL such as `sqlite:///relative` or
    /// `sqlite:////absolute`.
    database: DatabasePath = "data/experts.db", env DATABASE_URL => Restart;
    /// The table or view that is read. Without it and `query`: the table of experts, whose id, columns
    /// and text are known.
    table: ByHand<String, Option<String>>, example "articles" => Restart;
    /// The column that identifies a row, or several. Default: the declared primary key.
    id: ByHand<WrittenId, Vec<String>>, example "id" => Restart;
    /// The SQL condition that a row fulfils to be indexed. Default: every row.
    filter as "where": ByHand<String, Option<String>>, example "published = 1" => Restart;
    /// The columns in the metadata: each a name, or a table of `name`, `key` (its key in a record) and
    /// `json` (JSON text that stands in the record as JSON). Default: all, by their own names.
    columns: ByHand<Vec<WrittenColumn>, Vec<ColumnSpec>>,
        example ["id", "title", { name = "tags", json = true }] => Restart;
    /// A SELECT instead of `table` and `where`; it may only read.
    query: ByHand<String, Option<String>>, example "SELECT id, title, body FROM articles" => Restart;
} }

settings! { by_hand document: RawDocument => DocumentSettings {
    /// The text to embed for a row, as a template (`MiniJinja`) of its columns; needed with `table` or
    /// `query`.
    template: ByHand<String, Option<Arc<Template>>>, example "{{ title }}. {{ body }}" => Restart;
    /// Cuts a column into chunks of at most `size` characters, of which `overlap` repeat; the template
    /// is made for each, as `{{ chunk }}`.
    chunk: ByHand<WrittenChunk, Option<ChunkSpec>>,
        example { column = "body", size = 1000, overlap = 100 } => Restart;
} }

settings! { checked trigger: RawTrigger => TriggerSettings {
    /// The tagging-complete file: touching it asks for a build now.
    marker: FilePath = "data/tagging-complete" => Live;
    /// What starts a build: `"database"`, `"marker"`, or both. With `"marker"` alone, changes of
    /// the database wait for the marker.
    on: TriggerOn = ["database", "marker"] => Live;
    /// How long the database must be idle before a build.
    quiet: Period = "30s", range "0s"..="1h" => Live;
    /// How long to wait for that at most; not less than `quiet`.
    max_wait: Period = "10m", range "0s"..="24h" => Live;
    /// How long the marker must be idle before a build.
    marker_quiet: Period = "250ms", range "0s"..="1m" => Live;
    /// How often files are compared although no event arrived.
    resync: Period = "10m", range "100ms"..="24h" => Live;
    /// `"inotify"`, `"poll"`, or `"auto"`: inotify, and polling where inotify is not available.
    watch: Choice<WatchMode> = "auto" => Live;
    /// How often files are checked when polling.
    poll_interval: Period = "2s", range "50ms"..="1h" => Live;
} }

settings! { by_hand embedding: RawEmbedding => EmbeddingSettings {
    /// Who makes the vectors: `"gemini"`, `"openai"` (any server with `/v1/embeddings`) or
    /// `"local"` (built in, no key).
    provider: ByHand<String, Provider> = "gemini", env EMBEDDING_PROVIDER => Restart;
    /// The model. For openai the default is text-embedding-3-small; local has only one.
    model: ByHand<String, String> = "gemini-embedding-001", env EMBEDDING_MODEL => Restart;
    /// Floats in a vector. openai: what its known models have, else it must be set; local: 384.
    /// After a change every text is embedded again.
    dimension: ByHand<i64, usize> = 768, range 1..=65536, env OUTPUT_DIM => Restart;
    /// What the vectors are for; gemini alone takes it, `""` sends none. Questions are asked as
    /// `RETRIEVAL_QUERY`.
    task_type: ByHand<String, Option<String>> = "RETRIEVAL_DOCUMENT" => Restart;
    /// Where requests go instead of the provider's own address; `GOOGLE_GEMINI_BASE_URL` sets it for
    /// gemini alone.
    base_url: ByHand<String, Option<String>>, example "http://127.0.0.1:8080", env GOOGLE_GEMINI_BASE_URL
        => WithProvider;
    /// A file with the API key alone; without it the credential embedding-api-key is taken, else
    /// `GOOGLE_API_KEY`, `GEMINI_API_KEY` or `OPENAI_API_KEY`.
    api_key as "api_key_file": ByHand<String, Option<ApiKey>>, example "/etc/reindexd/embedding-api-key"
        => WithProvider;
    /// Most texts in a request; gemini: 100 at most.
    batch_size: ByHand<i64, usize> = 100, range 1..=2048, env INGEST_BATCH_SIZE => WithProvider;
    /// Most requests at a time.
    concurrency: WholeNumber<usize> = 4, range 1..=64 => Live;
    /// Most texts a minute, retries included; 0 sets no limit.
    items_per_minute: WholeNumber<u32> = 0, range 0..=1000000 => Live;
    /// Most tokens a minute, by an estimate of a text's length, retries included; 0 sets no limit.
    tokens_per_minute: WholeNumber<u32> = 0, range 0..=1000000000 => Live;
    /// How long one request may take; `reindexd search` ends within it.
    request_timeout: Period = "60s", range "100ms"..="1h" => Live;
    /// How long a build goes on without a single success.
    retry_budget: Period = "10m", range "0s"..="24h" => Live;
    /// How many tokens the model reads of one text; known for known models. Of others, texts are not
    /// measured.
    max_tokens: ByHand<i64, Option<u64>>, example 2048, range 1..=1000000 => Restart;
    /// What is done with a longer text: `"warn"`, `"refuse"` (its row cannot be indexed) or `"cut"`
    /// (its beginning is embedded). Lengths are estimates, but for local.
    too_long: Choice<TooLong> = "warn" => Restart;
    /// What the model wants beside a text that is to be found: `prefix`, which each text begins with
    /// when it is sent, and `fields`, which are merged into the request, such as `input_type`. After a
    /// change every text is embedded again.
    document: ByHand<RawExtras, RequestExtras> = { prefix = "", fields = {} } => Restart;
    /// The same for the questions of `reindexd search`.
    query: ByHand<RawExtras, RequestExtras> = { prefix = "", fields = {} } => WithProvider;
} }

settings! { checked publish: RawPublish => PublishSettings {
    /// The name under which the API opens the index. Builds are kept beside it.
    index: FilePath = "data/faiss.index", env FAISS_INDEX_PATH => Restart;
    /// The name under which the API opens the metadata.
    metadata: FilePath = "data/metadata.json", env METADATA_PATH => Restart;
    // At least the served build and the one before it. Each is a copy of the whole index.
    /// How many builds stay on disk, the served one included.
    keep: WholeNumber<usize> = 3, range 2..=100 => Live;
    /// The group that may read what is published, such as the API's. `"auto"`: that of the files published
    /// before, else of a directory with the setgid bit, else the service's own.
    group: GroupName = "auto" => Restart;
    /// The mode of published files, `"0400"`, `"0440"` or `"0444"`; directories follow. `"auto"`: as the
    /// files published before, else `"0440"`.
    mode: FileMode = "auto" => Restart;
} }

settings! { checked guard: RawGuard => GuardSettings {
    /// The largest share of records that a build may remove.
    max_shrink: Share = 0.3, range 0..=1 => Live;
    /// Most texts to embed in one build; 0 sets no limit.
    max_texts: WholeNumber<u64> = 0 => Live;
    /// How many rows that cannot be indexed are quarantined before the build fails because of them.
    quarantine: WholeNumber<u64> = 0, range 0..=10000 => Live;
    /// Most rows in a scan; 0: 10,000,000, or twice the served build's records if that is more.
    max_rows: WholeNumber<u64> = 0 => Live;
    /// Temporary disk space of a scan, such as `"2 GiB"`; `"auto"`: four times the database, at least
    /// 256 MiB.
    max_scan: DiskSpace = "auto" => Live;
} }

settings! { by_hand evaluate: RawEvaluate => EvaluateSettings {
    /// Judged queries that a build must answer before it is served, one object of `_id` and `text` a
    /// line. Without it nothing is measured.
    queries: ByHand<String, Option<PathBuf>>, example "data/queries.jsonl" => Restart;
    /// What records are worth as answers, one judgement a line: query, record's id, grade.
    qrels: ByHand<String, Option<PathBuf>>, example "data/qrels.tsv" => Restart;
    /// How many records of an answer count.
    k: WholeNumber<usize> = 10, range 1..=1000 => Restart;
    /// The value that decides: `"ndcg"`, `"recall"` or `"mrr"`.
    metric: Choice<Metric> = "ndcg" => Restart;
    /// The lowest value with which a build is served.
    min: Share = 0.0, range 0..=1 => Restart;
    /// How far below the served build's the value may be.
    max_drop: Share = 0.05, range 0..=1 => Restart;
} }

settings! { list announce: RawAnnounce => AnnounceSettings {
    /// POST the build's summary, as JSON, to this address when it is served.
    post: ByHand<String, String>, example "http://127.0.0.1:8000/admin/reload" => Live;
    /// Or run this program with these arguments; no shell.
    command: ByHand<Vec<String>, Vec<String>>, example ["/usr/local/bin/tell-api"] => Live;
    /// Read this address until its answer holds the build's id.
    confirm: ByHand<String, String>, example "http://127.0.0.1:8000/health" => Live;
    /// A file with a bearer token for both requests.
    token_file: ByHand<String, String>, example "/etc/reindexd/api-token" => Live;
    /// How long the delivery may take, and confirming again as long.
    timeout: Period = "10s", range "100ms"..="10m" => Live;
} }

settings! { checked search: RawSearch => SearchSettings {
    /// The keys of a record that `reindexd search` shows. Default: of experts name, work and bio, else
    /// the first four.
    show: NameList = [] => Live;
} }

settings! { checked log: RawLog => LogSettings {
    /// off, error, warn, info, debug, trace, or a list such as `"info,reindexd::adapters::watch=debug"`.
    /// Commands other than `run` show warnings only, unless this is set.
    level: LogLevel = "info" => Live;
    // Lines go on in the form in which they began.
    /// `"text"`, `"json"` (one object a line), `"journal"`, or `"auto"`: the journal where standard
    /// error leads to it, else text.
    format: Choice<LogFormat> = "auto" => Restart;
} }

/// A section of the settings file.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    /// Whether there may be several, each as `[[name]]`.
    pub(super) is_list: bool,
    pub(super) keys: &'static [&'static Key],
}

/// Every section, in the order of the shipped file.
pub(super) const SECTIONS: [Section; 10] = [
    Section { name: "source", is_list: false, keys: source::KEYS },
    Section { name: "document", is_list: false, keys: document::KEYS },
    Section { name: "trigger", is_list: false, keys: trigger::KEYS },
    Section { name: "embedding", is_list: false, keys: embedding::KEYS },
    Section { name: "publish", is_list: false, keys: publish::KEYS },
    Section { name: "guard", is_list: false, keys: guard::KEYS },
    Section { name: "evaluate", is_list: false, keys: evaluate::KEYS },
    Section { name: "announce", is_list: true, keys: announce::KEYS },
    Section { name: "search", is_list: false, keys: search::KEYS },
    Section { name: "log", is_list: false, keys: log::KEYS },
];

impl Section {
    /// Whether the section has a key of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.keys.iter().any(|key| key.name == name)
    }
}
