//! The files of judged queries: both or neither.

use super::*;

#[test]
fn queries_and_judgements_are_set_together_and_placed_like_other_paths() {
    let both = "[evaluate]\nqueries = 'data/q.jsonl'\nqrels = '/srv/r.tsv'\nk = 5\nmetric = 'mrr'\n";
    let config = SettingsFixture::with_settings(both).config();
    let (queries, qrels) = config.evaluate.files().unwrap();
    assert!(queries.ends_with("data/q.jsonl") && qrels == Path::new("/srv/r.tsv"), "{:?}", config.evaluate);
    assert_eq!((config.evaluate.k, config.evaluate.metric), (5, Metric::Mrr));
    assert_eq!(SettingsFixture::with_settings("").config().evaluate.files(), None);

    for (set, absent) in [("queries", "qrels"), ("qrels", "queries")] {
        let message = SettingsFixture::with_settings(&format!("[evaluate]\n{set} = 'x'\n")).error_text();
        let expected =
            format!("evaluate.{absent} is not set, expected a file, because evaluate.{set} is set");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
fn a_limit_without_queries_is_noted_because_it_limits_nothing() {
    let loaded = SettingsFixture::with_settings("[evaluate]\nmin = 0.5\n").load().unwrap();
    assert_eq!(loaded.notes, ["evaluate.min is set, but without evaluate.queries nothing is measured"]);
    let whole = "[evaluate]\nqueries = 'q'\nqrels = 'r'\nmin = 0.5\n";
    assert_eq!(SettingsFixture::with_settings(whole).load().unwrap().notes, [""; 0]);
}
