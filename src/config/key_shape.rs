//! Values that look like a key: they are not repeated, whichever setting they were written into by mistake.
//!
//! A key in the place of a file's name, a model or an address would otherwise
//! stand in an error, in `reindexd config` and in logs. What looks like one
//! is decided by its form alone; the value itself is used as it is.

/// How keys of the known providers begin.
const KEY_PREFIXES: [&str; 4] = ["AIza", "sk-", "hf_", "pa-"];
/// A prefix with fewer characters after it is a word.
const MIN_AFTER_PREFIX: usize = 8;
/// No name is one word of so many characters.
const MIN_WORD_CHARS: usize = 32;

/// The text with `***` in place of each part that looks like a key.
pub(super) fn without_keys(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut part = String::new();
    for char in text.chars() {
        if is_of_part(char) {
            part.push(char);
            continue;
        }
        shown.push_str(shown_part(&part));
        part.clear();
        shown.push(char);
    }
    shown.push_str(shown_part(&part));
    shown
}

/// Paths, addresses and lists are judged part by part.
fn is_of_part(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '-')
}

fn shown_part(part: &str) -> &str {
    let after_prefix = KEY_PREFIXES.iter().find_map(|prefix| part.strip_prefix(prefix));
    let has_key_prefix = after_prefix.is_some_and(|after| after.len() >= MIN_AFTER_PREFIX);
    let is_long_word = part.len() >= MIN_WORD_CHARS && !part.contains('-');
    if has_key_prefix || is_long_word { "***" } else { part }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_the_form_of_a_key_is_hidden() {
        for (text, shown) in [
            ("AIzaSyA-very_secret", "***"),
            ("\"sk-proj-1234abcd\" here", "\"***\" here"),
            ("keys/hf_abcdefghij", "keys/***"),
            ("http://host/pa-0123456789?x", "http://host/***?x"),
            ("0123456789abcdef0123456789abcdef", "***"),
            ("sk-", "sk-"),
            ("sk-learn", "sk-learn"),
            ("pa-rt", "pa-rt"),
            ("data/experts.db", "data/experts.db"),
            (
                "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-model",
                "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-model",
            ),
            ("text-embedding-3-large-with-a-long-name", "text-embedding-3-large-with-a-long-name"),
            ("", ""),
        ] {
            assert_eq!(without_keys(text), shown);
        }
    }
}
