//! Tables of values with what Python writes for them, and laws for the rest.

use proptest::prelude::*;

use super::*;

fn written_text(text: &str) -> String {
    let mut out = Vec::new();
    write_text(text, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn only_quotes_backslashes_and_control_characters_are_escaped() {
    for c in '\0'..=char::MAX {
        let expected = match c {
            '"' => r#""\"""#.to_owned(),
            '\\' => r#""\\""#.to_owned(),
            '\u{8}' => r#""\b""#.to_owned(),
            '\u{c}' => r#""\f""#.to_owned(),
            '\n' => r#""\n""#.to_owned(),
            '\r' => r#""\r""#.to_owned(),
            '\t' => r#""\t""#.to_owned(),
            '\0'..='\u{1f}' => format!(r#""\u{:04x}""#, u32::from(c)),
            _ => format!("\"{c}\""),
        };
        assert_eq!(written_text(c.encode_utf8(&mut [0; 4])), expected, "U+{:04X}", u32::from(c));
    }
}

#[test]
fn floats_are_laid_out_as_python_lays_them_out() {
    let cases = [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (1.0, "1.0"),
        (-100.0, "-100.0"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.0001, "0.0001"),
        (0.000_099_999_999_999_999_99, "9.999999999999999e-05"),
        (0.00001, "1e-05"),
        (-1.5e-7, "-1.5e-07"),
        (1e15, "1000000000000000.0"),
        (9_007_199_254_740_993.0, "9007199254740992.0"),
        (9_999_999_999_999_998.0, "9999999999999998.0"),
        (2_197_395_979_265_169.0 + 0.25, "2197395979265169.2"),
        (-2_197_395_979_265_169.0 - 0.75, "-2197395979265169.8"),
        (1e16, "1e+16"),
        (-1.234_5e16, "-1.2345e+16"),
        (1e100, "1e+100"),
        (5.684_341_886_080_802e-14, "5.684341886080802e-14"),
        (5e-324, "5e-324"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (f64::MAX, "1.7976931348623157e+308"),
    ];
    for (x, expected) in cases {
        assert_eq!(PyFloat(x).to_string(), expected);
    }
}

#[test]
fn tags_are_read_where_python_reads_a_list_of_strings() {
    let cases: [(&str, &[&str]); 13] = [
        ("", &[]),
        ("[]", &[]),
        (" \t\r\n[ \n] ", &[]),
        (r#"["a"]"#, &["a"]),
        (r#"["b","a" ,"b"]"#, &["b", "a", "b"]),
        (r#"[" a ", ""]"#, &[" a ", ""]),
        (r#"["a, b"]"#, &["a, b"]),
        (r#"["\u00e9\u00E9\/\"\\\b\f\n\r\t"]"#, &["éé/\"\\\u{8}\u{c}\n\r\t"]),
        (r#"["\u0000"]"#, &["\0"]),
        (r#"["\ud83d\ude00"]"#, &["😀"]),
        (r#"["\\ud800"]"#, &["\\ud800"]),
        ("[\"\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}\"]", &["\u{7f}\u{85}\u{2028}\u{feff}\u{ffff}"]),
        ("[\"\u{10ffff}\"]", &["\u{10ffff}"]),
    ];
    for (text, expected) in cases {
        let tags = parse_tags(text).unwrap().unwrap();
        assert_eq!(tags, expected, "{text:?}");
    }
    assert_eq!(parse_tags("null"), Ok(None));
    assert_eq!(parse_tags(" null\n"), Ok(None));
}

#[test]
fn everything_else_in_tags_is_refused_by_name() {
    let cases = [
        ("{}", "an object, expected a JSON list of strings"),
        (r#"{"b": [1, {"c": 2}]}"#, "an object,"),
        (r#""abc""#, "a string,"),
        ("true", "a boolean,"),
        ("5", "a number,"),
        ("-0", "a number,"),
        ("1e5", "a number,"),
        ("123456789012345678901234567890", "a number,"),
        (" NaN ", "a number (NaN),"),
        ("-Infinity", "a number (-Infinity),"),
        ("[1]", "a list whose item 1 is a number,"),
        (r#"["a", "b", 3, null]"#, "a list whose item 3 is a number,"),
        (r#"["a", null]"#, "a list whose item 2 is null,"),
        (r#"["a", false]"#, "a list whose item 2 is a boolean,"),
        (r#"[["a"]]"#, "a list whose item 1 is a list,"),
        (r#"["a", {"b": 1}]"#, "a list whose item 2 is an object,"),
        (" ", "no valid JSON (EOF while parsing a value at line 1 column 1),"),
        ("\u{a0}[]", "no valid JSON (expected value at line 1 column 1),"),
        ("\u{feff}[]", "a byte order mark (U+FEFF),"),
        ("python, rust", "no valid JSON (expected value at line 1 column 1),"),
        ("['a']", "no valid JSON (expected value at line 1 column 2),"),
        (r#"["a",]"#, "no valid JSON (trailing comma at line 1 column 6),"),
        (r#"["a"] ["b"]"#, "no valid JSON (trailing characters at line 1 column 7),"),
        (r#"["a""#, "no valid JSON (EOF while parsing a list at line 1 column 4),"),
        ("[\"a\nb\"]", "no valid JSON (control character"),
        ("[\"\0\"]", "no valid JSON (control character"),
        (r#"["\x41"]"#, "no valid JSON (invalid escape"),
        (r#"["\u+041"]"#, "no valid JSON (invalid escape"),
        ("Null", "no valid JSON ("),
        ("[1, oops]", "no valid JSON ("),
        (r#"["\ud800"]"#, r"the lone surrogate \ud800, which no UTF-8 text can hold,"),
        (r#"["\uDC00\ud800"]"#, r"the lone surrogate \uDC00,"),
        (r#"["\ud83d\ude00\\\ud83d\u0041"]"#, r"the lone surrogate \ud83d,"),
        (r#"["\ud83d\ud83d\ude00"]"#, r"the lone surrogate \ud83d,"),
    ];
    for (text, expected) in cases {
        let message = parse_tags(text).unwrap_err();
        assert!(message.starts_with(expected), "{text:?} gave {message:?}");
        assert!(message.ends_with(", expected a JSON list of strings"), "{message:?}");
    }
}

#[test]
fn nesting_of_any_depth_is_refused_without_recursion() {
    for open in ["[", r#"{"a":"#, r#"["a", ["#] {
        assert!(parse_tags(&open.repeat(300_000)).is_err(), "{open}");
    }
    assert!(parse_tags(&("[".repeat(300_000) + &"]".repeat(300_000))).is_err());
    assert!(parse_tags(&format!("[1, {}{}]", "[".repeat(300_000), "]".repeat(300_000))).is_err());
}

#[test]
fn a_very_long_tag_is_read_whole() {
    let long = "é".repeat(4_000_000);
    assert_eq!(parse_tags(&format!("[\"{long}\"]")), Ok(Some(vec![long])));
}

proptest! {
    #[test]
    fn a_float_reads_back_with_the_same_bits(bits in any::<u64>()) {
        let x = f64::from_bits(bits);
        prop_assume!(x.is_finite());
        prop_assert_eq!(PyFloat(x).to_string().parse::<f64>().unwrap().to_bits(), bits);
    }

    #[test]
    fn no_text_makes_the_reader_of_tags_panic(text in r#"[\[\]{}",:\\udc8 0-9nul\n😀]{0,40}"#) {
        if let Err(message) = parse_tags(&text) {
            prop_assert!(message.contains("expected a JSON list of strings"));
        }
    }
}
