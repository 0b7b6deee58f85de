//! The lists of numbers in an answer, which are nearly all of it.
//!
//! A parser that goes over an answer for its shape and over each list again
//! for its numbers takes twice the time. So [`extract`] goes over it once:
//! lists of plain numbers are read as they are met, and in the JSON that is
//! left for the parser each is the list of its own number. Floats are read
//! strictly; whatever is no plain decimal is left to serde's own reader.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// An answer whose lists of plain numbers were set aside.
pub(super) struct FloatLists {
    /// The rest of it, with `[n]` where the n-th list was.
    pub json: Vec<u8>,
    lists: Vec<Vec<f32>>,
}

/// A list of numbers as it stands in the JSON that is left; nothing where none was sent.
#[derive(Default)]
pub(super) struct Numbers<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Numbers<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(from).map(|raw| Self(Some(raw)))
    }
}

impl<'a> Numbers<'a> {
    /// The JSON itself.
    pub(super) fn raw(&self) -> Option<&'a RawValue> {
        self.0
    }
}

/// Reads every list of plain numbers in `body`, which may be any bytes.
pub(super) fn extract(body: &[u8]) -> FloatLists {
    let (mut json, mut lists) = (Vec::new(), Vec::new());
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'[')) {
        json.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if rest[0] == b'"' {
            let (string, after) = rest.split_at(string_length(rest));
            json.extend_from_slice(string);
            rest = after;
        } else if let Some((floats, after)) = plain_floats(rest) {
            json.extend_from_slice(format!("[{}]", lists.len()).as_bytes());
            lists.push(floats);
            rest = after;
        } else {
            json.push(b'[');
            rest = &rest[1..];
        }
    }
    json.extend_from_slice(rest);
    FloatLists { json, lists }
}

impl FloatLists {
    /// The floats of a list; no list where none was sent has none.
    ///
    /// A list of one whole number is always set aside, so that what looks like
    /// the place of another list is one.
    pub(super) fn floats(&mut self, numbers: &Numbers<'_>) -> serde_json::Result<Vec<f32>> {
        let Some(raw) = numbers.0 else { return Ok(Vec::new()) };
        let place = raw.get().strip_prefix('[').and_then(|list| list.strip_suffix(']')?.parse().ok());
        if let Some(list) = place.and_then(|place: usize| self.lists.get_mut(place)) {
            return Ok(std::mem::take(list));
        }
        let floats: Vec<Float> = serde_json::from_str(raw.get())?;
        Ok(floats.into_iter().map(|Float(x)| x).collect())
    }
}

/// The bytes of a string from its first quote to its last, or to the end of them all.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(next) = text[at..].iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        at += next + 1;
        if text[at - 1] == b'"' {
            return at;
        }
        at = (at + 1).min(text.len());
    }
    text.len()
}

/// A list of decimals of few digits, one comma between two, and what follows it.
fn plain_floats(text: &[u8]) -> Option<(Vec<f32>, &[u8])> {
    // Of these lists nearly all have the length of the one before; a first guess is three quarters of 1,024.
    let mut floats = Vec::with_capacity(768);
    let mut rest = text.strip_prefix(b"[")?;
    loop {
        let (float, after) = plain_float(without_space(rest))?;
        floats.push(float);
        match without_space(after) {
            [b',', more @ ..] => rest = more,
            [b']', more @ ..] => return Some((floats, more)),
            _ => return None,
        }
    }
}

/// What JSON takes for space between two values.
fn without_space(text: &[u8]) -> &[u8] {
    match text {
        [b' ' | b'\n' | b'\r' | b'\t', ..] => {
            let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
            &text[space..]
        }
        _ => text,
    }
}

/// A decimal fraction of at most fifteen digits, and what follows it.
///
/// Both its digits as a whole number and the power of ten that divides it are
/// doubles without rounding, so that the quotient is the double nearest to the
/// decimal: the one that any right parser gives.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "vectors are f32")]
fn plain_float(text: &[u8]) -> Option<(f32, &[u8])> {
    const MAX_DIGITS: usize = 15;
    const TENS: [f64; MAX_DIGITS + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    // Half of all numbers are negative, and no processor guesses which: no branch is taken for it.
    let negative = text.first() == Some(&b'-');
    let text = &text[usize::from(negative)..];
    // Nearly always one digit stands before the point.
    let (number, whole) = digits(text, 0, 0, MAX_DIGITS);
    let (number, decimals, rest) = match &text[whole..] {
        [b'.', fraction @ ..] => {
            let (number, decimals) = match fraction.first_chunk().copied().and_then(eight_digits) {
                Some(eight) if whole <= MAX_DIGITS - 8 => {
                    digits(fraction, number * 100_000_000 + eight, 8, MAX_DIGITS - whole)
                }
                _ => digits(fraction, number, 0, MAX_DIGITS - whole),
            };
            (number, decimals, (decimals > 0).then(|| &fraction[decimals..])?)
        }
        rest => (number, 0, rest),
    };
    // What JSON does not take for a number, and what has more to it, is left to its own parser.
    let odd = whole == 0 || (whole > 1 && text[0] == b'0');
    if odd || matches!(rest, [b'e' | b'E' | b'0'..=b'9', ..]) {
        return None;
    }
    let x = (number as f64 / TENS[decimals]) as f32;
    Some((f32::from_bits(x.to_bits() | u32::from(negative) << 31), rest))
}

/// Reads on where `count` digits of `text` have made `number`: up to the last digit, or to the `most`-th.
#[inline]
fn digits(text: &[u8], mut number: u64, mut count: usize, most: usize) -> (u64, usize) {
    for byte in text.iter().take(most).skip(count) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // Fifteen digits at most.
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    (number, count)
}

/// Eight digits at once: pairs of neighbours are joined three times, all of them in one multiplication each.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let text = u64::from_le_bytes(text);
    // A digit's high half is 3, and stays so when six is added.
    let high_halves = (text & HIGH_HALVES) | ((text.wrapping_add(0x0606_0606_0606_0606) & HIGH_HALVES) >> 4);
    if high_halves != 0x3333_3333_3333_3333 {
        return None;
    }
    let ones = text - ZEROS;
    let twos = (ones.wrapping_mul(10).wrapping_add(ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100).wrapping_add(twos >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff)
}

/// A number, or text that is one.
struct Float(f32);

impl<'de> Deserialize<'de> for Float {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "vectors are f32")]
        impl de::Visitor<'_> for Visitor {
            type Value = Float;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E>(self, x: f64) -> Result<Float, E> {
                Ok(Float(x as f32))
            }

            fn visit_i64<E>(self, x: i64) -> Result<Float, E> {
                Ok(Float(x as f32))
            }

            fn visit_u64<E>(self, x: u64) -> Result<Float, E> {
                Ok(Float(x as f32))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Float, E> {
                let number = text.trim().parse::<f64>();
                number.map(|x| Float(x as f32)).map_err(|_| E::custom("expected a number, found other text"))
            }
        }

        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// The floats of one list.
    fn floats(list: &str) -> serde_json::Result<Vec<f32>> {
        let mut answer = extract(list.as_bytes());
        let json = String::from_utf8(answer.json.clone()).unwrap();
        answer.floats(&serde_json::from_str(&json)?)
    }

    #[test]
    fn floats_are_those_that_any_right_parser_gives() {
        let mut lot = fastrand::Rng::with_seed(1);
        let drawn = (0..20_000).map(|_| {
            let (places, x) = (lot.usize(..18), (lot.f64() - 0.5) * 10_f64.powi(lot.i32(-4..10)));
            format!("{x:.places$}")
        });
        let odd = [
            "0",
            "-0",
            "-0.0",
            "1",
            "1e3",
            "-2.5E-3",
            "0.1",
            "12345678",
            "0.12345678",
            "123456789012345",
            "1234567890123456",
            "0.12345678901234567",
        ];
        for number in drawn.chain(odd.map(str::to_owned)) {
            let expected = number.parse::<f64>().unwrap() as f32;
            let found = floats(&format!("[ {number},{number} ,\n 7]")).unwrap();
            let bits: Vec<u32> = found.iter().map(|x| x.to_bits()).collect();
            assert_eq!(bits, [expected.to_bits(), expected.to_bits(), 7_f32.to_bits()], "{number}");
        }
    }

    #[test]
    fn what_is_not_a_list_of_numbers_is_refused_and_a_text_may_be_one() {
        assert_eq!(floats("[]").unwrap(), Vec::<f32>::new());
        assert_eq!(floats(r#"["0.5", 1]"#).unwrap(), [0.5, 1.0]);
        for list in [
            "[1,]",
            "[,1]",
            "[1 2]",
            "[01]",
            "[1.]",
            "[.5]",
            "[+1]",
            "[-]",
            "[null]",
            r#"["x"]"#,
            "[1]]",
            "[1",
            "1",
            "{}",
            "[0000000a]",
            "[1234567:]",
            "[1,\u{b}2]",
            "null",
        ] {
            assert!(floats(list).is_err(), "{list}");
        }
    }

    #[test]
    fn a_list_that_resembles_the_index_of_another_is_read_as_itself() {
        let body = br#"{"a":[0.5,1],"b":[0],"c":[1],"d":"[0] \"[1]","e":[[2],[1234567890123456]],"f":[1e0]}"#;
        let mut answer = extract(body);
        let json = answer.json.clone();
        let left: std::collections::BTreeMap<&str, Numbers<'_>> = serde_json::from_slice(&json).unwrap();

        assert_eq!(answer.floats(&left["a"]).unwrap(), [0.5, 1.0]);
        assert_eq!(answer.floats(&left["b"]).unwrap(), [0.0]);
        assert_eq!(answer.floats(&left["c"]).unwrap(), [1.0]);
        assert_eq!(left["d"].raw().unwrap().get(), r#""[0] \"[1]""#);
        assert_eq!(left["e"].raw().unwrap().get(), "[[3],[1234567890123456]]");
        assert_eq!(answer.floats(&left["f"]).unwrap(), [1.0]);
        let huge: Numbers<'_> = serde_json::from_str("[1234567890123456]").unwrap();
        assert_eq!(answer.floats(&huge).unwrap(), [1_234_567_890_123_456.0_f64 as f32]);
    }

    #[test]
    fn eight_digits_are_eight_digits_and_nothing_else() {
        assert_eq!(eight_digits(*b"12345678"), Some(12_345_678));
        assert_eq!(eight_digits(*b"00000000"), Some(0));
        for at in 0..8 {
            for byte in 0..=u8::MAX {
                let mut text = *b"90817263";
                text[at] = byte;
                let expected = std::str::from_utf8(&text)
                    .ok()
                    .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                    .map(|text| text.parse().unwrap());
                assert_eq!(eight_digits(text), expected, "{text:?}");
            }
        }
    }

    proptest! {
        /// With every list put back where it was, the JSON says what it said.
        #[test]
        fn what_is_left_is_json_where_the_answer_was_and_lacks_only_lists(
            text in r#"(\{|\}|\[|\]|,|:|"|\\|1|-|\.|e| |[0-9]{7,9}|"a":|\[0\.5,1\]|\\"|null){0,20}"#,
        ) {
            let left = extract(text.as_bytes());
            let whole: Result<Value, _> = serde_json::from_str(&text);
            let rest: Result<Value, _> = serde_json::from_slice(&left.json);

            prop_assert_eq!(whole.is_ok(), rest.is_ok(), "{}", text);
            if let (Ok(whole), Ok(rest)) = (whole, rest) {
                let mut left = left;
                prop_assert!(same(&whole, &rest, &mut left), "{} became {}", whole, rest);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..100)) {
            let left = extract(&body);
            prop_assert!(left.json.len() <= 3 * body.len());
        }
    }

    fn same(whole: &Value, rest: &Value, left: &mut FloatLists) -> bool {
        match (whole, rest) {
            (Value::Array(one), Value::Array(_)) if one.iter().all(Value::is_number) && !one.is_empty() => {
                let text = rest.to_string();
                let numbers: Numbers<'_> = serde_json::from_str(&text).unwrap();
                let found = left.floats(&numbers).unwrap();
                found == one.iter().map(|x| x.as_f64().unwrap() as f32).collect::<Vec<_>>()
            }
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other, left))
            }
            (Value::Object(one), Value::Object(other)) => {
                one.len() == other.len()
                    && one
                        .iter()
                        .zip(other)
                        .all(|((key, one), (other_key, other))| key == other_key && same(one, other, left))
            }
            (one, other) => one == other,
        }
    }
}
