//! A provider's message, made safe for a log.
//!
//! Whatever a peer sends may end up in an error message: the key it received,
//! a row's text, control characters that forge log lines, or a page of HTML.
//! The result is one short line without any of these. A text is found though
//! only its beginning is quoted, and however it is escaped: as JSON, once or
//! twice, in an address, with other white space or in other letter cases.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::text::one_line;

/// Enough for every explanation seen so far, and one line in a log.
const MAX_MESSAGE_CHARS: usize = 400;

/// As much of a message is read; the rest is not shown.
const MAX_READ_CHARS: usize = 4096;

/// Shorter runs are words that a provider may use by itself.
const RUN_CHARS: usize = 12;

/// A whole value of a column is not repeated from this length on.
const MIN_VALUE_CHARS: usize = 3;

/// A message that quotes JSON within JSON within an address is undone.
const MAX_ESCAPES: usize = 4;

/// A character of a message as it is compared, and the bytes that it was written with.
#[derive(Clone)]
struct Meant {
    char: char,
    bytes: Range<usize>,
}

/// One line of at most [`MAX_MESSAGE_CHARS`] characters, without the key and without anything of the texts;
/// empty if nothing else was said.
pub(super) fn redact(message: &str, key: Option<&SecretString>, texts: &[String]) -> String {
    let mut message = message.to_owned();
    let key = key.map(ExposeSecret::expose_secret).filter(|key| !key.is_empty());
    if let Some(key) = key {
        message = message.replace(key, "***");
    }
    let read = message.char_indices().nth(MAX_READ_CHARS).map_or(message.len(), |(at, _)| at);
    let mut is_quoted = vec![false; read];
    if read < message.len() {
        // What is cut off here may be the beginning of a text.
        is_quoted[read.saturating_sub(RUN_CHARS * 12)..].fill(true);
    }
    for level in readings(&message[..read]) {
        mark_quoted(&level, texts, &|_| true, &mut is_quoted);
    }
    let (line, says_something) = without_quoted(&message[..read], &is_quoted);
    if says_something { one_line(&line, MAX_MESSAGE_CHARS) } else { String::new() }
}

/// A line that was made safe for a log, without anything of texts of other requests: every run, and every
/// value of more than one word. Single words of them are left: a provider may well use one by itself.
pub(super) fn redact_recent(line: &str, texts: &[String]) -> String {
    let mut is_quoted = vec![false; line.len()];
    for level in readings(line) {
        mark_quoted(&level, texts, &|value| value.contains(&' '), &mut is_quoted);
    }
    without_quoted(line, &is_quoted).0
}

/// The message as it stands, and with its escapes undone once, twice and so on; each also as an address
/// that writes blanks as `+`.
fn readings(message: &str) -> Vec<Vec<Meant>> {
    let mut level: Vec<Meant> =
        message.char_indices().map(|(at, char)| Meant { char, bytes: at..at + char.len_utf8() }).collect();
    let mut readings = Vec::new();
    for _ in 0..=MAX_ESCAPES {
        readings.push(comparable(&level));
        if level.iter().any(|meant| meant.char == '+') {
            let blank = |meant: &Meant| Meant {
                char: if meant.char == '+' { ' ' } else { meant.char },
                ..meant.clone()
            };
            readings.push(comparable(&level.iter().map(blank).collect::<Vec<_>>()));
        }
        let undone = unescaped(&level);
        if undone.len() == level.len() {
            break;
        }
        level = undone;
    }
    readings
}

/// In lower case, every run of white space as one blank.
fn comparable(level: &[Meant]) -> Vec<Meant> {
    let mut joined: Vec<Meant> = Vec::with_capacity(level.len());
    for meant in level {
        let char = folded(meant.char);
        match joined.last_mut().filter(|last| last.char == ' ' && char == ' ') {
            Some(last) => last.bytes.end = meant.bytes.end,
            None => joined.push(Meant { char, bytes: meant.bytes.clone() }),
        }
    }
    joined
}

fn folded(char: char) -> char {
    if char.is_whitespace() { ' ' } else { char.to_lowercase().next().unwrap_or(char) }
}

/// Undoes one level of `\"`, `\n`, `\u0041` and `%41`; other characters stay.
fn unescaped(level: &[Meant]) -> Vec<Meant> {
    let mut out = Vec::with_capacity(level.len());
    let mut at = 0;
    while at < level.len() {
        let (chars, length) = match level[at].char {
            '\\' => backslash(&level[at..]),
            '%' => percent(&level[at..]),
            _ => None,
        }
        .unwrap_or_else(|| (level[at].char.to_string(), 1));
        let bytes = level[at].bytes.start..level[at + length - 1].bytes.end;
        out.extend(chars.chars().map(|char| Meant { char, bytes: bytes.clone() }));
        at += length;
    }
    out
}

/// What an escape with a backslash stands for, and how many characters it is long.
fn backslash(level: &[Meant]) -> Option<(String, usize)> {
    let char = match level.get(1)?.char {
        'n' | 'r' | 't' | 'b' | 'f' => ' ',
        'x' => return Some((char::from_u32(hex(level, 2, 2)?)?.to_string(), 4)),
        'u' => {
            let first = hex(level, 2, 4)?;
            let low =
                || (level.get(6)?.char == '\\' && level.get(7)?.char == 'u').then(|| hex(level, 8, 4))?;
            return match (first, low()) {
                (0xd800..=0xdbff, Some(second @ 0xdc00..=0xdfff)) => {
                    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    Some((char::from_u32(code)?.to_string(), 12))
                }
                _ => Some((char::from_u32(first)?.to_string(), 6)),
            };
        }
        char if char.is_ascii_punctuation() => char,
        _ => return None,
    };
    Some((char.to_string(), 2))
}

/// The characters that a run of `%` escapes stands for, and how many characters it is long.
fn percent(level: &[Meant]) -> Option<(String, usize)> {
    let mut bytes = Vec::new();
    while level.get(3 * bytes.len()).is_some_and(|meant| meant.char == '%') {
        let Some(byte) = hex(level, 3 * bytes.len() + 1, 2) else { break };
        bytes.push(u8::try_from(byte).ok()?);
    }
    let length = 3 * bytes.len();
    (length > 0).then(|| (String::from_utf8_lossy(&bytes).into_owned(), length))
}

fn hex(level: &[Meant], from: usize, digits: usize) -> Option<u32> {
    level
        .get(from..from + digits)?
        .iter()
        .try_fold(0, |code, meant| Some(16 * code + meant.char.to_digit(16)?))
}

/// Marks the bytes of every run, and of every whole value that counts, that stands in one of the texts.
fn mark_quoted(level: &[Meant], texts: &[String], counts: &dyn Fn(&[char]) -> bool, is_quoted: &mut [bool]) {
    let chars: Vec<char> = level.iter().map(|meant| meant.char).collect();
    let mut mark = |run: Range<usize>| {
        is_quoted[level[run.start].bytes.start..level[run.end - 1].bytes.end].fill(true);
    };
    let mut runs: HashMap<&[char], Vec<usize>> = HashMap::new();
    for (at, run) in chars.windows(RUN_CHARS).enumerate() {
        runs.entry(run).or_default().push(at);
    }
    let mut values: HashSet<Vec<char>> = HashSet::new();
    for text in texts {
        let text: Vec<char> =
            text.split_whitespace().collect::<Vec<_>>().join(" ").chars().map(folded).collect();
        for run in text.windows(RUN_CHARS) {
            for &at in runs.get(run).into_iter().flatten() {
                mark(at..at + RUN_CHARS);
            }
        }
        values.extend(short_values(&text).filter(|value| counts(value)));
    }
    for start in (0..chars.len()).filter(|&at| at == 0 || !chars[at - 1].is_alphanumeric()) {
        let ends = start + MIN_VALUE_CHARS..(start + RUN_CHARS).min(chars.len() + 1);
        for end in ends.filter(|&end| chars.get(end).is_none_or(|char| !char.is_alphanumeric())) {
            if values.contains(&chars[start..end]) {
                mark(start..end);
            }
        }
    }
}

/// The values of columns that a text may be made of, as far as they are shorter than a run: the text itself,
/// the parts between its separators, and the words of its first part, which is a name.
fn short_values(text: &[char]) -> impl Iterator<Item = Vec<char>> {
    let text: String = text.iter().collect();
    let mut values: HashSet<String> = HashSet::from([text.clone()]);
    for (nth, sentence) in text.split(['.', ';', '\n']).enumerate() {
        let parts = sentence.split([',', ':']).flat_map(|part| part.split(" at "));
        values.extend(parts.map(|part| part.trim().to_owned()));
        if nth == 0 {
            values.extend(
                sentence.split(" at ").next().into_iter().flat_map(str::split_whitespace).map(str::to_owned),
            );
        }
    }
    let lengths = MIN_VALUE_CHARS..RUN_CHARS;
    values
        .into_iter()
        .map(|value| value.chars().collect::<Vec<_>>())
        .filter(move |value| lengths.contains(&value.len()))
}

/// The message with `(text)` in place of what is quoted, and whether a word is left.
fn without_quoted(message: &str, is_quoted: &[bool]) -> (String, bool) {
    let (mut line, mut says_something, mut was_quoted) = (String::new(), false, false);
    for (at, char) in message.char_indices() {
        if is_quoted[at] {
            line.push_str(if was_quoted { "" } else { "(text)" });
        } else {
            line.push(char);
            says_something |= char.is_alphanumeric();
        }
        was_quoted = is_quoted[at];
    }
    (line, says_something)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "Ada Lovelace. Engineer at Mills. Suffers from \"hereditary\" porphyria,\n\
        in confidence \u{1f600}. Domains: tag, x.";

    fn redacted(message: &str) -> String {
        redact(message, None, &[TEXT.to_owned()])
    }

    #[test]
    fn a_message_is_one_short_visible_line() {
        let message = redact("a\u{1b}[31m\nb", None, &[]);
        assert_eq!(message, "a\\u{1b}[31m b");
        assert_eq!(redact(&"word ".repeat(1000), None, &[]).chars().count(), MAX_MESSAGE_CHARS + 1);
    }

    #[test]
    fn neither_the_key_nor_a_text_is_repeated() {
        let key = SecretString::from("AIza-secret");
        let texts = ["Ada Lovelace. Engineer at Engines.".to_owned(), "no".to_owned()];
        let message = "no key AIza-secret to embed Ada Lovelace. Engineer at Engines.";
        assert_eq!(redact(message, Some(&key), &texts), "no key *** to embed (text)");
        assert_eq!(redact("said", Some(&SecretString::from("")), &texts), "said");
    }

    #[test]
    fn a_quoted_part_is_cut_however_it_is_written() {
        let json = serde_json::to_string(TEXT).unwrap();
        let twice = serde_json::to_string(&json).unwrap();
        let ascii: Vec<String> = TEXT.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        let ascii = ascii.concat();
        let address: Vec<String> = TEXT.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let address = address.concat();
        let form = TEXT.replace(' ', "+").replace('\n', "%0A");
        let wide = TEXT.split_whitespace().collect::<Vec<_>>().join("  \t");
        for written in
            [TEXT, &json, &twice, &ascii, &address, &form, &wide, &TEXT.to_uppercase(), &TEXT[..60]]
        {
            let message = redacted(&format!("refused because of {written} here"));
            let found = message.to_lowercase();
            assert!(found.starts_with("refused because of"), "{message}");
            for word in ["ada", "lovelace", "porphyria", "hereditary", "confidence"] {
                assert!(!found.contains(word), "{written}: {message}");
            }
        }
    }

    #[test]
    fn whole_values_are_cut_and_what_a_provider_says_stays() {
        for (message, expected) in [
            ("no vector for Ada", "no vector for (text)"),
            ("adapted for Mills, inc", "adapted for (text), inc"),
            ("tag: tags", "(text): tags"),
            ("input from a confidant is too long", "input from a confidant is too long"),
            ("Lovelace. Engineer at Mills", ""),
            ("\"Ada\": \"Lovelace\"", ""),
        ] {
            assert_eq!(redacted(message), expected, "{message}");
        }
    }

    #[test]
    fn a_text_that_begins_where_reading_ends_is_not_shown() {
        for before in MAX_READ_CHARS - 20..MAX_READ_CHARS {
            // A long quotation before it leaves room in the line.
            let quoted = TEXT.repeat(before / TEXT.len() - 2);
            let filler = "y".repeat(before - quoted.chars().count());
            let message = redacted(&format!("{quoted}{filler}Ada Lovelace. Engineer"));
            assert!(!message.contains("Ada"), "{message}");
        }
    }

    proptest! {
        #[test]
        fn no_message_makes_it_fail(message in "([\\\\%u0-9a-fd+\" ]|.){0,60}", text in ".{0,40}") {
            redact(&message, None, &[text]);
        }

        #[test]
        fn no_run_of_a_text_survives(text in "[a-z \"\\\\]{12,60}", before in ".{0,20}", at in 0_usize..60) {
            let from = at % (text.len() - 11);
            let quoted = format!("{before}{}", &text[from..from + RUN_CHARS]);
            let message = redact(&quoted, None, std::slice::from_ref(&text));
            let run = text[from..from + RUN_CHARS].split_whitespace().collect::<Vec<_>>().join(" ");
            prop_assert!(run.len() < RUN_CHARS || !message.contains(&run), "{message}");
        }
    }
}
