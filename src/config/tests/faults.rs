//! What is refused, and with which message.

use super::*;

/// One row a case: the file, and a part of the error.
#[rustfmt::skip]
const MISTAKES: &[(&str, &str)] = &[
    ("[trigger]\n\nquite = '5s'\n", "reindexd.toml line 3: unknown key trigger.quite; the nearest known key is trigger.quiet"),
    ("\n[triger]\n", "line 2: unknown key triger; the nearest known section is [trigger]"),
    ("quiet = '5s'\n", "line 1: unknown key quiet; it belongs to [trigger]"),
    ("[embedding]\napi_key = 'AIza-hunter2'\n", "line 2: unknown key embedding.api_key; here it is embedding.api_key_file"),
    ("[[announce]]\npost='http://h/'\n[[announce]]\npots='x'\n", "line 4: unknown key announce.pots; the nearest known key is announce.post"),
    ("[log]\nb=1\na=1\n", "line 2: unknown key log.b; [log] takes level, format"),
    ("[trigger]\nquiet = 30\n", "line 2: trigger.quiet: invalid type: integer `30`, expected a duration in quotes"),
    ("[trigger]\non = 'marker'\n", "line 2: trigger.on: invalid type: string \"marker\""),
    ("[trigger]\non = ['marker', 3]\n", "line 2: trigger.on: invalid type: integer `3`"),
    ("[publish]\nkeep = '3'\n", "line 2: publish.keep: invalid type"),
    ("[guard]\nmax_shrink = '30%'\n", "line 2: guard.max_shrink: invalid type"),
    ("[[announce]]\npost='http://h/'\ntimeout=3\n", "line 3: announce.timeout: invalid type"),
    ("[announce]\npost='http://h/'\n", "line 1: announce: expected [[announce]]"),
    ("announce = [1]\n", "line 1: announce: expected [[announce]]"),
    ("trigger = 'now'\n", "line 1: trigger: expected the section [trigger]"),
    ("[[trigger]]\n", "line 1: trigger: expected the section [trigger]"),
    ("[trigger\n", "reindexd.toml line 1: "),
    ("[log]\nlevel = 'info'\nlevel = 'warn'\n", "line 3: duplicate key"),
    ("[publish]\nkeep = 99999999999999999999\n", "line 2: "),
];

#[test]
fn a_mistake_in_the_file_is_answered_with_key_line_and_fix() {
    for &(text, expected) in MISTAKES {
        let message = SettingsFixture::with_settings(text).error_text();
        assert!(message.contains(expected), "{text:?}\n  {message}");
        assert!(!message.contains('\n') && !message.contains("hunter2"), "{message}");
    }
}

/// One row a case: the file, and a part of the error.
#[rustfmt::skip]
const OUT_OF_RANGE: &[(&str, &str)] = &[
    ("[trigger]\nquiet='5 parsecs'", "trigger.quiet is \"5 parsecs\" (reindexd.toml line 2), expected a duration in quotes, such as \"30s\", \"10m\" or \"1h 30m\" from 0s to 1h"),
    ("[trigger]\nquiet='2h'", "from 0s to 1h"),
    ("[trigger]\nquiet='-1s'", "from 0s to 1h"),
    ("[trigger]\nquiet='20m'", "trigger.max_wait is \"10m\" (default), expected at least trigger.quiet, which is 20m"),
    ("[trigger]\nmax_wait='10s'", "trigger.max_wait is \"10s\" (reindexd.toml line 2), expected at least"),
    ("[trigger]\nmarker_quiet='2m'", "from 0s to 1m"),
    ("[trigger]\nresync='0s'", "from 100ms to 24h"),
    ("[trigger]\npoll_interval='1ms'", "from 50ms to 1h"),
    ("[trigger]\nwatch='fanotify'", "trigger.watch is \"fanotify\" (reindexd.toml line 2), expected one of auto, inotify, poll"),
    ("[trigger]\non=[]", "one or both of"),
    ("[trigger]\non=['databse']", "one or both of"),
    ("[trigger]\nmarker=''", "ends in the name of a file"),
    ("[source]\ndatabase=':memory:'", "source.database is \":memory:\" (reindexd.toml line 2), expected a database file"),
    ("[source]\ndatabase='postgresql://u:hunter2@h/d'", "source.database is \"postgresql://***\""),
    ("[embedding]\nprovider='cohere'", "one of gemini, openai, local"),
    ("[embedding]\nmodel='a/b'", "embedding.model is \"a/b\""),
    ("[embedding]\nmodel='..'", "a model's name"),
    ("[embedding]\nmodel='models/'", "a model's name"),
    ("[embedding]\ndimension=0", "a whole number from 1 to 65536"),
    ("[embedding]\ndimension=65537", "a whole number from 1 to 65536"),
    ("[embedding]\ntask_type='retrieval document'", "RETRIEVAL_DOCUMENT"),
    ("[embedding]\nmodel='gemini-embedding-2'\ntask_type='CLUSTERING'", "takes none"),
    ("[embedding]\nbase_url='proxy'", "embedding.base_url is \"proxy\""),
    ("[embedding]\nbase_url='http://u:hunter2@h'", "embedding.base_url is \"***\""),
    ("[embedding]\napi_key_file='AIzahunter2'", "embedding.api_key_file is \"***\""),
    ("[embedding]\nbatch_size=101", "a whole number from 1 to 100: the Gemini API takes no more"),
    ("[embedding]\nbatch_size=0", "from 1 to 100"),
    ("[embedding]\nprovider='openai'\nbatch_size=2049", "from 1 to 2048"),
    ("[embedding]\nconcurrency=0", "from 1 to 64"),
    ("[embedding]\nconcurrency=65", "from 1 to 64"),
    ("[embedding]\nitems_per_minute=-1", "from 0 to 1000000"),
    ("[embedding]\nrequest_timeout='0s'", "from 100ms to 1h"),
    ("[embedding]\nretry_budget='25h'", "from 0s to 24h"),
    ("[publish]\nkeep=1", "publish.keep is 1 (reindexd.toml line 2), expected a whole number from 2 to 100"),
    ("[publish]\nkeep=101", "from 2 to 100"),
    ("[publish]\nindex='data/'", "ends in the name of a file"),
    ("[publish]\nmetadata='data/faiss.index'", "publish.metadata is \"data/faiss.index\" (reindexd.toml line 2), expected a path other than that of publish.index"),
    ("[publish]\nmetadata='./data/current'", "belongs to the builds"),
    ("[trigger]\nmarker='data/done.staging'", "does not end in .staging"),
    ("[publish]\nindex='experts.index'\n[trigger]\nmarker='served.json'", "belongs to the builds"),
    ("[guard]\nmax_shrink=1.1", "a share from 0 to 1"),
    ("[guard]\nmax_shrink=nan", "a share from 0 to 1"),
    ("[guard]\nmax_texts=-1", "a whole number, 0 or more"),
    ("[guard]\nmax_scan=\"512\"", "auto, or a whole number with its unit"),
    ("[guard]\nmax_scan=\"0 MiB\"", "auto, or a whole number with its unit"),
    ("[guard]\nmax_scan=\"99999999999999 GiB\"", "auto, or a whole number with its unit"),
    ("[guard]\nquarantine=-1", "a whole number from 0 to 10000"),
    ("[guard]\nquarantine=10001", "a whole number from 0 to 10000"),
    ("[[announce]]\ntimeout='1s'", "announce[0].post is not set, expected either post or command"),
    ("[[announce]]\npost='http://h/'\ncommand=['x']", "either post or command, not both"),
    ("[[announce]]\ncommand=[]", "a program and its arguments"),
    ("[[announce]]\ncommand=['']", "a program and its arguments"),
    ("[[announce]]\ncommand=[\"a\\u0000\"]", "announce[0].command"),
    ("[[announce]]\npost='ftp://h/'", "announce[0].post is \"ftp://h/\""),
    ("[[announce]]\npost='http://u:hunter2@h/'", "announce[0].post is \"***\""),
    ("[[announce]]\npost='http://u:hunter2@h/'\ncommand=['x']", "announce[0].post is \"***\""),
    ("[[announce]]\npost='http://h/'\nconfirm='h'", "announce[0].confirm is \"h\""),
    ("[[announce]]\ncommand=['x']\ntoken_file='t'", "no token file"),
    ("[[announce]]\npost='http://h/'\ntimeout='1h'", "from 100ms to 10m"),
    ("[log]\nlevel='inof'", "log.level is \"inof\""),
    ("[log]\nlevel=''", "off, error, warn"),
    ("[log]\nlevel='info,reindexd'", "off, error, warn"),
    ("[log]\nformat='xml'", "one of auto, text, json, journal"),
    ("[evaluate]\nqueries='q'\nqrels='r'\nk=0\n", "evaluate.k is 0"),
    ("[evaluate]\nqueries='q'\nqrels='r'\nk=1001\n", "evaluate.k is 1001"),
    ("[evaluate]\nqueries='q'\nqrels='r'\nmetric='map'\n", "evaluate.metric is \"map\" (reindexd.toml line 4), expected one of ndcg, recall, mrr"),
    ("[evaluate]\nmin=1.1\n", "evaluate.min is 1.1"),
    ("[evaluate]\nmax_drop=-0.1\n", "evaluate.max_drop is -0.1"),
];

#[test]
fn a_value_out_of_range_is_answered_with_key_value_place_and_range() {
    for &(text, expected) in OUT_OF_RANGE {
        let message = SettingsFixture::with_settings(text).error_text();
        assert!(message.contains(expected), "{text:?}\n  {message}");
        assert!(!message.contains('\n') && !message.contains("hunter2"), "{message}");
    }
}

/// One row a case: variable, value, and a part of the error.
#[rustfmt::skip]
const BAD_VARIABLES: &[(&str, &str, &str)] = &[
    ("DATABASE_URL", "mysql://u:hunter2@h/d", "source.database is \"mysql://***\" (environment DATABASE_URL), expected a SQLite file"),
    ("DATABASE_URL", "data/experts.db", "(environment DATABASE_URL), expected sqlite:///relative"),
    ("OUTPUT_DIM", "many", "embedding.dimension is \"many\" (environment OUTPUT_DIM), expected a whole number"),
    ("OUTPUT_DIM", "0", "embedding.dimension is 0 (environment OUTPUT_DIM), expected a whole number from 1"),
    ("INGEST_BATCH_SIZE", "200", "embedding.batch_size is 200 (environment INGEST_BATCH_SIZE), expected a whole number from 1 to 100"),
    ("FAISS_INDEX_PATH", "data/", "publish.index is \"data/\" (environment FAISS_INDEX_PATH)"),
    ("METADATA_PATH", "data/faiss.index", "publish.metadata is \"data/faiss.index\" (environment METADATA_PATH)"),
    ("EMBEDDING_PROVIDER", "Local", "embedding.provider is \"Local\" (environment EMBEDDING_PROVIDER), expected one of"),
    ("GOOGLE_API_KEY", "two words hunter2", "environment variable GOOGLE_API_KEY holds a character at byte 4"),
];

#[test]
fn a_bad_variable_is_answered_by_its_name() {
    for &(name, value, expected) in BAD_VARIABLES {
        let message = SettingsFixture::new().env(name, value).error_text();
        assert!(message.contains(expected), "{name}={value}\n  {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn everything_at_the_edge_of_its_range_is_taken() {
    let config = SettingsFixture::with_settings(
        "\u{feff}[trigger]\r\nquiet='0s'\r\nmax_wait='0s'\r\nmarker_quiet='0ms'\r\nresync='100ms'\r\non=['marker']\r\n\
         watch='poll'\r\n[embedding]\r\ndimension=65536\r\nconcurrency=64\r\nretry_budget='0s'\r\ntask_type=''\r\n\
         [publish]\r\nkeep=2\r\n[guard]\r\nmax_shrink=1\r\nmax_texts=9223372036854775807\r\n\
         [log]\r\nlevel='WARN,reindexd::adapters::watch=debug'\r\nformat='json'\r\n",
    )
    .config();
    assert_eq!(config.trigger.max_wait, Duration::ZERO);
    assert_eq!(config.trigger.on, TriggerOn { database: false, marker: true });
    assert_eq!(config.embedding.task_type, None);
    assert!(config.guard.max_shrink > 0.999);
    assert_eq!(config.guard.max_texts, i64::MAX.unsigned_abs());
    assert_eq!(config.log.level, "warn,reindexd::adapters::watch=debug");
}

#[test]
fn announcements_are_kept_in_order() {
    let config = SettingsFixture::with_settings(
        "[[announce]]\ncommand=['/bin/tell', 'a b']\nconfirm='http://h/health'\ntoken_file='t'\n\
         [[announce]]\npost='http://127.0.0.1:8000/admin/reload?now=1'\ntimeout='3s'\n",
    )
    .config();
    let expected = [
        AnnounceSettings {
            method: AnnounceMethod::Command(vec!["/bin/tell".to_owned(), "a b".to_owned()]),
            confirm: Some("http://h/health".to_owned()),
            token_file: Some("t".into()),
            timeout: seconds(10),
        },
        AnnounceSettings {
            method: AnnounceMethod::Post("http://127.0.0.1:8000/admin/reload?now=1".to_owned()),
            confirm: None,
            token_file: None,
            timeout: seconds(3),
        },
    ];
    assert_eq!(config.announce, expected);
}
