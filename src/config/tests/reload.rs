//! What a reload changes and what waits for a restart.

use super::*;

#[test]
fn every_key_is_either_live_or_waits_for_a_restart() {
    for (text, live, key) in [
        ("[source]\ndatabase='x'", false, "source.database"),
        ("[trigger]\nmarker='x'", true, "trigger.marker"),
        ("[trigger]\non=['marker']", true, "trigger.on"),
        ("[trigger]\nquiet='1s'", true, "trigger.quiet"),
        ("[trigger]\nmax_wait='1h'", true, "trigger.max_wait"),
        ("[trigger]\nmarker_quiet='1s'", true, "trigger.marker_quiet"),
        ("[trigger]\nresync='1s'", true, "trigger.resync"),
        ("[trigger]\nwatch='poll'", true, "trigger.watch"),
        ("[trigger]\npoll_interval='1s'", true, "trigger.poll_interval"),
        ("[embedding]\nmodel='gemini-embedding-001-x'", false, "embedding.model"),
        ("[embedding]\ndimension=8", false, "embedding.dimension"),
        ("[embedding]\ntask_type=''", false, "embedding.task_type"),
        ("[embedding]\nbase_url='http://h'", true, "embedding.base_url"),
        ("[embedding]\napi_key_file='key'", true, "embedding.api_key"),
        ("[embedding]\nbatch_size=1", true, "embedding.batch_size"),
        ("[embedding]\nconcurrency=1", true, "embedding.concurrency"),
        ("[embedding]\nitems_per_minute=1", true, "embedding.items_per_minute"),
        ("[embedding]\ntokens_per_minute=1", true, "embedding.tokens_per_minute"),
        ("[embedding]\nrequest_timeout='1s'", true, "embedding.request_timeout"),
        ("[embedding]\nretry_budget='1s'", true, "embedding.retry_budget"),
        ("[embedding]\nmax_tokens=9", false, "embedding.max_tokens"),
        ("[embedding]\ntoo_long='cut'", false, "embedding.too_long"),
        ("[embedding.document]\nprefix='x'", false, "embedding.document"),
        ("[embedding]\ndocument={fields={a=1}}", false, "embedding.document"),
        ("[embedding.query]\nprefix='x'", true, "embedding.query"),
        ("[embedding]\nquery={fields={a=1}}", true, "embedding.query"),
        ("[publish]\nindex='x'", false, "publish.index"),
        ("[publish]\nmetadata='x'", false, "publish.metadata"),
        ("[publish]\nkeep=4", true, "publish.keep"),
        ("[guard]\nmax_shrink=0.5", true, "guard.max_shrink"),
        ("[guard]\nmax_texts=1", true, "guard.max_texts"),
        ("[guard]\nquarantine=1", true, "guard.quarantine"),
        ("[evaluate]\nk=5", false, "evaluate.k"),
        ("[evaluate]\nmetric='mrr'", false, "evaluate.metric"),
        ("[evaluate]\nmin=0.5", false, "evaluate.min"),
        ("[evaluate]\nmax_drop=0.5", false, "evaluate.max_drop"),
        ("[[announce]]\npost='http://h/'", true, "announce"),
        ("[log]\nlevel='warn'", true, "log.level"),
        ("[log]\nformat='json'", false, "log.format"),
    ] {
        let old = defaults();
        let new = SettingsFixture::with_settings(text).file("key", "k").config();
        let changes = Changes::between(&old, &new);
        let (mine, other) = if live {
            (&changes.live, &changes.needs_restart)
        } else {
            (&changes.needs_restart, &changes.live)
        };
        assert_eq!((mine.as_slice(), other.as_slice()), (&[key.to_owned()][..], &[][..]), "{text}");
        let mut expected = if live { new.clone() } else { old.clone() };
        expected.file.clone_from(&new.file);
        assert_eq!(reloaded(&old, &new), expected, "{text}");
    }
}

#[test]
fn a_changed_setting_is_described_by_both_values_and_a_secret_by_none() {
    let load = |text: &str, key: &str| SettingsFixture::with_settings(text).file("key", key).load().unwrap();
    let with_key = "[embedding]\napi_key_file = 'key'\n";
    let old =
        load(&format!("{with_key}[trigger]\nquiet = '20s'\n[[announce]]\npost = 'http://h/a'\n"), "one");
    let new = load(
        &format!(
            "{with_key}model = 'x'\n[trigger]\nmarker = 'm'\n[[announce]]\npost = 'http://h/b'\ntimeout = '3s'\n\
             [[announce]]\npost = 'http://h/c'\n"
        ),
        "two",
    );
    let changes = Changes::between(&old.config, &new.config);

    let live = described(&changes.live, &old.origins, &new.origins);
    for part in [
        "trigger.quiet from 20s to 30s",
        "trigger.marker from data/tagging-complete to m",
        "announce[0].post from http://h/a to http://h/b",
        "announce[0].timeout from 10s to 3s",
        "announce[1].post from none to http://h/c",
        "embedding.api_key (another value, which is not shown)",
    ] {
        assert!(live.contains(part), "{part}: {live}");
    }
    assert!(!live.contains("trigger.resync"), "{live}");
    let waiting = described(&changes.needs_restart, &old.origins, &new.origins);
    let expected = "embedding.model from gemini-embedding-001 to x, embedding.max_tokens from 2048 to none";
    assert_eq!(waiting, expected);

    // The next change is described from what is in force.
    let in_force = printed_in_force(&old.origins, new.origins, &changes.needs_restart);
    let value = |key: &str| in_force.iter().find(|setting| setting.key == key).unwrap().value.clone();
    assert_eq!(
        (value("embedding.model").as_str(), value("trigger.marker").as_str()),
        ("gemini-embedding-001", "m")
    );
}

#[test]
fn a_key_never_reaches_the_provider_it_does_not_belong_to() {
    let old = SettingsFixture::new().env("GOOGLE_API_KEY", "g").config();
    let text = "[embedding]\nprovider='openai'\nbase_url='http://h'\nbatch_size=500\nconcurrency=9\n";
    let new = SettingsFixture::with_settings(text).env("OPENAI_API_KEY", "o").config();
    let changes = Changes::between(&old, &new);
    assert_eq!(changes.live, ["embedding.concurrency"]);
    for key in ["provider", "model", "dimension", "task_type", "base_url", "api_key", "batch_size"] {
        assert!(changes.needs_restart.contains(&format!("embedding.{key}")), "{key}");
    }
    let expected = EmbeddingSettings { concurrency: 9, ..old.embedding.clone() };
    assert_eq!(reloaded(&old, &new).embedding, expected);
}

#[test]
fn nothing_changed_is_nothing_to_do() {
    assert!(Changes::between(&defaults(), &SettingsFixture::with_settings("").config()).is_empty());
}
