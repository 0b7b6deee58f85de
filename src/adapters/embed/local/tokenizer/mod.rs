//! Text to token ids, as the model's own tokenizer cut it in training.
//!
//! Clean, space out Chinese, decompose, drop accents, lower case; split at
//! white space and around punctuation; then cut each word greedily into the
//! longest pieces that the vocabulary has. It is one stream over the characters
//! that ends with the last token that counts: however long a text is, only a
//! word and a run of accents are in memory.
//!
//! The order of the steps is the `BertNormalizer`'s and must stay: for other
//! pieces than in training the model gives worse vectors, not errors.

use std::collections::HashMap;

use serde::Deserialize;
use unicode_normalization::UnicodeNormalization;

use super::error::LocalError;
use super::shape::{MAX_TOKENS, VOCABULARY};
use super::unicode;

const UNKNOWN: u32 = 100;
const START: u32 = 101;
const END: u32 = 102;

/// Spellings that are one token wherever they occur in a text; they are found before anything else is done.
const SPECIAL: [(&str, u32); 5] =
    [("[PAD]", 0), ("[UNK]", UNKNOWN), ("[CLS]", START), ("[SEP]", END), ("[MASK]", 103)];

/// A longer word is unknown and not looked up.
const MAX_WORD_CHARS: usize = 100;

/// The vocabulary: pieces that a word may begin with, and pieces that may follow.
pub(super) struct Tokenizer {
    first: HashMap<Box<str>, u32>,
    following: HashMap<Box<str>, u32>,
    /// Bytes of the longest piece, the bound of every lookup.
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
            if id >= VOCABULARY {
                return Err(LocalError::Vocabulary { expected: VOCABULARY, found: id });
            }
            tokenizer.max_token_bytes = tokenizer.max_token_bytes.max(piece.len());
            match piece.strip_prefix(&model.continuing_subword_prefix) {
                Some(inner) => tokenizer.following.insert(inner.into(), id),
                None => tokenizer.first.insert(piece.into(), id),
            };
        }
        Ok(tokenizer)
    }

    /// Appends the tokens of one text: a start, as much of the text as fits, an end.
    pub(super) fn encode(&self, text: &str, tokens: &mut Vec<u32>) {
        self.encode_up_to(text, MAX_TOKENS, tokens);
    }

    /// The tokens of the whole text, a start and an end included.
    pub(super) fn count(&self, text: &str) -> u64 {
        let mut tokens = Vec::new();
        self.encode_up_to(text, text.len() * 4 + 2, &mut tokens);
        tokens.len() as u64
    }

    fn encode_up_to(&self, text: &str, most: usize, tokens: &mut Vec<u32>) {
        let full = tokens.len() + most - 1;
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

/// The text before the first special spelling, its token, and the text after it.
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

/// The characters of a text as the vocabulary spells them; white space is unchanged.
fn normalised(text: &str) -> impl Iterator<Item = char> {
    text.chars()
        .filter(|&character| !unicode::is_noise(character))
        .flat_map(|character| {
            // Spaces make a Chinese character a word by itself.
            let space = unicode::is_chinese(character).then_some(' ');
            space.into_iter().chain([character]).chain(space)
        })
        .nfd()
        .filter(|&character| !unicode::is_accent(character))
        .flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests;
