//! Any source: which keys belong together, and what is said where they do not.

use super::*;
use crate::domain::record::RowSource;
use crate::domain::source_spec::SourceSpec;

const ARTICLES: &str = "[source]\ntable = \"articles\"\n[document]\ntemplate = \"{{ title }}\"\n";

fn spec(text: &str) -> SourceSpec {
    SettingsFixture::with_settings(text).env("GEMINI_API_KEY", "key-of-a-test").config().source_spec()
}

#[test]
fn without_a_table_the_source_is_that_of_the_experts() {
    assert_eq!(spec(""), SourceSpec::Experts);
}

#[test]
fn a_source_is_what_both_sections_say() {
    let text = r#"
        [source]
        table = "articles"
        id = ["lang", "slug"]
        where = "published = 1"
        columns = ["id", { name = "body", key = "Body" }, { name = "tags", json = true }]
        [document]
        template = "{{ title }} {{ chunk }}"
        [document.chunk]
        column = "body"
        size = 1000
        overlap = 100
    "#;
    let SourceSpec::Any(source) = spec(text) else { panic!("not any source") };
    assert_eq!(
        source.rows,
        RowSource::Table { name: "articles".to_owned(), filter: Some("published = 1".to_owned()) }
    );
    assert_eq!(source.id, ["lang", "slug"]);
    let columns: Vec<_> = source
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.key.as_deref(), column.json))
        .collect();
    assert_eq!(columns, [("id", None, false), ("body", Some("Body"), false), ("tags", None, true)]);
    let chunk = source.chunk.unwrap();
    assert_eq!((chunk.column.as_str(), chunk.size.size, chunk.size.overlap), ("body", 1000, 100));
    assert_eq!(source.template.source(), "{{ title }} {{ chunk }}");

    let SourceSpec::Any(source) =
        spec("[source]\nquery = \"SELECT 1 AS id\"\nid = \"id\"\n[document]\ntemplate = \"x\"")
    else {
        panic!("not any source")
    };
    assert_eq!(source.rows, RowSource::Query("SELECT 1 AS id".to_owned()));
}

#[test]
fn keys_that_contradict_each_other_are_refused_with_what_is_missing() {
    let chunk = "[document.chunk]\ncolumn = \"body\"\nsize = 10\n";
    let cases = [
        ("[source]\ntable = \"a\"\nquery = \"SELECT 1\"".to_owned(), "source.query is \"SELECT 1\""),
        ("[source]\nquery = \"SELECT 1\"\nwhere = \"1\"".to_owned(), "a condition in the query itself"),
        ("[source]\nwhere = \"1\"".to_owned(), "source.table or source.query beside it"),
        ("[source]\nid = \"slug\"".to_owned(), "source.id is"),
        ("[source]\ncolumns = [\"slug\"]".to_owned(), "source.columns is"),
        ("[document]\ntemplate = \"{{ bio }}\"".to_owned(), "document.template is"),
        (chunk.to_owned(), "document.chunk is"),
        ("[source]\ntable = \"a\"".to_owned(), "document.template is not set"),
        ("[source]\ntable = \" \"".to_owned(), "a text that is not empty"),
        (ARTICLES.replace("title }}", "title"), "a MiniJinja template; line 1: syntax error"),
        (ARTICLES.replace("title }}", "chunk }}"), "[document.chunk] beside it"),
        (format!("{ARTICLES}{chunk}"), "{{ chunk }} in it"),
        (ARTICLES.replace("\"articles\"\n", "\"articles\"\nid = []\n"), "each once"),
        (ARTICLES.replace("\"articles\"\n", "\"articles\"\nid = [\"a\", \"A\"]\n"), "each once"),
        (ARTICLES.replace("\"articles\"\n", "\"articles\"\nid = 7\n"), "the name of a column, or a list"),
        (ARTICLES.replace("\"articles\"\n", "\"articles\"\ncolumns = []\n"), "a list of columns"),
        (
            ARTICLES.replace("\"articles\"\n", "\"articles\"\ncolumns = [{ key = \"x\" }]\n"),
            "missing field `name`",
        ),
        (
            ARTICLES.replace("\"articles\"\n", "\"articles\"\ncolumns = [{ name = \"x\", jsn = true }]\n"),
            "jsn",
        ),
        (format!("{}{chunk}overlap = 10", ARTICLES.replace("title", "chunk")), "an overlap below the size"),
        (format!("{}{}", ARTICLES.replace("title", "chunk"), chunk.replace("10", "0")), "a size from 1"),
    ];
    for (text, expected) in cases {
        let error = SettingsFixture::with_settings(&text).env("GEMINI_API_KEY", "key-of-a-test").error_text();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
