//! Texts and bounds that must never change: a vector is found by the hash of its text, so another byte
//! in them is paid for again. A version of a library that fails here costs money.

use crate::domain::document::{self, ChunkSize, Template};
use crate::domain::record::{ChunkPlace, RawValue, Record, RowSource};
use crate::domain::source_spec::{AnySource, ChunkSpec, ColumnSpec, FoundColumns};

use std::sync::Arc;

const ROW: [RawValue<'static>; 8] = [
    RawValue::Integer(7),
    RawValue::Text(b" \x1cA \"title\"\t<b> & more \n"),
    RawValue::Null,
    RawValue::Real(1e16),
    RawValue::Real(-0.0),
    RawValue::Text(br#"{"b": [1, 2.50, null, true, "x \u00e9\n"], "a": {}, "b2": 1E-7, "a2": 123456789012345678901234567890123456789012}"#),
    RawValue::Text("Erste Zeile.\r\nZweite: Zoë, ß, 日本語, 👩‍👩‍👧.\r\n\r\nLetzte".as_bytes()),
    RawValue::Text(b""),
];
const NAMES: [&str; 8] = ["id", "title", "nothing", "big", "zero", "json", "body", "empty"];

/// The texts that a template makes of [`ROW`], or why it makes none.
fn texts(template: &str, chunk: Option<(usize, usize)>) -> Result<Vec<String>, String> {
    let column = |name: &&str| ColumnSpec { name: (*name).to_owned(), key: None, json: *name == "json" };
    let source = AnySource {
        rows: RowSource::Table { name: "t".to_owned(), filter: None },
        id: Vec::new(),
        columns: NAMES.iter().map(column).collect(),
        template: Arc::new(Template::compile(template)?),
        chunk: chunk.map(|(size, overlap)| ChunkSpec {
            column: "body".to_owned(),
            size: ChunkSize { size, overlap },
        }),
    };
    let found = FoundColumns { names: NAMES.map(str::to_owned).to_vec(), key: vec!["id".to_owned()] };
    let rules = source.resolve(&found).map_err(|errors| errors[0].to_string())?;
    let (mut values, mut buffer, mut made) = (Vec::new(), String::new(), Vec::new());
    let record = Record::check(&ROW, &rules.schema, &mut values).map_err(|error| error.to_string())?;
    let mut each = |text: &mut String, _: Option<ChunkPlace>| {
        made.push(text.clone());
        Ok(())
    };
    document::write(&rules.document, &rules.schema, &record, &mut buffer, &mut each)
        .map_err(|unfit| unfit.message)?;
    Ok(made)
}

/// A template, and the text that it makes of [`ROW`].
const CASES: &[(&str, &str)] = &[
    ("{{ title }}|", " \u{1c}A \"title\"\t<b> & more \n|"),
    (
        "{{ title|strip }}|{{ title|trim }}|{{ id|strip }}|{{ big|strip }}|",
        "A \"title\"\t<b> & more|\u{1c}A \"title\"\t<b> & more|7|1e+16|",
    ),
    (
        "{{ nothing }}|{{ nothing ~ '-' ~ title|strip }}|{{ nothing|upper }}|{{ nothing|strip }}|",
        "|-A \"title\"\t<b> & more|||",
    ),
    (
        "{{ nothing is none }} {{ title is none }} {{ nothing is not none }} {{ nothing or 'else' }}",
        "true false false else",
    ),
    ("{% for x in nothing %}{{ x }}{% else %}no items{% endfor %} {{ nothing|length }}", "no items 0"),
    ("{{ nothing|default('only where undefined') }}|{{ nothing|default('x', true) }}", "|x"),
    (
        "{{ big }} {{ zero }} {{ id }} {{ id / 2 }} {{ id // 2 }} {{ 1 / 3 }} {{ 2 ** 70 }}",
        "1e+16 -0.0 7 3.5 3 0.3333333333333333 1180591620717411303424",
    ),
    (
        "{{ json }}",
        "{\"b\": [1, 2.5, null, true, \"x é\\n\"], \"a\": {}, \"b2\": 1e-07, \"a2\": 123456789012345678901234567890123456789012}",
    ),
    (
        "{{ json.b }} {{ json['a'] }} {{ json.b[1] }} {{ json.a2 }} {{ json.b2 }}",
        "[1, 2.5, null, true, \"x é\\n\"] {} 2.5 123456789012345678901234567890123456789012 1e-07",
    ),
    (
        "{% for key in json %}{{ key }},{% endfor %}{% for k, v in json|items %}{{ k }}={{ v }};{% endfor %}",
        "b,a,b2,a2,b=[1, 2.5, null, true, \"x é\\n\"];a={};b2=1e-07;a2=123456789012345678901234567890123456789012;",
    ),
    ("{{ json.b|join(' / ') }}", "1 / 2.5 /  / True / x é\n"),
    (
        "{{ [nothing, title|strip, zero] }} {{ {'k': nothing} }}",
        "[null, \"A \\\"title\\\"\\t<b> & more\", -0.0] {\"k\": null}",
    ),
    ("{% if nothing %}a{% elif empty %}b{% elif zero %}c{% else %}d{% endif %}{{ true }}", "dtrue"),
    (
        "  {%- set words = body|split -%} {{ words|length }} {{ words[1]|lower }} {{ body|replace('\\r\\n', ' ') }}",
        "8 zeile. Erste Zeile. Zweite: Zoë, ß, 日本語, 👩\u{200d}👩\u{200d}👧.  Letzte",
    ),
    (
        "{{ title|strip|title }} {{ 'Straße'|upper }} {{ 'ÄÖ'|lower }} {{ 'élan vital'|capitalize }}",
        "A \"title\"\t<B> & More STRASSE äö Élan vital",
    ),
    ("{{ TITLE|strip }} {{ row['Id'] }} {{ ID }}", "A \"title\"\t<b> & more 7 7"),
    ("{% set title = title|strip %}{{ title[:3] }} {{ title[-4:] }}", "A \" more"),
    (
        "{{ range(3)|list }} {{ dict(a=1) }} {{ 'a' if id > 6.5 else 'b' }} {{ 7 in [id] }} {{ 'tit' in title }}",
        "[0, 1, 2] {\"a\": 1} a true true",
    ),
    (
        "{{ (1, 2)|first }} {{ [3, 1, 2]|sort|join(',') }} {{ [1, 2, 3]|sum }} {{ 7.5|round }} {{ 7|float }} {{ '8'|int }}",
        "1 1,2,3 6 8.0 7.0 8",
    ),
    ("{# a comment #}a\n  b\n\n{% raw %}{{ not }}{% endraw %}\n", "a\n  b\n\n{{ not }}"),
    ("{{ row.title|length }} {{ row['id'] }}", "24 7"),
    ("{{ big ~ '' }} {{ true ~ '' }}", "10000000000000000.0 True"),
];

#[test]
fn a_template_makes_the_texts_that_it_always_made() {
    for &(template, expected) in CASES {
        assert_eq!(texts(template, None), Ok(vec![expected.to_owned()]), "{template}");
    }
}

#[test]
fn a_text_for_each_chunk_is_the_one_that_it_always_was() {
    let expected = [
        "A \"title\"\t<b> & more: Erste Zeile.",
        "A \"title\"\t<b> & more: Zweite: Zoë, ß,",
        "A \"title\"\t<b> & more: , ß, 日本語, 👩\u{200d}👩\u{200d}👧.",
        "A \"title\"\t<b> & more: Letzte",
    ];
    assert_eq!(texts("{{ title|strip }}: {{ chunk }}", Some((16, 4))).unwrap(), expected);
    let assigned = "{% set chunk = chunk|strip %}{{ chunk }}";
    assert_eq!(texts(assigned, Some((16, 4))).unwrap()[3], "Letzte");
}
