//! Text that somebody else wrote, made fit for a terminal or a log.
//!
//! A row, a provider or an operator's command may put anything into a text:
//! line breaks that forge a line of their own, sequences that colour or clear
//! a screen, marks that turn its reading order. What comes out is one line on
//! which none of these acts.

/// One line of at most `most` characters, and `…` where it was longer; runs of white space become one space.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.extend(word.chars().take(most + 1).flat_map(visible));
        if line.chars().count() > most {
            return line.chars().take(most).chain(['…']).collect();
        }
    }
    line
}

/// Letters, digits and signs of any script as they are; everything that acts on a terminal escaped.
fn visible(char: char) -> impl Iterator<Item = char> {
    let acts = char.is_control()
        || matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let escaped = acts.then(|| char.escape_unicode());
    let plain = (!acts).then_some(char);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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

    proptest! {
        #[test]
        fn nothing_that_acts_on_a_terminal_survives(text in any::<String>(), most in 0_usize..60) {
            let acting = "\u{1b}[2J\u{9b}\r\n\u{202e}\u{2066}\u{feff}\u{200b}";
            let line = one_line(&format!("{text}{acting}{text}"), most);
            prop_assert!(line.chars().all(|char| !char.is_control()), "{line:?}");
            prop_assert!(!line.contains(['\u{202e}', '\u{2066}', '\u{feff}', '\u{200b}', '\u{2028}']), "{line:?}");
            prop_assert!(line.chars().count() <= most + 1);
        }
    }
}
