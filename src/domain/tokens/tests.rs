//! Lengths of texts, and where they are cut.

use proptest::prelude::*;

use super::*;

fn measure(max_tokens: u64, too_long: TooLong) -> TextMeasure {
    TextMeasure::new(TokenLimit { max_tokens, too_long }, "", None)
}

/// Counts words, as a model would that has every one of them.
fn by_spaces(max_tokens: u64, too_long: TooLong) -> TextMeasure {
    let exact: ExactCount = Arc::new(|text| text.split_whitespace().count() as u64 + 2);
    TextMeasure::new(TokenLimit { max_tokens, too_long }, "", Some(exact))
}

fn cut(measure: &TextMeasure, text: &str) -> String {
    let mut text = text.to_owned();
    measure.apply(&mut text);
    text
}

#[test]
fn an_estimate_has_a_lower_bound_and_a_likely_number() {
    let cases = [
        ("", (0, 0)),
        ("a", (1, 1)),
        ("one two three", (3, 4)),
        ("a b c d", (4, 4)),
        ("incomprehensibility", (2, 5)),
        ("!!!! ....", (0, 3)),
        ("東京都港区", (1, 4)),
        ("Zoë", (1, 1)),
    ];
    for (text, expected) in cases {
        assert_eq!(estimate(text), expected, "{text:?}");
    }
}

#[test]
fn only_the_lowest_estimate_refuses_a_text() {
    let sure = "word ".repeat(11);
    let doubtful = "unbelievable ".repeat(9);
    for (too_long, text, expected) in [
        (TooLong::Warn, &sure, Measured::Long(14)),
        (TooLong::Refuse, &sure, Measured::Refused(11)),
        (TooLong::Refuse, &doubtful, Measured::Long(30)),
        (TooLong::Cut, &sure, Measured::Long(14)),
        (TooLong::Refuse, &"word ".repeat(4), Measured::Fits),
        (TooLong::Refuse, &"word ".repeat(8), Measured::Fits),
    ] {
        let mut found = text.clone();
        assert_eq!(measure(10, too_long).apply(&mut found), expected, "{too_long:?} {text}");
        assert_eq!(found == *text, too_long != TooLong::Cut, "{too_long:?}");
    }
}

#[test]
fn a_cut_ends_at_a_word_and_never_within_a_character() {
    let family = "👩‍👩‍👧‍👦";
    assert_eq!(cut(&measure(4, TooLong::Cut), "one two three four five"), "one two three");
    assert_eq!(cut(&measure(4, TooLong::Cut), &"x".repeat(200)), "x".repeat(16));
    assert_eq!(cut(&measure(8, TooLong::Cut), &family.repeat(3)), family);
    assert_eq!(cut(&measure(1, TooLong::Cut), &family.repeat(3)), family, "something stays");
    assert_eq!(cut(&measure(4, TooLong::Cut), &"東".repeat(30)), "東".repeat(5));
    assert_eq!(cut(&measure(3, TooLong::Cut), "caffe\u{301} caffe\u{301} caffe\u{301}"), "caffe\u{301}");
    assert_eq!(cut(&by_spaces(4, TooLong::Cut), "one two  three"), "one two");
    assert_eq!(cut(&by_spaces(3, TooLong::Cut), &"a ".repeat(9)), "a");
    let prefixed = TextMeasure { prefix: "to be found: ".to_owned(), ..measure(7, TooLong::Cut) };
    assert_eq!(cut(&prefixed, "one two three four"), "one two");
}

#[test]
fn the_longest_texts_are_named_and_all_are_counted() {
    let mut long = LongTexts::new(Some(&measure(9, TooLong::Warn)));
    assert_eq!(long.note(), None);
    for (id, tokens) in [10, 30, 20, 30, 11, 12, 50].into_iter().enumerate() {
        long.add(|| id.to_string(), tokens);
    }

    let named: Vec<_> = long.longest.iter().map(|one| (one.id.as_str(), one.tokens)).collect();
    assert_eq!((long.rows, named), (7, vec![("6", 50), ("1", 30), ("3", 30), ("2", 20), ("5", 12)]));
    assert!(long.note().unwrap().starts_with("7 rows have texts longer than the 9 tokens"));
}

proptest! {
    #[test]
    fn any_text_is_cut_to_a_beginning_that_fits(text in ".{0,80}", max_tokens in 1..20_u64, is_exact: bool) {
        let (exact, estimated) = (by_spaces(max_tokens + 2, TooLong::Cut), measure(max_tokens, TooLong::Cut));
        let measure = if is_exact { exact } else { estimated };
        let cut = cut(&measure, &text);

        prop_assert!(text.starts_with(&cut));
        let chars: Vec<&str> = text.graphemes(true).collect();
        let is_whole = (0..=chars.len()).any(|end| chars[..end].concat().trim_end() == cut.trim_end());
        prop_assert!(is_whole, "{cut:?} of {text:?}");
        prop_assert!(measure.fits(&cut) || cut.graphemes(true).count() <= 1, "{cut:?} of {text:?}");
    }
}
