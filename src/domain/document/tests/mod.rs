//! Tables of rows with the text that the script made of them.

mod golden;

use super::*;
use crate::domain::record::Parsed;

/// First and last name, job title, company, bio, username; then the tags.
type TextCase<'a> = ([Value<'a>; 6], Option<&'a [&'a str]>);

const NO: Value<'_> = Value::Null;

fn t(text: &str) -> Value<'_> {
    Value::Text(text)
}

fn text_of(([first, last, title, company, bio, username], tags): TextCase<'_>) -> String {
    let mut values = vec![Value::Null; Schema::experts().width()];
    values[expert::ID] = Value::Integer(1);
    values[expert::USERNAME] = username;
    values[expert::FIRST_NAME] = first;
    values[expert::LAST_NAME] = last;
    values[expert::JOB_TITLE] = title;
    values[expert::COMPANY] = company;
    values[expert::BIO] = bio;
    let tags = tags.map(|tags| tags.iter().map(|&tag| tag.to_owned()).collect());
    let mut out = String::new();
    text_of_expert(&Record { values: &values, parsed: vec![Parsed::Tags(tags)] }, &mut out);
    out
}

#[test]
fn every_part_stands_in_its_place_and_an_empty_one_leaves_no_trace() {
    let cases: [(TextCase<'_>, &str); 18] = [
        (
            (
                [t("Ada"), t("Byron"), t("Analyst"), t("Engine Co"), t("Writes notes"), t("ada")],
                Some(&["maths", "code"]),
            ),
            "Ada Byron. Analyst at Engine Co. Writes notes Domains: maths, code.",
        ),
        (([t("Ada"), NO, NO, NO, NO, t("ada")], None), "Ada."),
        (([NO, t("Byron"), NO, NO, NO, t("ada")], None), "Byron."),
        (([t(" Ada "), t("\tde  Byron\n"), NO, NO, NO, NO], None), "Ada de  Byron."),
        (([NO, NO, t("Analyst"), NO, NO, NO], None), "Analyst."),
        (([NO, NO, t("Analyst"), t(" \u{1f}"), NO, NO], None), "Analyst."),
        (([NO, NO, NO, t("Engine Co"), NO, NO], None), "Works at Engine Co."),
        (([NO, NO, t("Analyst"), t("Engine Co."), NO, NO], None), "Analyst at Engine Co.."),
        (([t(""), t(" "), t("\u{3000}"), t("\u{85}"), t(" a\n\nb. "), t("u")], Some(&[])), "a\n\nb."),
        (([NO, NO, NO, NO, NO, t("u")], Some(&["b", " b ", "b", "a, c"])), "Domains: b,  b , b, a, c."),
        (([NO, NO, NO, NO, NO, t("u")], Some(&[""])), "Domains: ."),
        (([NO, NO, NO, NO, NO, t("u")], Some(&[])), "u"),
        (([NO, t(""), t(" "), NO, NO, t(" a b\n")], None), " a b\n"),
        (([NO, NO, NO, NO, NO, t(" ")], None), " "),
        (([NO, NO, NO, NO, NO, t("")], Some(&[])), ""),
        (([NO, NO, NO, NO, NO, NO], None), ""),
        (([t("\0"), t("\u{200b}"), NO, NO, NO, NO], None), "\0 \u{200b}."),
        (([NO, NO, NO, t("\u{feff}"), NO, NO], None), "Works at \u{feff}."),
    ];
    for (row, expected) in cases {
        assert_eq!(text_of(row), expected);
    }
}

#[test]
fn a_number_in_a_text_column_counts_as_its_digits_and_zero_as_empty() {
    let (zero, none, minus) = (Value::Integer(0), Value::Real(0.0), Value::Real(-0.0));
    let cases: [(TextCase<'_>, &str); 4] = [
        (([NO, NO, NO, Value::Integer(42), NO, NO], None), "Works at 42."),
        (([Value::Real(1e16), Value::Real(1.0), NO, NO, Value::Integer(i64::MIN), NO], None), {
            "1e+16 1.0. -9223372036854775808"
        }),
        (([zero, none, minus, zero, none, t("u")], None), "u"),
        (([zero, none, minus, zero, none, zero], None), "0"),
    ];
    for (row, expected) in cases {
        assert_eq!(text_of(row), expected);
    }
}

#[test]
fn the_text_is_appended_and_a_record_without_one_appends_nothing() {
    let values = vec![Value::Null; Schema::experts().width()];
    let mut record = Record { values: &values, parsed: vec![Parsed::Tags(Some(vec!["x".to_owned()]))] };
    let mut out = "before".to_owned();
    text_of_expert(&record, &mut out);
    assert_eq!(out, "beforeDomains: x.");

    record.parsed.clear();
    text_of_expert(&record, &mut out);
    assert_eq!(out, "beforeDomains: x.");
}

#[test]
fn a_record_without_text_is_unfit_and_names_the_column() {
    for id in [NO, Value::Integer(0), Value::Real(1.5), t("ada")] {
        let mut values = vec![Value::Null; Schema::experts().width()];
        values[expert::ID] = id;
        let mut out = "of the row before".to_owned();

        let record = Record { values: &values, parsed: vec![Parsed::Tags(None)] };
        let mut made = Vec::new();
        let mut write = |record: &Record<'_>| {
            let mut each = |text: &mut String, _: Option<ChunkPlace>| {
                made.push(text.clone());
                Ok(())
            };
            write(&DocumentRules::Experts, &Schema::experts(), record, &mut out, &mut each)
        };
        let error = write(&record).unwrap_err();

        assert_eq!(error.column, "username");
        assert!(error.message.starts_with("no document text: "), "{error:?}");
        values[expert::BIO] = t("bio");
        write(&Record { values: &values, parsed: vec![Parsed::Tags(None)] }).unwrap();
        assert_eq!(made, ["bio"]);
    }
}

#[test]
fn what_is_stripped_is_what_python_strips() {
    // Every code point that CPython's `str.strip` removes, in order.
    let python = "\t\n\u{b}\u{c}\r\u{1c}\u{1d}\u{1e}\u{1f} \u{85}\u{a0}\u{1680}\
        \u{2000}\u{2001}\u{2002}\u{2003}\u{2004}\u{2005}\u{2006}\u{2007}\u{2008}\u{2009}\u{200a}\
        \u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
    let ours: String = ('\0'..=char::MAX).filter(|&c| is_python_space(c)).collect();
    assert_eq!(ours, python);
}
