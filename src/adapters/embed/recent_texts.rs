//! The texts that were sent last, for the words of a provider that quotes one in another answer.
//!
//! A server that mixes up two requests, or reports the last one that failed,
//! names a row that is not in the request. What it says of the request's own
//! texts is cut by `redact` already. At most [`MAX_BYTES`] are remembered, the
//! newest: as many as are on their way with usual settings, many times over.

use std::collections::VecDeque;

use super::redact::redact_recent;

/// Some thousand texts of usual length.
const MAX_BYTES: usize = 2 << 20;

#[derive(Debug, Default)]
pub(super) struct RecentTexts {
    texts: VecDeque<String>,
    bytes: usize,
}

impl RecentTexts {
    /// Remembers texts that are about to be sent; of one that is too long its beginning.
    pub(super) fn add(&mut self, texts: &[String]) {
        for text in texts {
            let end = (0..=MAX_BYTES.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
            let text = &text[..end.unwrap_or(0)];
            self.bytes += text.len();
            self.texts.push_back(text.to_owned());
            while self.bytes > MAX_BYTES
                && let Some(oldest) = self.texts.pop_front()
            {
                self.bytes -= oldest.len();
            }
        }
    }

    /// A message without anything of these texts.
    pub(super) fn redact(&mut self, message: &str) -> String {
        redact_recent(message, self.texts.make_contiguous())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_before_is_cut_and_memory_is_bounded() {
        let mut recent = RecentTexts::default();
        recent.add(&["Li Wei. Engineer at Mills. Suffers from porphyria, in confidence.".to_owned()]);
        for (message, expected) in [
            ("status 400: also in \"suffers from porphyria\"", "status 400: also in \"(text)\""),
            ("status 400: no vector for Li Wei", "status 400: no vector for (text)"),
            ("status 400: the engineer has gone", "status 400: the engineer has gone"),
        ] {
            assert_eq!(recent.redact(message), expected);
        }

        for _ in 0..5 {
            recent.add(&["x".repeat(MAX_BYTES / 2), "y".repeat(2 * MAX_BYTES)]);
            assert!(recent.bytes <= MAX_BYTES, "{}", recent.bytes);
        }
        assert_eq!(recent.redact("status 400: no vector for Li Wei"), "status 400: no vector for Li Wei");
    }
}
