//! The same environment as ingest.py's, and the same request on the wire.

use std::path::Path;

use serde_json::json;

use crate::support::provider::vector;
use crate::support::{DIMENSION, MODEL, World, run};

#[test]
fn the_request_is_the_one_that_ingest_py_made() {
    let world = World::with_people(2);

    world.build();

    let requests = world.provider.requests();
    let [seen] = requests.as_slice() else { panic!("one batch expected: {requests:?}") };
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.path, "/v1beta/models/gemini-embedding-001:batchEmbedContents");
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-goog-api-key"), Some("test-key"));
    assert_eq!(seen.header("accept"), Some("*/*"));
    assert_eq!(seen.header("content-length"), Some(seen.body.len().to_string().as_str()));
    assert_eq!(seen.header("authorization"), None);
    let request = |text: &str| {
        json!({
            "content": {"parts": [{"text": text}], "role": "user"},
            "taskType": "RETRIEVAL_DOCUMENT",
            "outputDimensionality": DIMENSION,
            "model": "models/gemini-embedding-001",
        })
    };
    let texts = [1, 2]
        .map(|id| format!("First{id} Last{id}. Title at Company. Bio of person {id}. Domains: tag, other."));
    assert_eq!(seen.json(), json!({"requests": texts.each_ref().map(|text| request(text))}));
}

#[test]
fn one_text_is_a_batch_too() {
    let world = World::with_people(1);

    world.build();

    let requests = world.provider.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].path.ends_with(":batchEmbedContents"), "{}", requests[0].path);
}

#[test]
fn ingest_batch_size_is_the_number_of_texts_in_a_request() {
    for (set, sizes) in [(Some("7"), &[7, 7, 7, 7, 2][..]), (None, &[30]), (Some("1"), &[1; 30])] {
        let world = World::with_people(30);
        let mut command = world.command(&["build", "--json"]);
        if let Some(set) = set {
            command.env("INGEST_BATCH_SIZE", set);
        }

        let built = run(&mut command);

        let mut sent: Vec<_> = world.provider.requests().iter().map(|seen| seen.texts.len()).collect();
        sent.sort_by_key(|&texts| std::cmp::Reverse(texts));
        assert_eq!(sent, sizes, "INGEST_BATCH_SIZE={set:?}");
        assert_eq!(built.number("requests"), sizes.len() as u64);
    }
}

#[test]
fn a_batch_that_the_service_would_refuse_is_refused_before_it_is_sent() {
    let world = World::with_people(2);

    let ran = run(world.command(&["build"]).env("INGEST_BATCH_SIZE", "101"));

    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("INGEST_BATCH_SIZE") && ran.stderr.contains("1 to 100"), "{ran:?}");
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn a_model_named_with_and_without_its_prefix_is_one_and_the_same() {
    let world = World::with_people(3);
    let build = |model: &str| run(world.command(&["build", "--json"]).env("EMBEDDING_MODEL", model));
    build(MODEL);

    let again = build(&format!("models/{MODEL}"));

    assert_eq!(again.text("outcome"), "unchanged", "{again:?}");
    assert_eq!(world.provider.request_count(), 1);

    let mut command = world.command(&["build", "--accept-space", "--json"]);
    let other = run(command.env("EMBEDDING_MODEL", "models/gemini-embedding-exp"));

    assert_eq!(other.number("embedded"), 3);
    let request = &world.provider.requests()[1];
    assert_eq!(request.path, "/v1beta/models/gemini-embedding-exp:batchEmbedContents");
    assert_eq!(request.json()["requests"][0]["model"], "models/gemini-embedding-exp");
}

#[test]
fn a_model_that_ingest_py_could_not_use_gets_a_vector_for_each_text() {
    let world = World::with_people(3);

    let built = run(world.command(&["build", "--json"]).env("EMBEDDING_MODEL", "gemini-embedding-2"));

    assert_eq!(built.text("outcome"), "promoted", "{built:?}");
    let request = &world.provider.requests()[0];
    assert_eq!(request.texts.len(), 3, "one request for each text within the batch, not three parts of one");
    assert_eq!(request.task_type, None, "this model does not take the field");
}

#[test]
fn the_key_is_google_api_key_before_gemini_api_key() {
    let keys = [
        (Some("google"), Some("gemini"), "google"),
        (None, Some("gemini"), "gemini"),
        (Some(""), Some("gemini"), "gemini"),
        (Some("google"), Some(""), "google"),
    ];
    for (google, gemini, sent) in keys {
        let world = World::with_people(1);
        let mut command = world.command(&["build"]);
        command.env_remove("GOOGLE_API_KEY");
        for (name, value) in [("GOOGLE_API_KEY", google), ("GEMINI_API_KEY", gemini)] {
            command.envs(value.map(|value| (name, value)));
        }

        let ran = run(&mut command);

        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(world.provider.requests()[0].key(), Some(sent), "{google:?} {gemini:?}");
        assert!(!ran.stderr.contains(sent), "a key is never printed: {ran:?}");
    }
}

#[test]
fn without_a_key_the_build_says_which_variables_it_read() {
    let world = World::with_people(1);

    let ran = run(world.command(&["build"]).env_remove("GOOGLE_API_KEY"));

    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("GOOGLE_API_KEY or GEMINI_API_KEY"), "{ran:?}");
    assert_eq!(world.provider.request_count(), 0);
}

#[test]
fn a_base_url_with_a_path_or_a_slash_goes_before_v1beta() {
    for (tail, path) in [("/", ""), ("/proxy", "/proxy"), ("/proxy/", "/proxy")] {
        let world = World::with_people(1);
        let base = format!("{}{tail}", world.provider.base_url());

        let ran = run(world.command(&["build"]).env("GOOGLE_GEMINI_BASE_URL", base));

        assert_eq!(ran.code, 0, "{ran:?}");
        let expected = format!("{path}/v1beta/models/gemini-embedding-001:batchEmbedContents");
        assert_eq!(world.provider.requests()[0].path, expected);
    }
}

#[test]
fn database_index_and_metadata_are_where_the_environment_says() {
    let world = World::with_people(4);
    world.provider.excuse_money("the same rows go to several directories");
    let elsewhere = world.path("elsewhere/people.db");
    std::fs::create_dir(world.path("elsewhere")).unwrap();
    std::fs::rename(world.database(), &elsewhere).unwrap();
    let absolute = format!("sqlite:///{}", elsewhere.display());
    for (url, index, metadata) in [
        ("sqlite:///elsewhere/people.db", "out/people.index", "out/people.json"),
        (absolute.as_str(), "deep/er/x.faiss", "meta/y.json"),
    ] {
        let built = run(world
            .command(&["build", "--json"])
            .env("DATABASE_URL", url)
            .env("FAISS_INDEX_PATH", index)
            .env("METADATA_PATH", world.path(metadata)));

        assert_eq!(built.text("outcome"), "promoted", "{url}: {built:?}");
        assert_eq!(floats(&world.path(index)), (4, DIMENSION));
        let records = std::fs::read(world.path(metadata)).unwrap();
        assert_eq!(serde_json::from_slice::<Vec<serde_json::Value>>(&records).unwrap().len(), 4);
    }
    assert!(!world.path("data/faiss.index").exists());
}

#[test]
fn output_dim_is_the_length_of_every_vector() {
    let world = World::with_people(2);

    let ran = run(world.command(&["build"]).env("OUTPUT_DIM", "256"));

    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(floats(&world.path("data/faiss.index")), (2, 256));
    assert_eq!(world.provider.requests()[0].dimension, Some(256));
    let raw = vector(MODEL, &world.provider.texts_seen()[0], 256);
    let length = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    let pairs = world.vectors().swap_remove(0).into_iter().zip(raw);
    let gap = pairs.map(|(unit, raw)| (unit - raw / length).abs()).fold(0.0, f32::max);
    assert!(gap < 2e-7, "expected the received vector at unit length, a component differs by {gap}");
}

#[test]
fn empty_variables_count_as_unset() {
    let world = World::with_people(2);
    let mut command = world.command(&["build", "--json"]);
    for name in ["DATABASE_URL", "FAISS_INDEX_PATH", "METADATA_PATH", "EMBEDDING_MODEL", "INGEST_BATCH_SIZE"]
    {
        command.env(name, "");
    }

    let built = run(command.env("OUTPUT_DIM", " "));

    assert_eq!(built.text("outcome"), "promoted", "{built:?}");
    assert_eq!(floats(&world.path("data/faiss.index")), (2, 768), "the defaults of ingest.py");
    assert_eq!(world.provider.requests()[0].model, MODEL);
}

#[test]
fn dotenv_fills_in_what_the_environment_does_not_set() {
    let world = World::with_people(9);
    dotenv(
        &world,
        "# as ingest.py had it\nexport INGEST_BATCH_SIZE=4\nGOOGLE_API_KEY='from dotenv'\n\
         OUTPUT_DIM=64\nFAISS_INDEX_PATH=\"out/i.index\" # quoted\n",
    );

    // OUTPUT_DIM and GOOGLE_API_KEY are set in the environment; an empty variable is not.
    let ran = run(world.command(&["build"]).env("FAISS_INDEX_PATH", ""));

    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(floats(&world.path("out/i.index")), (9, DIMENSION));
    assert_eq!(world.provider.request_count(), 3);
    assert!(world.provider.requests().iter().all(|seen| seen.key() == Some("test-key")));
}

#[test]
fn names_in_dotenv_mean_the_database_that_they_meant_to_ingest_py() {
    let world = World::with_people(3);
    dotenv(&world, "DATA_DIR=data\nDATABASE_URL=sqlite:///${DATA_DIR}/${FILE:-experts.db}\n");

    let ran = run(world.command(&["plan", "--json"]).env_remove("DATABASE_URL"));
    let other = run(world.command(&["plan"]).env_remove("DATABASE_URL").env("DATA_DIR", "gone"));

    assert_eq!((ran.code, ran.number("records")), (0, 3), "{ran:?}");
    assert!(
        other.stderr.contains("gone/experts.db does not exist"),
        "the environment comes first: {other:?}"
    );
}

#[test]
fn dotenv_is_not_read_with_a_settings_file() {
    let world = World::with_people(9);
    dotenv(&world, "INGEST_BATCH_SIZE=4\n");
    world.settings("[publish]\nkeep = 2\n");

    world.build();

    assert_eq!(world.provider.request_count(), 1);
}

#[test]
fn the_agent_does_not_read_dotenv() {
    let world = World::with_people(2);
    dotenv(&world, "OUTPUT_DIM=64\nGOOGLE_API_KEY=a-secret-of-dotenv\nOTHER=1\n");
    let agent = crate::support::agent::Agent::start(world.command(&["run"]).env_remove("OUTPUT_DIM"));

    agent.wait_for("a build", || world.served().is_some());

    agent.wait_for("both names", || world.path("data/faiss.index").exists());
    assert_eq!(floats(&world.path("data/faiss.index")), (2, 768));
    assert_eq!(agent.logged("`run` does not read .env, which sets OUTPUT_DIM for commands"), 1);
    assert!(!agent.log().contains("a-secret-of-dotenv"), "a variable of the environment is not in doubt");
    agent.stop();
}

fn dotenv(world: &World, text: &str) {
    std::fs::write(world.path(".env"), text).unwrap();
}

/// Vectors of an index, and floats in each, by its header.
#[track_caller]
fn floats(index: &Path) -> (u64, usize) {
    let bytes = std::fs::read(index).unwrap();
    let dimension = u32::from_le_bytes(bytes[4..8].try_into().unwrap());
    (u64::from_le_bytes(bytes[8..16].try_into().unwrap()), dimension as usize)
}
