//! Any JSON text as `json.loads` reads it and `json.dump` writes it again.
//!
//! Syntax is checked by `serde_json`. What it would lose is kept here: integers
//! of any size, the order of keys, and that the last of two equal keys counts
//! at the place of the first. What Python reads but no JSON can say, such as
//! `NaN`, is refused, and so is what UTF-8 cannot hold.

use serde::de::IgnoredAny;

use super::tags::not_json;
use super::{PyFloat, write_display, write_text};

/// `json.loads` raises for more: `sys.set_int_max_str_digits` of its defaults.
const MAX_INTEGER_DIGITS: usize = 4300;
/// Python's own limit of recursion is at a thousand calls, some of which belong to the caller.
const MAX_DEPTH: usize = 900;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    /// Its digits, with a minus sign: an integer may have thousands.
    Integer(String),
    /// Always finite.
    Real(f64),
    Text(String),
    List(Vec<Json>),
    /// Each key once, in the order in which the keys first stood.
    Object(Vec<(String, Json)>),
}

/// Reads a JSON text.
///
/// # Errors
///
/// A sentence about what is not JSON, or what no metadata can hold. It never repeats the text.
pub(crate) fn parse_json(text: &str) -> Result<Json, String> {
    if let Err(error) = serde_json::from_str::<IgnoredAny>(text) {
        return Err(format!("{}, expected JSON", not_json(text, &error)));
    }
    let mut parser = Parser { text, at: 0 };
    parser.value(0).map_err(|found| format!("{found}, which the metadata cannot hold"))
}

impl Json {
    /// Appends the value as `json.dump(…, ensure_ascii=False)` writes it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(digits) => out.extend_from_slice(digits.as_bytes()),
            Self::Real(x) => write_display(PyFloat(*x), out),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    out.extend_from_slice(if at == 0 { b"" } else { b", " });
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                for (at, (key, value)) in entries.iter().enumerate() {
                    out.extend_from_slice(if at == 0 { b"" } else { b", " });
                    write_text(key, out);
                    out.extend_from_slice(b": ");
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }
}

/// Walks a text that is known to be JSON.
struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Parser<'t> {
    /// `depth`: how many lists and objects it stands in.
    fn value(&mut self, depth: usize) -> Result<Json, String> {
        match self.peek() {
            b'[' | b'{' if depth == MAX_DEPTH => {
                Err(format!("JSON that is nested more than {MAX_DEPTH} deep"))
            }
            b'[' => self.list(depth),
            b'{' => self.object(depth),
            b'"' => self.string().map(Json::Text),
            b'n' => Ok(self.word("null", Json::Null)),
            b't' => Ok(self.word("true", Json::Bool(true))),
            b'f' => Ok(self.word("false", Json::Bool(false))),
            _ => self.number(),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> u8 {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.text.as_bytes()[self.at]
    }

    /// Whether the next byte is `byte`, which is then behind.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == byte;
        self.at += usize::from(is_next);
        is_next
    }

    fn word(&mut self, word: &str, value: Json) -> Json {
        self.at += word.len();
        value
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.takes(b']') {
            items.push(self.value(depth + 1)?);
            self.takes(b',');
        }
        Ok(Json::List(items))
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut entries: Vec<(String, Json)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        while !self.takes(b'}') {
            self.peek();
            let key = self.string()?;
            self.takes(b':');
            let value = self.value(depth + 1)?;
            if let Some(&at) = places.get(&key) {
                let entry: &mut (String, Json) = &mut entries[at];
                entry.1 = value;
            } else {
                places.insert(key.clone(), entries.len());
                entries.push((key, value));
            }
            self.takes(b',');
        }
        Ok(Json::Object(entries))
    }

    fn string(&mut self) -> Result<String, String> {
        let token = self.token(|bytes| {
            let mut end = 1;
            while bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            end + 1
        });
        serde_json::from_str(token).map_err(|error| not_json(token, &error))
    }

    fn number(&mut self) -> Result<Json, String> {
        let is_part = |byte: &u8| byte.is_ascii_digit() || b"+-.eE".contains(byte);
        let token = self.token(|bytes| bytes.iter().take_while(|byte| is_part(byte)).count());
        if token.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            let digits = token.trim_start_matches('-').len();
            return match digits {
                0..=MAX_INTEGER_DIGITS if token == "-0" => Ok(Json::Integer("0".to_owned())),
                0..=MAX_INTEGER_DIGITS => Ok(Json::Integer(token.to_owned())),
                _ => Err(format!("an integer of {digits} digits, more than {MAX_INTEGER_DIGITS}")),
            };
        }
        let x: f64 = token.parse().map_err(|_| "a number that cannot be read".to_owned())?;
        if x.is_finite() { Ok(Json::Real(x)) } else { Err("a number beyond the range of a float".to_owned()) }
    }

    /// The token that begins here and has as many bytes as `length` says.
    fn token(&mut self, length: impl FnOnce(&[u8]) -> usize) -> &'t str {
        let rest = &self.text[self.at..];
        let token = &rest[..length(rest.as_bytes())];
        self.at += token.len();
        token
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rewritten(text: &str) -> Result<String, String> {
        let mut out = Vec::new();
        parse_json(text)?.write(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn json_is_written_as_python_writes_what_it_read() {
        let cases = [
            ("null", "null"),
            (" true\n", "true"),
            ("[ ]", "[]"),
            ("{ }", "{}"),
            (r#"{"b":1,"a":[1,2.0,"x"]}"#, r#"{"b": 1, "a": [1, 2.0, "x"]}"#),
            // The last of equal keys counts, at the place of the first.
            (r#"{"a": 1, "b": 2, "a": {"c": 3}}"#, r#"{"a": {"c": 3}, "b": 2}"#),
            (r#"{"\u0061": 1, "a": 2}"#, r#"{"a": 2}"#),
            ("-0", "0"),
            ("-0.0", "-0.0"),
            ("1E5", "100000.0"),
            ("1e16", "1e+16"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            (r#""\u00e9\ud83d\ude00\/\u007f""#, "\"é😀/\u{7f}\""),
            (r#""a\u0000b""#, r#""a\u0000b""#),
        ];
        for (text, expected) in cases {
            assert_eq!(rewritten(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_metadata_cannot_hold_is_refused_by_name() {
        let deep = "[".repeat(901) + &"]".repeat(901);
        let cases = [
            ("", "no valid JSON"),
            ("NaN", "a number (NaN), expected JSON"),
            ("[NaN]", "no valid JSON"),
            ("\u{feff}1", "a byte order mark"),
            ("01", "no valid JSON"),
            ("[1] 2", "no valid JSON"),
            ("1e400", "a number beyond the range of a float"),
            (r#"["\ud800"]"#, r"the lone surrogate \ud800"),
            (r#"{"\udc00": 1}"#, r"the lone surrogate \udc00"),
            (&"9".repeat(4301), "an integer of 4301 digits"),
            (&deep, "JSON that is nested more than 900 deep"),
        ];
        for (text, expected) in cases {
            let found = rewritten(text).unwrap_err();
            assert!(found.starts_with(expected), "{found}");
        }
        assert!(rewritten(&"9".repeat(4300)).is_ok());
        assert!(rewritten(&("[".repeat(900) + &"]".repeat(900))).is_ok());
        assert!(rewritten(&(r#"{"a":"#.repeat(900) + "1" + &"}".repeat(900))).is_ok());
        assert!(rewritten(&"[".repeat(300_000)).is_err());
    }

    proptest! {
        #[test]
        fn what_was_written_reads_back_as_the_same(text in r#"[\[\]{}",:\\ude0-9.+\-nultrfas 😀]{0,60}"#) {
            if let Ok(json) = parse_json(&text) {
                let mut out = Vec::new();
                json.write(&mut out);
                let written = String::from_utf8(out).unwrap();
                prop_assert_eq!(parse_json(&written), Ok(json));
            }
        }
    }
}
