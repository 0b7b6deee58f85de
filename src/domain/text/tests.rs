//! What each function keeps of a text, and that nothing with an effect on a terminal remains.

use std::fmt;

use proptest::prelude::*;

use super::*;

/// What would clear a screen, begin a line, or reverse or hide the text after it.
const WITH_EFFECT: &str = "\u{1b}[2J\u{9b}\r\n\u{202e}\u{2066}\u{feff}\u{200b}";

#[test]
fn what_acts_on_a_terminal_is_escaped_and_the_rest_stays() {
    let cases = [
        ("", ""),
        ("Quota exceeded.\n* limit: 5\r\n", "Quota exceeded. * limit: 5"),
        ("a\u{1b}[31mb\0", "a\\u{1b}[31mb\\u{0}"),
        ("über \"x\" \u{202e}y", "über \"x\" \\u{202e}y"),
    ];
    for (text, expected) in cases {
        assert_eq!(one_line(text, 400), expected);
    }
}

#[test]
fn a_long_text_is_cut_and_shows_it() {
    assert_eq!(one_line("four", 4), "four");
    assert_eq!(one_line("fours", 4), "four…");
    assert_eq!(one_line("a b c", 3), "a b…");
    assert_eq!(one_line(&"x".repeat(100_000), 400).chars().count(), 401);
}

#[test]
fn a_literal_keeps_white_space_and_the_beginning() {
    let cases = [
        ("", ""),
        ("a  b", "a  b"),
        ("a\nb\u{1b}\u{202e}", "a\\nb\\u{1b}\\u{202e}"),
        ("\"é\"", "\"é\""),
        ("it's", "it's"),
        ("123456", "12345"),
    ];
    for (text, expected) in cases {
        assert_eq!(literal(text, 5), expected);
    }
}

#[test]
fn a_tail_keeps_quotes_and_the_end() {
    let cases: [(&[u8], &str); 5] = [
        (b"", ""),
        (b"\n ok \n", "ok"),
        (b"a\nb", "a\\nb"),
        (b"it's \"x\"", "it's \"x\""),
        (b"12345678\xff9", "345678\u{fffd}9"),
    ];
    for (text, expected) in cases {
        assert_eq!(tail(text, 8), expected, "{text:?}");
    }
    assert_eq!(tail(b"123456789", 8), "23456789");
    assert_eq!(tail("é".as_bytes(), 1), "\u{fffd}", "a character that is cut is replaced");
}

#[derive(Debug)]
struct Layer(&'static str, Option<Box<Self>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Layer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.1.as_deref().map(|cause| cause as _)
    }
}

#[test]
fn an_error_is_printed_with_each_cause_once() {
    let cases = [
        (&["cannot open x"][..], "cannot open x", "cannot open x"),
        (&["cannot open x", "no such file"], "cannot open x: no such file", "cannot open x: no such file"),
        (&["failed: reset", "reset"], "failed: reset", "failed: reset"),
        (&["failed (reset) here", "reset"], "failed (reset) here: reset", "failed (reset) here"),
        (&["a", "b", "b", "c"], "a: b: c", "a: b: c"),
        (&["a", "b", "c", "b"], "a: b: c: b", "a: b: c"),
    ];
    for (layers, expected, expected_of_network) in cases {
        let chained = |cause: Option<Box<Layer>>, text: &&'static str| Some(Box::new(Layer(text, cause)));
        let error = layers.iter().rev().fold(None, chained).unwrap();

        assert_eq!(error_chain(&*error), expected);
        assert_eq!(network_error_chain(&*error), expected_of_network);
    }
}

/// By the same Unicode properties as elsewhere, but asked in another way: by the general category's group and
/// the properties that Unicode derives for display.
fn is_harmless(char: char) -> bool {
    use icu_properties::CodePointSetData;
    use icu_properties::props::{BidiControl, PatternWhiteSpace};
    let is_line_end = CodePointSetData::new::<PatternWhiteSpace>().contains(char) && char != ' ';
    !is_line_end && !char.is_control() && !CodePointSetData::new::<BidiControl>().contains(char)
}

#[test]
fn characters_are_judged_by_their_property_and_not_by_a_list() {
    let hidden = [
        '\0',
        '\t',
        '\n',
        '\r',
        '\u{7f}',
        '\u{85}',
        '\u{9b}',
        '\u{ad}',
        '\u{600}',
        '\u{61c}',
        '\u{180e}',
        '\u{200b}',
        '\u{200e}',
        '\u{2028}',
        '\u{2029}',
        '\u{202e}',
        '\u{2060}',
        '\u{2069}',
        '\u{feff}',
        '\u{fff9}',
        '\u{1d173}',
        '\u{e0001}',
        '\u{e0041}',
    ];
    for char in hidden {
        assert_eq!(visible(&format!("a{char}b")), format!("a{}b", char.escape_unicode()));
    }
    for shown in [' ', '"', '\\', 'é', '\u{301}', '山', 'ب', '\u{a0}', '😀'] {
        assert_eq!(visible(&shown.to_string()), shown.to_string());
    }
    assert_eq!(visible_lines("a\n\u{1b}b\r\n"), "a\n\\u{1b}b\\u{d}\n");
}

#[test]
fn an_error_and_its_causes_are_one_line() {
    let error = Layer(
        "no such table: x\u{1b}]0;owned\u{7}\n2031-01-01 INFO",
        Some(Box::new(Layer("\u{202e}", None))),
    );
    assert_eq!(error_chain(&error), "no such table: x\\u{1b}]0;owned\\u{7}\\u{a}2031-01-01 INFO: \\u{202e}");
}

proptest! {
    #[test]
    fn nothing_that_acts_on_a_terminal_survives(text in any::<String>(), most in 0_usize..60) {
        let text = format!("{text}{WITH_EFFECT}{text}");
        let line = one_line(&text, most);
        prop_assert!(line.chars().count() <= most + 1);
        for line in [line, literal(&text, most), tail(text.as_bytes(), most), visible(&text)] {
            prop_assert!(line.chars().all(is_harmless), "{line:?}");
        }
        let lines = visible_lines(&text);
        prop_assert_eq!(lines.matches('\n').count(), text.matches('\n').count());
        prop_assert!(lines.split('\n').all(|line| line.chars().all(is_harmless)), "{:?}", lines);
    }
}
