//! What a source of the settings becomes in a database, and everything that does not fit.

use super::*;

fn spec(template: &str) -> AnySource {
    AnySource {
        rows: RowSource::Table { name: "articles".to_owned(), filter: None },
        id: Vec::new(),
        columns: Vec::new(),
        template: Arc::new(Template::compile(template).unwrap()),
        chunk: None,
    }
}

fn column(name: &str, key: Option<&str>) -> ColumnSpec {
    ColumnSpec { name: name.to_owned(), key: key.map(str::to_owned), json: false }
}

fn found(names: &[&str], key: &[&str]) -> FoundColumns {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    FoundColumns { names: owned(names), key: owned(key) }
}

fn read(rules: &SourceRules) -> Vec<(&str, Option<&str>)> {
    rules.schema.columns.iter().map(|column| (column.name.as_str(), column.key.as_deref())).collect()
}

#[test]
fn without_a_word_every_column_is_published_and_the_declared_key_is_the_id() {
    let rules = spec("{{ title }}").resolve(&found(&["lang", "slug", "title"], &["slug", "lang"])).unwrap();
    assert_eq!(read(&rules), [("lang", Some("lang")), ("slug", Some("slug")), ("title", Some("title"))]);
    assert_eq!(rules.schema.id, [1, 0]);
}

#[test]
fn columns_that_only_id_text_or_chunks_need_are_read_and_not_published() {
    let mut source = spec("{{ title }} {{ chunk }}");
    source.columns = vec![column("TITLE", Some("Title"))];
    source.id = vec!["rowid".to_owned()];
    let size = ChunkSize { size: 10, overlap: 0 };
    source.chunk = Some(ChunkSpec { column: "body".to_owned(), size });
    let rules = source.resolve(&found(&["title", "body", "more"], &[])).unwrap();
    assert_eq!(read(&rules), [("title", Some("Title")), ("rowid", None), ("body", None)]);

    let assigned = "{% set more = more|strip %}{{ more }} {{ chunk }}";
    source.template = Arc::new(Template::compile(assigned).unwrap());
    let rules = source.resolve(&found(&["title", "body", "more"], &[])).unwrap();
    assert_eq!(read(&rules).last(), Some(&("more", None)));

    source.template = Arc::new(Template::compile("{{ row['more'] }} {{ chunk }}").unwrap());
    let rules = source.resolve(&found(&["title", "body", "more"], &[])).unwrap();
    assert_eq!(read(&rules).last(), Some(&("more", None)));
}

#[test]
fn what_does_not_fit_is_named_with_the_nearest_name() {
    let names = found(&["id", "title", "body"], &["id"]);
    let mut unknown = spec("{{ title }}");
    unknown.columns = vec![column("titel", None)];
    let mut twice = spec("{{ title }}");
    twice.columns = vec![column("id", None), column("title", Some("id"))];
    let mut id = spec("{{ title }}");
    id.id = vec!["slug".to_owned()];
    let mut chunk = spec("{{ chunk }}");
    chunk.chunk = Some(ChunkSpec { column: "body".to_owned(), size: ChunkSize { size: 1, overlap: 0 } });
    let cases = [
        (
            unknown,
            &names,
            "source.columns names the column \"titel\", which table articles does not have; the nearest is \"title\"",
        ),
        (twice, &names, "two columns would stand under the key \"id\""),
        (
            id,
            &names,
            "source.id names the column \"slug\", which table articles does not have; it has id, title, body",
        ),
        (spec("{{ boddy }}"), &names, "document.template names the column \"boddy\""),
        (spec("{{ title }}"), &found(&["title"], &[]), "table articles has no declared primary key"),
        (spec("{{ title }}"), &found(&["title", "TITLE"], &["title"]), "two columns named \"TITLE\""),
        (spec("{{ title }}"), &found(&["title", "row"], &["title"]), "a column \"row\""),
        (chunk, &found(&["id", "body", "chunk"], &["id"]), "a column \"chunk\""),
    ];
    for (source, found, expected) in cases {
        let error = source.resolve(found).unwrap_err()[0].to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn everything_that_does_not_fit_is_found_at_once() {
    let mut source = spec("{{ titel }} {{ boddy }}");
    source.id = vec!["idd".to_owned()];
    source.columns = vec![column("titel", None), column("id", None), column("tag", None)];
    let size = ChunkSize { size: 1, overlap: 0 };
    source.chunk = Some(ChunkSpec { column: "bod".to_owned(), size });

    let faults = source.resolve(&found(&["id", "title", "body"], &["id"])).unwrap_err();

    let settings: Vec<_> = faults.iter().map(ToString::to_string).collect();
    let expected = [
        "source.id names the column \"idd\"",
        "source.columns names the column \"titel\"",
        "source.columns names the column \"tag\"",
        "document.chunk.column names the column \"bod\"",
        "document.template names the column \"boddy\"",
        "document.template names the column \"titel\"",
    ];
    assert_eq!(settings.len(), expected.len(), "{settings:?}");
    for part in expected {
        assert!(settings.iter().any(|fault| fault.starts_with(part)), "{part}: {settings:?}");
    }
}

#[test]
fn every_setting_that_changes_the_content_changes_the_digest() {
    let names = found(&["id", "title", "body"], &["id"]);
    let base = spec("{{ title }}");
    let change = |edit: &dyn Fn(&mut AnySource)| {
        let mut changed = base.clone();
        edit(&mut changed);
        changed.resolve(&names).unwrap().schema.digest_input
    };
    let all = [
        change(&|_| ()),
        change(&|source| source.rows = RowSource::Query("SELECT 1".to_owned())),
        change(&|source| {
            source.rows = RowSource::Table { name: "articles".to_owned(), filter: Some("1".to_owned()) };
        }),
        change(&|source| source.id = vec!["title".to_owned()]),
        change(&|source| source.columns = vec![column("id", None)]),
        change(&|source| source.columns = vec![column("id", Some("key"))]),
        change(&|source| source.columns = vec![ColumnSpec { json: true, ..column("id", None) }]),
        change(&|source| {
            let size = ChunkSize { size: 9, overlap: 0 };
            source.chunk = Some(ChunkSpec { column: "body".to_owned(), size });
        }),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[..at].contains(one) && !one.is_empty(), "{at}");
    }
    // Another template makes other texts, whose hashes say so.
    let other = change(&|source| source.template = Arc::new(Template::compile("{{ id }}").unwrap()));
    assert_eq!(other, all[0]);
}
