//! Text to token ids, as the model's own tokenizer cut it in training.
//!
//! Clean, space out Chinese, decompose, drop accents, lower case; split at
//! white space and around punctuation; then cut each word greedily into the
//! longest pieces that the vocabulary knows. Everything runs as one stream over
//! the characters and ends with the last token that counts: however long a text
//! is, only a word and a run of accents are ever held.
//!
//! The order of the steps is the `BertNormalizer`'s and must stay: a model that
//! is shown other pieces than it was trained on gives worse vectors, not errors.

use std::collections::HashMap;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::{LocalError, MAX_TOKENS, forward, unicode};

const UNKNOWN: u32 = 100;
const START: u32 = 101;
const END: u32 = 102;

/// Spellings that stand for a token of their own wherever they occur in a text, before anything else is done.
const SPECIAL: [(&str, u32); 5] =
    [("[PAD]", 0), ("[UNK]", UNKNOWN), ("[CLS]", START), ("[SEP]", END), ("[MASK]", 103)];

/// Characters above which a word is not looked up, but unknown.
const MAX_WORD_CHARS: usize = 100;

/// The vocabulary: what a word may begin with, and what may follow.
pub(super) struct Tokenizer {
    first: HashMap<Box<str>, u32>,
    following: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece: no lookup need be longer.
    max_token_bytes: usize,
}

#[derive(Deserialize)]
struct TokenizerFile {
    model: ModelPart,
}

#[derive(Deserialize)]
struct ModelPart {
    continuing_subword_prefix: String,
    vocab: HashMap<String, u32>,
}

impl Tokenizer {
    pub(super) fn load(json: &[u8]) -> Result<Self, LocalError> {
        let TokenizerFile { model } = serde_json::from_slice(json)?;
        let mut tokenizer = Self { first: HashMap::new(), following: HashMap::new(), max_token_bytes: 0 };
        for (piece, id) in model.vocab {
            if id >= forward::VOCABULARY {
                return Err(LocalError::Vocabulary { expected: forward::VOCABULARY, found: id });
            }
            tokenizer.max_token_bytes = tokenizer.max_token_bytes.max(piece.len());
            match piece.strip_prefix(&model.continuing_subword_prefix) {
                Some(inner) => tokenizer.following.insert(inner.into(), id),
                None => tokenizer.first.insert(piece.into(), id),
            };
        }
        Ok(tokenizer)
    }

    /// Appends the tokens of one text: a start, what fits of the text, an end.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        let full = tokens.len() + MAX_TOKENS - 1;
        tokens.push(START);
        let mut rest = text;
        while !rest.is_empty() && tokens.len() < full {
            let (plain, special, after) = split_at_special(rest);
            self.encode_plain(plain, full, tokens);
            tokens.extend(special);
            rest = after;
        }
        tokens.truncate(full);
        tokens.push(END);
    }

    /// Appends the tokens of text without special spellings, until there are at least `full`.
    fn encode_plain(&self, text: &str, full: usize, tokens: &mut Vec<u32>) {
        let mut word = Word::default();
        for character in normalised(text) {
            if character.is_whitespace() {
                self.close(&mut word, tokens);
            } else if unicode::is_punctuation(character) {
                self.close(&mut word, tokens);
                word.push(character);
                self.close(&mut word, tokens);
            } else {
                word.push(character);
            }
            if tokens.len() >= full {
                return;
            }
        }
        self.close(&mut word, tokens);
    }

    /// Appends the pieces of a word, or one unknown token if any part of it has no piece.
    fn close(&self, word: &mut Word, tokens: &mut Vec<u32>) {
        let before = tokens.len();
        if !self.cut(word, tokens) {
            tokens.truncate(before);
            tokens.push(UNKNOWN);
        }
        word.text.clear();
        word.characters = 0;
    }

    /// Appends the longest piece the word begins with, then the longest that may
    /// follow, and so on; false if that does not reach the word's end.
    fn cut(&self, word: &Word, tokens: &mut Vec<u32>) -> bool {
        if word.characters > MAX_WORD_CHARS {
            return false;
        }
        let mut pieces = &self.first;
        let mut rest = word.text.as_str();
        while !rest.is_empty() {
            let mut ends =
                (1..=rest.len().min(self.max_token_bytes)).rev().filter(|&end| rest.is_char_boundary(end));
            let Some((end, &id)) = ends.find_map(|end| Some((end, pieces.get(&rest[..end])?))) else {
                return false;
            };
            tokens.push(id);
            rest = &rest[end..];
            pieces = &self.following;
        }
        true
    }
}

/// A word as it grows. Past [`MAX_WORD_CHARS`] characters it is unknown anyway, and only counted.
#[derive(Default)]
struct Word {
    text: String,
    characters: usize,
}

impl Word {
    fn push(&mut self, character: char) {
        self.characters += 1;
        if self.characters <= MAX_WORD_CHARS {
            self.text.push(character);
        }
    }
}

/// What stands before the first special spelling, its token, and what comes after.
fn split_at_special(text: &str) -> (&str, Option<u32>, &str) {
    for (at, _) in text.match_indices('[') {
        for (spelling, id) in SPECIAL {
            if let Some(after) = text[at..].strip_prefix(spelling) {
                return (&text[..at], Some(id), after);
            }
        }
    }
    (text, None, "")
}

/// The characters of a text as the vocabulary spells them; white space stays what it is.
fn normalised(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|&character| !unicode::is_noise(character))
        .flat_map(|character| {
            // A Chinese character is a word of its own: the spaces around it make it one.
            let space = unicode::is_chinese(character).then_some(' ');
            space.into_iter().chain([character]).chain(space)
        })
        .nfd()
        .filter(|&character| !unicode::is_accent(character))
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(text: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        Tokenizer::load(super::super::TOKENIZER).unwrap().encode(text, &mut tokens);
        assert_eq!((tokens.remove(0), tokens.pop()), (START, Some(END)), "{text:?}");
        tokens
    }

    #[test]
    fn the_tokens_are_those_that_the_original_tokenizer_gives() {
        let cases: [(&str, &[u32]); 16] = [
            ("", &[]),
            ("unaffable", &[14477, 20961, 3468]),
            ("Café au lait", &[7668, 8740, 21110, 2102]),
            ("e\u{301}té", &[3802, 2063]),
            ("don't C++", &[2123, 1005, 1056, 1039, 1009, 1009]),
            ("$5—10", &[1002, 1019, 1517, 2184]),
            ("tab\tand\u{3000}wide", &[21628, 1998, 2898]),
            ("a\u{200b}b\u{85}c\u{fffd}d\0e", &[5925, 3207]),
            ("İstanbul ΟΔΟΣ ß", &[9960, 1169, 29722, 29730, 29733, 1096]),
            ("数据base", &[100, 100, 2918]),
            ("\u{2b820}一", &[100, 1740]),
            ("한국어", &[1469, 30006, 30021, 29991, 30014, 30020, 29999, 30008]),
            ("ﬁ ½ Å", &[1984, 1092, 1037]),
            ("👩\u{200d}💻 dev", &[100, 16475]),
            ("[MASK] me[SEP]", &[103, 2033, 102]),
            ("[mask] ##ing", &[1031, 7308, 1033, 1001, 1001, 13749]),
        ];
        for (text, expected) in cases {
            assert_eq!(encode(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_word_of_a_hundred_characters_is_cut_and_a_longer_one_is_unknown() {
        assert_eq!(encode(&"x".repeat(MAX_WORD_CHARS)).len(), 50);
        assert_eq!(encode(&"x".repeat(MAX_WORD_CHARS + 1)), [UNKNOWN]);
        assert_eq!(encode(&format!("{} me", "e\u{301}".repeat(100_000))), [UNKNOWN, 2033]);
    }

    #[test]
    fn a_long_text_is_cut_on_the_right_within_the_limit() {
        let words = |count| encode(&"me ".repeat(count));

        assert_eq!(words(MAX_TOKENS - 2).len(), MAX_TOKENS - 2);
        assert_eq!(words(MAX_TOKENS), words(MAX_TOKENS - 2));
        assert_eq!(encode(&"[SEP]".repeat(1_000)).len(), MAX_TOKENS - 2);
        assert_eq!(encode(&"unaffable".repeat(11)).len(), 33);
    }

    #[test]
    fn a_vocabulary_with_tokens_that_have_no_weights_is_refused() {
        let json = r###"{"model": {"continuing_subword_prefix": "##", "vocab": {"a": 1, "##b": 30522}}}"###;

        let refused = Tokenizer::load(json.as_bytes()).err().unwrap();

        assert_eq!(refused.to_string(), "embedded vocabulary: expected token ids below 30522, found 30522");
        assert!(Tokenizer::load(b"{}").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn any_text_gives_tokens_that_the_model_has_within_its_limit(text in r"\PC{0,200}|(.|\n|[CLS]|\u{300}|\u{4e00}){0,600}") {
            static TOKENIZER: std::sync::LazyLock<Tokenizer> =
                std::sync::LazyLock::new(|| Tokenizer::load(super::super::TOKENIZER).unwrap());
            let mut tokens = Vec::new();
            TOKENIZER.encode(&text, &mut tokens);
            prop_assert!((2..=MAX_TOKENS).contains(&tokens.len()));
            prop_assert_eq!((tokens[0], tokens[tokens.len() - 1]), (START, END));
            prop_assert!(tokens.iter().all(|token| *token < forward::VOCABULARY));
        }
    }
}
