//! Where the API key is found, and that it never prints.

use super::*;

#[test]
fn the_key_is_taken_from_the_first_place_that_has_one() {
    let mut host = SettingsFixture::with_settings("[embedding]\napi_key_file='keys/main'\n")
        .file("keys/main", "from-file\n")
        .file("credentials/embedding-api-key", "from-credential\r\n")
        .env("GOOGLE_API_KEY", "from-google\n")
        .env("GEMINI_API_KEY", "from-gemini");
    let credentials = host.path("credentials");
    host = host.env("CREDENTIALS_DIRECTORY", credentials.clone());
    let taken = |host: &SettingsFixture| {
        let loaded = host.load().unwrap();
        let origin = loaded.origin("embedding.api_key").1.to_owned();
        (loaded.config.embedding.api_key.map(|key| key.expose().to_owned()).unwrap_or_default(), origin)
    };
    let expected = |key: &str, origin: &str| (key.to_owned(), origin.to_owned());
    assert_eq!(taken(&host), expected("from-file", "key file keys/main"));
    host = host.file("reindexd.toml", "");
    assert_eq!(taken(&host), expected("from-credential", "credential"));
    fs::remove_dir_all(credentials).unwrap();
    assert_eq!(taken(&host), expected("from-google", "environment GOOGLE_API_KEY"));
    assert!(host.load().unwrap().notes[0].contains("GEMINI_API_KEY is ignored"));
    host = host.env("GOOGLE_API_KEY", "");
    assert_eq!(taken(&host), expected("from-gemini", "environment GEMINI_API_KEY"));
    host = host.file("reindexd.toml", "[embedding]\nprovider='openai'\n");
    assert_eq!(taken(&host), expected("", "default"));
    host = host.env("OPENAI_API_KEY", "from-openai");
    assert_eq!(taken(&host), expected("from-openai", "environment OPENAI_API_KEY"));
}

#[test]
fn a_key_file_that_holds_no_key_is_named_and_not_quoted() {
    for (text, fault) in [
        (Some(&b""[..]), "is empty, expected a key"),
        (Some(b" \n"), "is empty, expected a key"),
        (Some(b"hunter2\nhunter2\n"), "holds a character at byte 8 that is not allowed in a key"),
        (Some(b"hunt\xc3\xa9r2"), "holds a character at byte 5 that is not allowed in a key"),
        (Some(b"\"hunter2\"\n"), "has a quote at its beginning or end, expected the key alone"),
        (Some(b"'hunter2'"), "has a quote at its beginning or end, expected the key alone"),
        (Some(b"\"hunter2"), "has a quote at its beginning or end, expected the key alone"),
        (Some(b"GEMINI_API_KEY=hunter2\n"), "looks like NAME=value, expected the value alone"),
        (Some(b"export key = hunter2"), "looks like NAME=value, expected the value alone"),
        (Some(b"hunt er2"), "holds a character at byte 5 that is not allowed in a key"),
        (Some(b"hunter2\xff"), "is not UTF-8 in line 1"),
        (None, "does not exist"),
    ] {
        let mut host = SettingsFixture::with_settings("[embedding]\napi_key_file='key'\n")
            .env("GOOGLE_API_KEY", "other");
        if let Some(text) = text {
            host = host.file("key", text);
        }
        let message = host.error_text();
        assert!(message.starts_with("key file ") && message.ends_with(&format!("/key {fault}")), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_key_may_end_as_base64_does() {
    for key in ["aHVudGVy", "aHVudGVyMg==", "aHVudGVyMjI=", "sk-proj_1.2/3+4"] {
        let loaded = SettingsFixture::new().env("GOOGLE_API_KEY", key).load().unwrap();
        assert_eq!(loaded.config.embedding.api_key.as_ref().map(ApiKey::expose), Some(key));
    }
}

#[test]
fn a_variable_in_quotes_is_refused_with_its_name_and_not_quoted() {
    for (name, value) in [
        ("GOOGLE_API_KEY", "\"hunter2\""),
        ("GEMINI_API_KEY", "'hunter2'"),
        ("DATABASE_URL", "\"sqlite:///hunter2.db\""),
        ("OUTPUT_DIM", "'32'"),
    ] {
        let message = SettingsFixture::new().env(name, value).error_text();
        let expected = format!(
            "environment variable {name} has quotes around its value, which `docker --env-file` keeps; expected it without"
        );
        assert_eq!(message, expected);
    }
    let message = SettingsFixture::new().env("GOOGLE_API_KEY", "KEY=hunter2").error_text();
    assert_eq!(
        message,
        "environment variable GOOGLE_API_KEY looks like NAME=value, expected the value alone"
    );
}

#[test]
fn a_key_that_is_not_needed_is_not_read() {
    let mut host = SettingsFixture::with_settings("[embedding]\napi_key_file='missing'\n")
        .file("c/embedding-api-key", "\0");
    let credentials = host.path("c");
    host = host.env("CREDENTIALS_DIRECTORY", credentials);
    assert!(host.error_text().contains("/missing does not exist"));

    host.key = false;
    assert_eq!(host.config().embedding.api_key, None);
    host = host.file("reindexd.toml", "");
    assert_eq!(host.config().embedding.api_key, None);
}

#[test]
fn an_empty_credential_counts_as_unset_as_an_empty_variable_does() {
    let host = SettingsFixture::new().file("c/embedding-api-key", "\n");
    let directory = host.path("c");

    let loaded = host.env("CREDENTIALS_DIRECTORY", directory).env("GOOGLE_API_KEY", "k").load().unwrap();

    assert_eq!(loaded.config.embedding.api_key.as_ref().map(ApiKey::expose), Some("k"));
}

#[test]
fn a_key_never_prints() {
    let loaded = SettingsFixture::new().env("GOOGLE_API_KEY", "hunter2").load().unwrap();
    assert_eq!(loaded.config.embedding.api_key.as_ref().map(ApiKey::expose), Some("hunter2"));
    assert_eq!(loaded.config.embedding.api_key.as_ref().map(ToString::to_string), Some("***".to_owned()));
    assert!(!format!("{loaded:?}{loaded:#?}").contains("hunter2"));
}

#[test]
fn a_key_that_would_be_sent_unencrypted_is_reported() {
    let note = |base: &str| {
        SettingsFixture::new()
            .env("GOOGLE_API_KEY", "k")
            .env("GOOGLE_GEMINI_BASE_URL", base)
            .load()
            .unwrap()
            .notes
    };
    assert!(note("http://proxy.example")[0].contains("unencrypted"));
    assert!(note("http://127.0.0.1:9").is_empty());
    assert!(note("https://proxy.example").is_empty());
}

#[test]
fn a_token_that_would_be_sent_unencrypted_is_reported_for_each_address() {
    let notes = |entry: &str| {
        let file = format!("[embedding]\nprovider = \"local\"\n[[announce]]\ntimeout = \"1s\"\n{entry}");
        SettingsFixture::new().file("reindexd.toml", &file).load().unwrap().notes
    };
    let token = "token_file = \"t\"\n";

    assert_eq!(
        notes(&format!("post = \"http://api.example/x?y\"\nconfirm = \"http://192.0.2.1/\"\n{token}")),
        [
            "announce[0].token_file: the token is sent to http://api.example/x unencrypted",
            "announce[0].token_file: the token is sent to http://192.0.2.1/ unencrypted",
        ]
    );
    assert!(
        notes(&format!("command = [\"x\"]\nconfirm = \"http://192.0.2.1/\"\n{token}"))[0]
            .contains("192.0.2.1")
    );
    for entry in
        ["post = \"http://api.example/x\"\n", "post = \"https://api.example/x\"\ntoken_file = \"t\"\n"]
    {
        assert_eq!(notes(entry), [""; 0], "{entry}");
    }
    assert_eq!(notes(&format!("post = \"http://127.0.0.1:1/\"\n{token}")), [""; 0]);
}

#[test]
fn a_key_in_the_place_of_another_value_is_not_repeated() {
    const KEY: &str = "hf_QWERTYuiopASDFghjkl";
    let errors = [
        format!("[embedding]\napi_key_file = \"{KEY}\"\n"),
        format!("[embedding]\nbase_url = \"{KEY}\"\n"),
        format!("[embedding]\nprovider = \"{KEY}\"\n"),
        format!("[embedding]\n{KEY} = 1\n"),
        format!("[trigger]\nquiet = \"{KEY}\"\n"),
        format!("{KEY}\n"),
    ];
    for file in errors {
        let error = SettingsFixture::new().file("reindexd.toml", &file).error_text();
        assert!(error.contains("***") || !error.contains("hf_"), "{error}");
        assert!(!error.contains(KEY), "{file}: {error}");
    }
    let shown = SettingsFixture::new().env("EMBEDDING_MODEL", KEY).env("GOOGLE_API_KEY", "k").load().unwrap();
    assert_eq!(shown.config.embedding.model, KEY);
    assert!(shown.origins.iter().all(|setting| !setting.value.contains(KEY)), "{:?}", shown.origins);
}
