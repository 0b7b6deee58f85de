//! `directory` at the top of the settings file: where its paths and the defaults begin, and nothing else.

use super::*;

const EVERY_PATH: &str = "directory = \"/srv/experts\"
[source]
database = \"a.db\"
[trigger]
marker = \"./marker\"
[embedding]
api_key_file = \"keys/one\"
[publish]
index = \"/elsewhere/faiss.index\"
metadata = \"out/metadata.json\"
[[announce]]
command = [\"bin/notify\", \"a/b\"]
[[announce]]
command = [\"notify\"]
[[announce]]
post = \"http://127.0.0.1:1/\"
token_file = \"keys/two\"
";

#[test]
fn relative_paths_of_the_file_and_defaults_begin_at_its_directory() {
    let mut fixture = SettingsFixture::with_settings(EVERY_PATH);
    fixture.key = false;
    let loaded = fixture.load().unwrap();
    let config = &loaded.config;

    assert_eq!(config.source.database, Path::new("/srv/experts/a.db"));
    assert_eq!(config.trigger.marker, Path::new("/srv/experts/marker"));
    assert_eq!(config.publish.index, Path::new("/elsewhere/faiss.index"));
    assert_eq!(config.publish.metadata, Path::new("/srv/experts/out/metadata.json"));
    assert_eq!(loaded.origin("embedding.api_key_file").0, "/srv/experts/keys/one");
    assert_eq!(config.announce[2].token_file.as_deref(), Some(Path::new("/srv/experts/keys/two")));
    let command = |nth: usize| match &config.announce[nth].method {
        AnnounceMethod::Command(command) => command.join(" "),
        AnnounceMethod::Post(_) => String::new(),
    };
    assert_eq!(
        [command(0), command(1)],
        ["/srv/experts/bin/notify a/b", "notify"],
        "a bare name is found on PATH"
    );
    assert_eq!(loaded.origin("directory").0, "/srv/experts");

    let defaults = SettingsFixture::with_settings("directory = \"/srv/experts\"\n").config();
    assert_eq!(defaults.source.database, Path::new("/srv/experts/data/experts.db"));
    assert_eq!(defaults.publish.index, Path::new("/srv/experts/data/faiss.index"));
}

#[test]
fn paths_of_the_environment_begin_at_the_working_directory_all_the_same() {
    let fixture = SettingsFixture::with_settings("directory = \"/srv/experts\"\n")
        .env("DATABASE_URL", "sqlite:///data/mine.db")
        .env("FAISS_INDEX_PATH", "out/faiss.index");
    let config = fixture.config();

    assert_eq!(config.source.database, Path::new("data/mine.db"));
    assert_eq!(config.publish.index, Path::new("out/faiss.index"));
    assert_eq!(config.publish.metadata, Path::new("/srv/experts/data/metadata.json"));
}

#[test]
fn the_key_file_and_both_readings_of_a_url_are_searched_there() {
    let fixture =
        SettingsFixture::new().file("srv/keys/one", "a-key").file("srv/a%20b.db", "").file("srv/a b.db", "");
    let directory = fixture.path("srv").display().to_string();
    let settings = |more: &str| format!("directory = \"{directory}\"\n{more}");
    let with_key = fixture.file("reindexd.toml", settings("[embedding]\napi_key_file = \"keys/one\"\n"));
    assert_eq!(with_key.config().embedding.api_key.unwrap().expose(), "a-key");

    let two_readings = settings("[source]\ndatabase = \"sqlite:///a%20b.db\"\n");
    assert!(with_key.file("reindexd.toml", two_readings).error_text().contains("both exist"));
}

#[test]
fn two_names_of_one_file_conflict_though_they_begin_in_two_places() {
    let fixture = SettingsFixture::new();
    let text = format!("directory = \"{}\"\n", fixture.dir.path().display());
    let fixture = fixture.file("reindexd.toml", text).env("METADATA_PATH", "data/experts.db");

    assert!(fixture.error_text().contains("a path other than that of source.database"));
}

#[test]
fn only_a_whole_path_at_the_top_is_taken() {
    for text in
        ["directory = \"data\"", "directory = \"\"", "directory = \"~/data\"", "directory = \"/a\\u0000\""]
    {
        let message = SettingsFixture::with_settings(text).error_text();
        assert!(message.contains("line 1") && message.contains("expected a whole path"), "{text}: {message}");
    }
    for (text, part) in [
        ("directory = 5", "directory"),
        ("[directory]\nx = 1", "directory"),
        ("[source]\ndirectory = \"/srv\"", "at the top of the file"),
    ] {
        let message = SettingsFixture::with_settings(text).error_text();
        assert!(message.contains(part), "{text}: {message}");
    }
}
