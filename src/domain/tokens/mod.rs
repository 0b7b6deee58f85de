//! How many tokens a text has, and what is done with one that a model does not read whole.
//!
//! A model reads so many tokens of a text and drops the rest, or refuses it.
//! Only the built-in model's tokens can be counted; for others there are two
//! estimates, the likely number and one that no known tokenizer stays below.
//! A text is refused only by the lowest, and cut by the likely one, at a word
//! where there is one and never within a character as a person sees it.
//!
//! How many tokens a model reads is `config`'s knowledge, how the built-in one
//! counts them `embed`'s.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use unicode_segmentation::UnicodeSegmentation;

/// Long texts that are named, the longest first.
const MAX_NAMED: usize = 5;

/// Letters of the longest words that are one token.
const LONGEST_TOKEN_CHARS: u64 = 16;
/// Characters of writing without spaces that are one token at most.
const LONGEST_WIDE_CHARS: u64 = 4;
/// Bytes to a token in most texts.
const USUAL_TOKEN_BYTES: u64 = 4;
/// A cut gives up so much of a text to end at a word.
const MAX_WORD_BYTES: usize = 64;

/// What is done with a text that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// It is sent as it is, and named.
    Warn,
    /// Its row cannot be indexed.
    Refuse,
    /// Its beginning is embedded.
    Cut,
}

/// What a model reads of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimit {
    pub max_tokens: u64,
    pub too_long: TooLong,
}

/// Counts the tokens of a text as the model does.
pub type ExactCount = Arc<dyn Fn(&str) -> u64 + Send + Sync>;

/// Measures document texts against a [`TokenLimit`].
#[derive(Clone)]
pub struct TextMeasure {
    limit: TokenLimit,
    /// What every text begins with when it is sent.
    prefix: String,
    exact: Option<ExactCount>,
}

/// What a text came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measured {
    Fits,
    /// It has so many tokens, and is embedded all the same, cut where that is asked for.
    Long(u64),
    /// It has at least so many tokens, and is refused.
    Refused(u64),
}

/// Texts that a model does not read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongTexts {
    pub rows: u64,
    /// What the model reads of each, in tokens; 0 where that is not known.
    pub max_tokens: u64,
    /// The longest of them.
    pub longest: Vec<LongText>,
}

/// A row with a text that is too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LongText {
    pub id: String,
    pub tokens: u64,
}

impl TooLong {
    /// As the settings write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Refuse => "refuse",
            Self::Cut => "cut",
        }
    }
}

impl TextMeasure {
    #[must_use]
    pub fn new(limit: TokenLimit, prefix: &str, exact: Option<ExactCount>) -> Self {
        Self { limit, prefix: prefix.to_owned(), exact }
    }

    #[must_use]
    pub fn max_tokens(&self) -> u64 {
        self.limit.max_tokens
    }

    /// Measures a text, and cuts it where that is asked for and needed.
    pub fn apply(&self, text: &mut String) -> Measured {
        let max = self.limit.max_tokens;
        let bytes = (self.prefix.len() + text.len()) as u64;
        // No text has more tokens than bytes, but for a start and an end; by the estimate, each takes two.
        let surely_fits = if self.exact.is_some() { bytes + 2 <= max } else { bytes <= max * 2 };
        if surely_fits {
            return Measured::Fits;
        }
        let (lowest, likely) = self.count(text);
        if likely <= max {
            return Measured::Fits;
        }
        match self.limit.too_long {
            TooLong::Refuse if lowest > max => Measured::Refused(lowest),
            TooLong::Warn | TooLong::Refuse => Measured::Long(likely),
            TooLong::Cut => {
                let end = self.end_of_cut(text);
                text.truncate(end);
                text.truncate(text.trim_end().len());
                Measured::Long(likely)
            }
        }
    }

    /// The least tokens that the text can have with its prefix, and the likely number.
    fn count(&self, text: &str) -> (u64, u64) {
        match &self.exact {
            Some(exact) if self.prefix.is_empty() => {
                let tokens = exact(text);
                (tokens, tokens)
            }
            Some(exact) => {
                let tokens = exact(&format!("{}{text}", self.prefix));
                (tokens, tokens)
            }
            None => {
                let (prefix, text) = (estimate(&self.prefix), estimate(text));
                (prefix.0 + text.0, prefix.1 + text.1)
            }
        }
    }

    fn fits(&self, text: &str) -> bool {
        self.count(text).1 <= self.limit.max_tokens
    }

    /// Where the longest beginning ends that is read whole: after a word, or where a word is very long,
    /// after a character. At least one character stays.
    fn end_of_cut(&self, text: &str) -> usize {
        let chars: Vec<usize> = text.grapheme_indices(true).map(|(at, char)| at + char.len()).collect();
        let by_char = self.last_fitting(text, &chars);
        let bounds: Vec<usize> = text
            .split_word_bound_indices()
            .map(|(at, word)| at + word.len())
            .filter(|end| *end <= by_char)
            .collect();
        let by_word = self.last_fitting(text, &bounds);
        let is_near = self.exact.is_some() || by_char - by_word <= MAX_WORD_BYTES;
        let end = if is_near && self.fits(&text[..by_word]) && !text[..by_word].trim().is_empty() {
            by_word
        } else {
            by_char
        };
        // Every word bound of Unicode is a bound of a character, but for rare sequences.
        chars.iter().rev().find(|bound| **bound <= end).copied().unwrap_or(by_char)
    }

    /// The last of these ends at which the text fits, or the first one.
    fn last_fitting(&self, text: &str, ends: &[usize]) -> usize {
        let mut fitting = ends.partition_point(|end| self.fits(&text[..*end]));
        // A model's own tokens may be fewer for a longer beginning, where it completes a word.
        while fitting > 1 && !self.fits(&text[..ends[fitting - 1]]) {
            fitting -= 1;
        }
        ends.get(fitting.saturating_sub(1)).copied().unwrap_or(0)
    }
}

impl LongTexts {
    #[must_use]
    pub fn new(measure: Option<&TextMeasure>) -> Self {
        Self { max_tokens: measure.map_or(0, TextMeasure::max_tokens), ..Self::default() }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Adds a row; of equal lengths the first ones are named.
    pub fn add(&mut self, id: impl FnOnce() -> String, tokens: u64) {
        self.rows += 1;
        let place = self.longest.partition_point(|known| known.tokens >= tokens);
        if place < MAX_NAMED {
            self.longest.insert(place, LongText { id: id(), tokens });
            self.longest.truncate(MAX_NAMED);
        }
    }

    /// For people: how many, and which are the longest.
    #[must_use]
    pub fn note(&self) -> Option<String> {
        let named: Vec<_> =
            self.longest.iter().map(|one| format!("id={} ({} tokens)", one.id, one.tokens)).collect();
        (!self.is_empty()).then(|| {
            format!(
                "{} rows have texts longer than the {} tokens that the model reads; the longest: {}",
                self.rows,
                self.max_tokens,
                named.join(", ")
            )
        })
    }
}

/// The tokens of a text: fewer than the first number no known tokenizer makes of it, the second is likely.
#[must_use]
pub fn estimate(text: &str) -> (u64, u64) {
    let (mut tokens, mut letters, mut wide) = (0, 0_u64, 0_u64);
    for char in text.chars() {
        if is_wide(char) {
            wide += 1;
        } else if char.is_alphanumeric() {
            letters += 1;
            continue;
        }
        tokens += letters.div_ceil(LONGEST_TOKEN_CHARS);
        letters = 0;
    }
    let lowest = tokens + letters.div_ceil(LONGEST_TOKEN_CHARS) + wide / LONGEST_WIDE_CHARS;
    (lowest, lowest.max((text.len() as u64).div_ceil(USUAL_TOKEN_BYTES)))
}

/// Chinese, Japanese and Korean writing, where words are not separated by spaces.
fn is_wide(char: char) -> bool {
    matches!(char, '\u{2e80}'..='\u{a4cf}'
            | '\u{ac00}'..='\u{d7af}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests;
