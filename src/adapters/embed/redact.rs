//! A provider's message, made safe for a log.
//!
//! Whatever a peer sends may end up in an error message: the key it received,
//! a row's text, control characters that forge log lines, or a page of HTML.
//! The result is one short line without any of these.

use secrecy::{ExposeSecret, SecretString};

use crate::domain::text::one_line;

/// Enough for every explanation seen so far, and one line in a log.
const MAX_MESSAGE_CHARS: usize = 400;

/// Shorter texts are words that a provider may use by itself.
const MIN_REDACTED_BYTES: usize = 12;

/// One line of at most [`MAX_MESSAGE_CHARS`] characters, without the key and without any of the texts.
pub(super) fn redact(message: &str, key: Option<&SecretString>, texts: &[String]) -> String {
    let mut message = message.to_owned();
    let key = key.map(ExposeSecret::expose_secret).filter(|key| !key.is_empty());
    if let Some(key) = key {
        message = message.replace(key, "***");
    }
    for text in texts.iter().filter(|text| text.len() >= MIN_REDACTED_BYTES) {
        if message.contains(text.as_str()) {
            message = message.replace(text.as_str(), "(text)");
        }
    }
    one_line(&message, MAX_MESSAGE_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_short_visible_line() {
        let message = redact("a\u{1b}[31m\nb", None, &[]);
        assert_eq!(message, "a\\u{1b}[31m b");
        assert_eq!(redact(&"word ".repeat(1000), None, &[]).chars().count(), MAX_MESSAGE_CHARS + 1);
    }

    #[test]
    fn neither_the_key_nor_a_text_is_repeated() {
        let key = SecretString::from("AIza-secret");
        let texts = ["Ada Lovelace. Engineer at Engines.".to_owned(), "key".to_owned()];
        let message = "key AIza-secret cannot embed Ada Lovelace. Engineer at Engines.";
        assert_eq!(redact(message, Some(&key), &texts), "key *** cannot embed (text)");
        assert_eq!(redact("said", Some(&SecretString::from("")), &texts), "said");
    }
}
