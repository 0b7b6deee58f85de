//! Which layer takes precedence, which file is found, and what `.env` adds.

use super::*;

#[test]
fn without_any_settings_every_key_has_its_default() {
    let loaded = SettingsFixture::new().load().unwrap();
    assert_eq!(loaded.config, defaults());
    assert!(loaded.notes.is_empty());
    assert!(loaded.origins.iter().all(|setting| setting.origin == "default"));
}

#[test]
fn every_key_is_shown_once_with_its_origin() {
    let host = SettingsFixture::with_settings(
        "[[announce]]\npost='http://h/'\nconfirm='http://h/'\ntoken_file='t'\n",
    );
    let shown: Vec<_> = host.load().unwrap().origins.into_iter().map(|setting| setting.key).collect();
    for section in keys::SECTIONS {
        for key in section.keys.iter().filter(|key| key.name != "command") {
            let name = if section.is_list { format!("announce[0].{}", key.name) } else { key.path() };
            let parts = [format!("{name}.prefix"), name.clone()];
            assert_eq!(shown.iter().filter(|shown| parts.contains(shown)).count(), 1, "{name}");
        }
    }
}

#[test]
fn the_first_settings_file_in_order_is_taken() {
    let level = |word: &str| format!("[log]\nlevel='{word}'\n");
    let mut host = SettingsFixture::new()
        .file("flag.toml", level("error"))
        .file("variable.toml", level("warn"))
        .file("reindexd.toml", level("debug"))
        .file("etc/reindexd.toml", level("trace"))
        .env("REINDEXD_CONFIG", "variable.toml");
    let taken = |host: &SettingsFixture| {
        let config = host.config();
        (config.log.level, config.file.unwrap())
    };
    host.flag = Some("flag.toml".into());
    assert_eq!(taken(&host), ("error".to_owned(), "flag.toml".into()));
    host.flag = None;
    assert_eq!(taken(&host), ("warn".to_owned(), "variable.toml".into()));
    let host = host.env("REINDEXD_CONFIG", "");
    assert_eq!(taken(&host), ("debug".to_owned(), "reindexd.toml".into()));
    fs::remove_file(host.path("reindexd.toml")).unwrap();
    assert_eq!(taken(&host).0, "trace");
    fs::remove_file(host.path("etc/reindexd.toml")).unwrap();
    assert_eq!(host.config().file, None);
}

#[test]
fn a_settings_file_named_but_missing_is_refused() {
    let mut host = SettingsFixture::with_settings("").env("REINDEXD_CONFIG", "absent.toml");
    assert_eq!(
        host.error_text(),
        "settings file absent.toml does not exist; it was named by $REINDEXD_CONFIG"
    );
    host.flag = Some("gone.toml".into());
    assert_eq!(host.error_text(), "settings file gone.toml does not exist; it was named by --config");
}

#[test]
fn an_unreadable_settings_file_is_an_error_and_not_skipped() {
    let host = SettingsFixture::new().file("etc/reindexd.toml", "");
    fs::create_dir(host.path("reindexd.toml")).unwrap();
    assert!(host.error_text().contains("reindexd.toml is a directory"), "{}", host.error_text());
    let host = SettingsFixture::new().file("reindexd.toml", "#".repeat(1024 * 1024 + 1));
    assert!(host.error_text().contains("longer than 1048576 bytes"), "{}", host.error_text());
    let host = SettingsFixture::new().file("reindexd.toml", b"# \xff");
    assert!(host.error_text().contains("not UTF-8 in line 1"), "{}", host.error_text());
}

#[test]
fn the_environment_of_ingest_py_beats_the_file() {
    let host = SettingsFixture::with_settings(
        "[source]\ndatabase='f.db'\n[embedding]\nmodel='f'\ndimension=1\nbatch_size=1\nbase_url='http://f'\n\
         [publish]\nindex='f.index'\nmetadata='f.json'\n",
    )
    .env("DATABASE_URL", "sqlite:////srv/e.db")
    .env("EMBEDDING_MODEL", "models/e")
    .env("OUTPUT_DIM", " 3072 ")
    .env("INGEST_BATCH_SIZE", "50")
    .env("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9/")
    .env("FAISS_INDEX_PATH", "e.index")
    .env("METADATA_PATH", "e.json");
    let loaded = host.load().unwrap();
    for (key, value, origin) in [
        ("source.database", "/srv/e.db", "environment DATABASE_URL"),
        ("embedding.model", "e", "environment EMBEDDING_MODEL"),
        ("embedding.dimension", "3072", "environment OUTPUT_DIM"),
        ("embedding.batch_size", "50", "environment INGEST_BATCH_SIZE"),
        ("embedding.base_url", "http://127.0.0.1:9", "environment GOOGLE_GEMINI_BASE_URL"),
        ("publish.index", "e.index", "environment FAISS_INDEX_PATH"),
        ("publish.metadata", "e.json", "environment METADATA_PATH"),
        ("publish.keep", "3", "default"),
    ] {
        assert_eq!(loaded.origin(key), (value, origin), "{key}");
    }
    assert_eq!(loaded.config.source.database, PathBuf::from("/srv/e.db"));
    assert_eq!(loaded.config.embedding.dimension, 3072);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let names = [
        "DATABASE_URL",
        "EMBEDDING_MODEL",
        "OUTPUT_DIM",
        "EMBEDDING_PROVIDER",
        "GOOGLE_API_KEY",
        "METADATA_PATH",
    ];
    let host = names.into_iter().fold(SettingsFixture::new(), |host, name| host.env(name, ""));
    assert_eq!(host.config(), defaults());
}

#[test]
fn dotenv_fills_gaps_only_where_there_is_no_settings_file_and_never_for_the_agent() {
    let text = "\u{feff}export DATABASE_URL='sqlite:///dot.db'\r\nOUTPUT_DIM=256 # c\r\nGEMINI_API_KEY=\"k\"\r\nwhat is this\r\n";
    let mut host = SettingsFixture::new().file(".env", text).env("OUTPUT_DIM", "512");
    let loaded = host.load().unwrap();
    assert_eq!(loaded.origin("source.database"), ("dot.db", ".env DATABASE_URL"));
    assert_eq!(loaded.origin("embedding.dimension"), ("512", "environment OUTPUT_DIM"));
    assert_eq!(loaded.origin("embedding.api_key"), ("***", ".env GEMINI_API_KEY"));
    assert_eq!(loaded.notes, [".env line 4 is ignored, expected KEY=VALUE"]);

    host.dotenv = false;
    assert_eq!(host.config().source.database, PathBuf::from("data/experts.db"));
    host.dotenv = true;
    let host = host.file("reindexd.toml", "");
    assert_eq!(host.config().source.database, PathBuf::from("data/experts.db"));
    assert_eq!(host.config().embedding.api_key, None);
}

#[test]
fn a_directory_called_dotenv_is_ignored_and_a_broken_dotenv_is_refused() {
    assert_eq!(SettingsFixture::new().file(".env/pyvenv.cfg", "").config(), defaults());
    assert!(
        SettingsFixture::new().file(".env", b"A=\xff").error_text().contains(".env is not UTF-8 in line 1")
    );
}
