//! The defaults of each provider, and what it refuses.

use super::*;

fn space_of(host: &SettingsFixture) -> (String, String, usize, Option<String>) {
    let space = host.config().space(|| "r1".to_owned());
    (space.provider, space.model, space.dimension, space.task_type)
}

const DOCUMENT: Option<&str> = Some("RETRIEVAL_DOCUMENT");

/// One row a case: the section, and the space that comes of it.
#[rustfmt::skip]
const SPACES: &[(&str, &str, &str, usize, Option<&str>)] = &[
    ("", "gemini", "gemini-embedding-001", 768, DOCUMENT),
    ("model='models/gemini-embedding-001'", "gemini", "gemini-embedding-001", 768, DOCUMENT),
    ("model='text-embedding-004'", "gemini", "text-embedding-004", 768, DOCUMENT),
    ("model='gemini-embedding-2'", "gemini", "gemini-embedding-2", 768, None),
    ("task_type='CLUSTERING'", "gemini", "gemini-embedding-001", 768, Some("CLUSTERING")),
    ("provider='openai'", "openai", "text-embedding-3-small", 1536, None),
    ("provider='openai'\nmodel='text-embedding-3-large'", "openai", "text-embedding-3-large", 3072, None),
    ("provider='openai'\nmodel='models/x:1'\ndimension=8", "openai", "models/x:1", 8, None),
    #[cfg(feature = "local")]
    ("provider='local'", "local", "paraphrase-MiniLM-L3-v2@r1", 384, None),
    #[cfg(feature = "local")]
    ("provider='local'\ndimension=384\nmodel='paraphrase-MiniLM-L3-v2'", "local", "paraphrase-MiniLM-L3-v2@r1", 384, None),
];

#[test]
fn each_provider_brings_its_own_defaults() {
    for &(text, provider, model, dimension, task_type) in SPACES {
        let found = space_of(&SettingsFixture::with_settings(&format!("[embedding]\n{text}\n")));
        let expected = (provider.to_owned(), model.to_owned(), dimension, task_type.map(str::to_owned));
        assert_eq!(found, expected, "{text:?}");
    }
}

/// One row a case: the section, and a part of the error.
#[rustfmt::skip]
const IMPOSSIBLE: &[(&str, &str)] = &[
    #[cfg(feature = "local")]
    ("provider='local'\ndimension=768", "embedding.dimension is 768 (reindexd.toml line 3), expected 384"),
    #[cfg(feature = "local")]
    ("provider='local'\nmodel='gemini-embedding-001'", "expected paraphrase-MiniLM-L3-v2, the only model"),
    #[cfg(feature = "local")]
    ("provider='local'\nbase_url='http://h'", "provider local sends no requests"),
    #[cfg(feature = "local")]
    ("provider='local'\ntask_type='CLUSTERING'", "takes none"),
    ("provider='openai'\ntask_type='CLUSTERING'", "takes none"),
    ("provider='openai'\nmodel='nomic-embed-text'", "embedding.dimension is not set, expected the number of floats"),
    ("provider='openai'\nmodel='a b'\ndimension=1", "a model's name"),
    #[cfg(feature = "local")]
    ("provider='local'\ndocument={fields={task='x'}}", "embedding.document.fields.task is \"\\\"x\\\"\" (reindexd.toml line 3), expected no fields"),
    #[cfg(feature = "local")]
    ("provider='local'\nmax_tokens=129", "at most 128: the local model reads no more"),
    ("provider='openai'\nmodel='x'\ndimension=8\ntoo_long='refuse'", "embedding.max_tokens is not set, expected the tokens that model \"x\" reads"),
    ("max_tokens=0", "from 1 to 1000000"),
    ("too_long='truncate'", "one of warn, refuse, cut"),
    ("query={fields={model='x'}}", "embedding.query.fields.model"),
    ("document={fields={requests=[]}}", "the texts are sent in it"),
    ("document={fields={content={}}}", "the texts are sent in it"),
    ("provider='openai'\ndocument={fields={input='x'}}", "the texts are sent in it"),
    ("provider='openai'\nquery={fields={dimensions=8}}", "expected embedding.dimension in place of this field"),
    ("document={fields={output_dimensionality=8}}", "expected embedding.dimension in place of this field"),
    ("query={fields={outputDimensionality=8}}", "expected embedding.dimension in place of this field"),
    ("document={fields={taskType='CLUSTERING'}}", "expected embedding.task_type in place of this field"),
    ("document={fields={task_type='CLUSTERING'}}", "expected embedding.task_type in place of this field"),
    ("document={fields={at=2026-11-27}}", "JSON has no dates"),
    ("document={fields={deep=[{at=inf}]}}", "a number that JSON can hold"),
    ("document={fields={''=1}}", "a field with a name"),
    ("document={fields={a=[]}, prefx='x'}", "unknown field `prefx`"),
    ("document={fields='x'}", "embedding.document"),
    ("document='x'", "embedding.document"),
];

#[test]
fn what_a_provider_cannot_do_is_refused() {
    for &(text, expected) in IMPOSSIBLE {
        let message = SettingsFixture::with_settings(&format!("[embedding]\n{text}\n")).error_text();
        assert!(message.contains(expected), "{text:?}\n  {message}");
    }
}

#[test]
fn prefix_and_fields_are_settled_with_their_origins_and_belong_to_one_provider() {
    let text = "[embedding]\nprovider = 'openai'\n[embedding.document]\nprefix = 'passage: '\n\
                fields = { b = [1, 2.5, { y = true, x = 'é' }], a = 'document' }\n[embedding.query.fields]\na = 'query'\n";
    let host = SettingsFixture::with_settings(text);
    let loaded = host.load().unwrap();
    let RequestExtras { prefix, fields } = &loaded.config.embedding.document;
    assert_eq!(prefix, "passage: ");
    assert_eq!(fields.canonical(), r#"{"a":"document","b":[1,2.5,{"x":"é","y":true}]}"#);
    assert_eq!(loaded.config.embedding.query.fields.canonical(), r#"{"a":"query"}"#);
    let file = format!("file {}", "reindexd.toml");
    for (key, value, origin) in [
        ("embedding.document.prefix", r#""passage: ""#, file.as_str()),
        ("embedding.document.fields", r#"{"a":"document","b":[1,2.5,{"x":"é","y":true}]}"#, &file),
        ("embedding.query.prefix", "none", "default"),
        ("embedding.query.fields", r#"{"a":"query"}"#, &file),
    ] {
        assert_eq!(loaded.origin(key), (value, origin), "{key}");
    }
    let space = loaded.config.space(|| unreachable!());
    assert_eq!((space.prefix.as_str(), &space.fields), ("passage: ", fields));

    let other = host.env("EMBEDDING_PROVIDER", "gemini").load().unwrap();
    assert_eq!(other.config.embedding.document, RequestExtras::default());
    assert!(other.notes[0].contains("document and query"), "{:?}", other.notes);
}

#[test]
fn known_models_bring_what_they_read_and_only_what_differs_is_fed_to_digests() {
    use crate::domain::tokens::{TokenLimit, TooLong};
    let cases = [
        ("", Some(2048), false),
        ("max_tokens = 2048", Some(2048), false),
        ("max_tokens = 2047", Some(2047), true),
        ("too_long = 'refuse'", Some(2048), true),
        ("model = 'gemini-embedding-2'", Some(8192), false),
        ("provider = 'openai'", Some(8192), false),
        ("provider = 'openai'\nmodel = 'x'\ndimension = 8", None, false),
        ("provider = 'openai'\nmodel = 'x'\ndimension = 8\nmax_tokens = 9\ntoo_long = 'cut'", Some(9), true),
        #[cfg(feature = "local")]
        ("provider = 'local'", Some(128), false),
    ];
    for (text, max_tokens, is_fed) in cases {
        let embedding = SettingsFixture::with_settings(&format!("[embedding]\n{text}\n")).config().embedding;
        assert_eq!(
            (embedding.max_tokens, embedding.own_token_limit().is_some()),
            (max_tokens, is_fed),
            "{text}"
        );
        let limit = embedding.token_limit();
        assert_eq!(limit.map(|TokenLimit { max_tokens, .. }| max_tokens), max_tokens, "{text}");
        assert!(text.contains("too_long") || embedding.too_long == TooLong::Warn);
    }
}

#[cfg(feature = "local")]
#[test]
fn the_built_in_model_takes_a_prefix() {
    let text = "[embedding]\nprovider='local'\ndocument={prefix='passage: ', fields={}}\n";
    assert_eq!(SettingsFixture::with_settings(text).config().embedding.document.prefix, "passage: ");
}

#[test]
fn variables_of_gemini_alone_do_not_reach_another_provider() {
    let local = cfg!(feature = "local").then_some("local");
    for provider in ["openai"].into_iter().chain(local) {
        let host = SettingsFixture::with_settings(&format!("[embedding]\nprovider='{provider}'\n"))
            .env("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:9")
            .env("GOOGLE_API_KEY", "g");
        let embedding = host.config().embedding;
        assert_eq!((embedding.base_url, embedding.api_key), (None, None), "{provider}");
    }
}

#[test]
fn model_and_dimension_from_the_environment_reach_whatever_provider_the_file_names() {
    let openai = SettingsFixture::with_settings("[embedding]\nprovider='openai'\n")
        .env("EMBEDDING_MODEL", "x")
        .env("OUTPUT_DIM", "8");
    assert_eq!(space_of(&openai), ("openai".to_owned(), "x".to_owned(), 8, None));
}

#[test]
fn a_provider_chosen_in_a_higher_layer_ignores_the_keys_of_another() {
    let file =
        "[embedding]\nmodel='gemini-embedding-001'\ndimension=768\napi_key_file='key'\nconcurrency=2\n";
    let host =
        SettingsFixture::with_settings(file).env("EMBEDDING_PROVIDER", "openai").env("OPENAI_API_KEY", "o");
    let loaded = host.load().unwrap();
    assert_eq!(loaded.origin("embedding.provider"), ("openai", "environment EMBEDDING_PROVIDER"));
    assert_eq!(loaded.origin("embedding.model"), ("text-embedding-3-small", "default"));
    assert_eq!(loaded.origin("embedding.api_key"), ("***", "environment OPENAI_API_KEY"));
    assert_eq!(loaded.config.embedding.concurrency, 2);
    assert_eq!(loaded.notes.len(), 1);
    assert!(loaded.notes[0].contains("belong to gemini"), "{:?}", loaded.notes);

    let host = SettingsFixture::new().file(".env", "EMBEDDING_PROVIDER=openai\nOUTPUT_DIM=512\n");
    assert_eq!(space_of(&host).2, 512);
}

#[cfg(feature = "local")]
#[test]
fn environment_settings_of_another_model_are_refused_by_the_built_in_one() {
    let host = SettingsFixture::with_settings("[embedding]\nprovider='local'\n").env("OUTPUT_DIM", "768");
    assert!(host.error_text().contains("(environment OUTPUT_DIM), expected 384"), "{}", host.error_text());
    let host = SettingsFixture::with_settings("[embedding]\nprovider='local'\n").env("EMBEDDING_MODEL", "x");
    assert!(
        host.error_text().contains("(environment EMBEDDING_MODEL), expected para"),
        "{}",
        host.error_text()
    );
}

#[cfg(feature = "local")]
#[test]
fn the_built_in_model_can_be_tried_with_the_dotenv_of_ingest_py() {
    let dotenv = "EMBEDDING_MODEL=gemini-embedding-001\nOUTPUT_DIM=768\nINGEST_BATCH_SIZE=10\n";
    let loaded =
        SettingsFixture::new().file(".env", dotenv).env("EMBEDDING_PROVIDER", "local").load().unwrap();
    assert_eq!((loaded.config.embedding.dimension, loaded.config.embedding.batch_size), (384, 10));
    assert_eq!(loaded.notes.len(), 2);
}

#[cfg(not(feature = "local"))]
#[test]
fn a_program_built_without_the_model_says_so() {
    let host = SettingsFixture::with_settings("[embedding]\nprovider='local'\n");
    assert!(host.error_text().contains("built without the local model"), "{}", host.error_text());
}
