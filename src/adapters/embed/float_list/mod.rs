//! The lists of numbers in an answer, which are nearly all of it.
//!
//! A parser that goes over an answer for its structure and over each list again
//! for its numbers takes twice the time. So [`extract`] goes over it once:
//! lists of plain numbers are parsed as they are met, and in the JSON that is
//! left for the parser each is replaced by the list of its own index. Numbers
//! are parsed strictly; anything but a plain decimal is left to serde.
//!
//! Written by hand for bench lines 5 and 7a, first builds with a server that
//! answers at once; `docs/performance.md` has what it saves there.

use std::fmt;

use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

/// An answer and the lists of plain numbers that were taken from it.
pub(super) struct FloatLists {
    /// The rest of the answer, with `[n]` where the n-th list was.
    pub json: Vec<u8>,
    lists: Vec<Vec<f32>>,
}

/// A list of numbers in the JSON that is left; `None` if none was sent.
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

/// Parses every list of plain numbers in `body`, which may be any bytes.
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
    /// The floats of a list; none if no list was sent.
    ///
    /// A list of one integer is always extracted, so a list that looks like an
    /// index is one.
    pub(super) fn floats(&mut self, numbers: &Numbers<'_>) -> serde_json::Result<Vec<f32>> {
        let Some(raw) = numbers.0 else { return Ok(Vec::new()) };
        let index = raw.get().strip_prefix('[').and_then(|list| list.strip_suffix(']')?.parse().ok());
        if let Some(list) = index.and_then(|index: usize| self.lists.get_mut(index)) {
            return Ok(std::mem::take(list));
        }
        let floats: Vec<Float> = serde_json::from_str(raw.get())?;
        Ok(floats.into_iter().map(|Float(x)| x).collect())
    }
}

/// The bytes of a string from its first quote to its last, or to the end of the text.
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

/// A list of decimals of few digits, and the text after it.
fn plain_floats(text: &[u8]) -> Option<(Vec<f32>, &[u8])> {
    // The most common dimension; a longer list grows once or twice.
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

/// The text after the white space of JSON.
fn without_space(text: &[u8]) -> &[u8] {
    match text {
        [b' ' | b'\n' | b'\r' | b'\t', ..] => {
            let space = text.iter().take_while(|byte| matches!(byte, b' ' | b'\n' | b'\r' | b'\t')).count();
            &text[space..]
        }
        _ => text,
    }
}

/// A decimal fraction of at most fifteen digits, and the text after it.
///
/// Its digits as an integer and the power of ten that divides them are both
/// exact doubles, so the quotient is the double nearest to the decimal: the one
/// that any correct parser gives.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "vectors are f32")]
fn plain_float(text: &[u8]) -> Option<(f32, &[u8])> {
    const MAX_DIGITS: usize = 15;
    const TENS: [f64; MAX_DIGITS + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    // Half of all numbers are negative and no processor predicts which, so the sign takes no branch.
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
    // What is not a JSON number, or has an exponent or more digits, is left to serde.
    let is_unusual = whole == 0 || (whole > 1 && text[0] == b'0');
    if is_unusual || matches!(rest, [b'e' | b'E' | b'0'..=b'9', ..]) {
        return None;
    }
    let x = (number as f64 / TENS[decimals]) as f32;
    Some((f32::from_bits(x.to_bits() | u32::from(negative) << 31), rest))
}

/// Continues after the first `count` digits, whose value is `number`, to the last digit or the `max`-th.
#[inline]
fn digits(text: &[u8], mut number: u64, mut count: usize, max: usize) -> (u64, usize) {
    for byte in text.iter().take(max).skip(count) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // At most fifteen digits, so nothing wraps.
        number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
        count += 1;
    }
    (number, count)
}

/// Eight digits at once: neighbours are joined three times, each time all pairs in one multiplication.
fn eight_digits(text: [u8; 8]) -> Option<u64> {
    const ZEROS: u64 = 0x3030_3030_3030_3030;
    const HIGH_HALVES: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    let text = u64::from_le_bytes(text);
    // A digit's high half is 3, and still is when six is added.
    let high_halves = (text & HIGH_HALVES) | ((text.wrapping_add(0x0606_0606_0606_0606) & HIGH_HALVES) >> 4);
    if high_halves != 0x3333_3333_3333_3333 {
        return None;
    }
    let ones = text - ZEROS;
    let twos = (ones.wrapping_mul(10).wrapping_add(ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (twos.wrapping_mul(100).wrapping_add(twos >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff)
}

/// A number, or a string that holds one.
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
                number
                    .map(|x| Float(x as f32))
                    .map_err(|_| E::custom("expected a number, found another string"))
            }
        }

        from.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests;
