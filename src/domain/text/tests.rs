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
        ("\"é\"", "\\\"é\\\""),
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

proptest! {
    #[test]
    fn nothing_that_acts_on_a_terminal_survives(text in any::<String>(), most in 0_usize..60) {
        let text = format!("{text}{WITH_EFFECT}{text}");
        let line = one_line(&text, most);
        prop_assert!(line.chars().count() <= most + 1);
        for line in [line, literal(&text, most), tail(text.as_bytes(), most)] {
            prop_assert!(line.chars().all(|char| !char.is_control()), "{line:?}");
            prop_assert!(!line.contains(['\u{202e}', '\u{2066}', '\u{feff}', '\u{200b}', '\u{2028}']), "{line:?}");
        }
    }
}
