//! The lists of numbers in an answer, which are nearly all of it.
//!
//! A parser that goes over an answer for its structure and over each list again
//! for its numbers takes twice the time. So [`extract`] goes over it once:
//! lists of plain numbers are parsed as they are met, and in the JSON that is
//! left for the parser each is replaced by the list of its own index. Numbers
//! are parsed strictly; anything but a plain decimal is left to serde.
//!
//! What is kept is bounded by what was asked for, whatever an answer holds and
//! however large it is: [`ListLimits`] for the lists, [`Entries`] for the entries
//! around them. A list beyond the limits stays in the JSON, where it is read
//! only if it is asked for.
//!
//! Written by hand for bench lines 5 and 7a, first builds with a server that
//! answers at once; `docs/performance.md` has what it saves there.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An answer and the lists of plain numbers that were taken from it.
pub(super) struct FloatLists {
    /// The rest of the answer, with `[n]` where the n-th list was.
    pub json: Vec<u8>,
    lists: Vec<Vec<f32>>,
    limits: ListLimits,
}

/// How much of an answer is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListLimits {
    lists: usize,
    /// Floats in a list.
    floats: usize,
}

impl ListLimits {
    /// Floats that are kept of any list: a server that does not know our dimension sends its own, and
    /// the message names its length.
    const MIN_FLOATS: usize = 4096;

    /// For an answer with the vectors of so many texts. One list more shows that there are too many.
    pub(super) fn of(texts: usize, dimension: usize) -> Self {
        Self { lists: texts + 1, floats: dimension.max(Self::MIN_FLOATS) }
    }
}

/// The entries of a list, as many as any request has texts and one more; the others are only counted.
pub(super) struct Entries<T> {
    pub(super) kept: Vec<T>,
    pub(super) count: usize,
}

impl<T> Entries<T> {
    /// One more than the most texts of any request.
    const MAX: usize = 2048 + 1;
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for EntriesVisitor<T> {
            type Value = Entries<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut entries: A) -> Result<Entries<T>, A::Error> {
                let mut kept = Vec::new();
                while kept.len() < Entries::<T>::MAX {
                    match entries.next_element()? {
                        Some(entry) => kept.push(entry),
                        None => return Ok(Entries { count: kept.len(), kept }),
                    }
                }
                let mut count = kept.len();
                while entries.next_element::<de::IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Entries { kept, count })
            }
        }

        from.deserialize_seq(EntriesVisitor(PhantomData))
    }
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

/// Takes lists of plain numbers out of `body`, which may be any bytes, up to the limits.
pub(super) fn extract(body: &[u8], limits: ListLimits) -> FloatLists {
    let (mut json, mut lists, mut floats) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = body;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'"' | b'[')) {
        json.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if rest[0] == b'"' {
            let (string, after) = rest.split_at(string_length(rest));
            json.extend_from_slice(string);
            rest = after;
        } else if let Some((count, after)) = plain_floats(rest, &mut floats, limits.floats) {
            let list = &rest[..rest.len() - after.len()];
            if lists.len() < limits.lists && count <= limits.floats {
                json.extend_from_slice(format!("[{}]", lists.len()).as_bytes());
                lists.push(floats.as_slice().to_vec());
            } else if index(list).is_some() {
                // The same number, which no longer resembles an index.
                json.extend_from_slice(&list[..list.len() - 1]);
                json.extend_from_slice(b"e0]");
            } else {
                json.extend_from_slice(list);
            }
            rest = after;
        } else {
            json.push(b'[');
            rest = &rest[1..];
        }
    }
    json.extend_from_slice(rest);
    FloatLists { json, lists, limits }
}

impl FloatLists {
    /// The floats of a list, not a number where one is null; none if no list was sent.
    ///
    /// A list of one integer is never left as it was, so a list that looks like
    /// an index is one. A list past the limits is an error that has its length.
    pub(super) fn floats(&mut self, numbers: &Numbers<'_>) -> serde_json::Result<Vec<f32>> {
        let Some(raw) = numbers.0.filter(|raw| raw.get() != "null") else { return Ok(Vec::new()) };
        if let Some(list) = index(raw.get().as_bytes()).and_then(|index| self.lists.get_mut(index)) {
            return Ok(std::mem::take(list));
        }
        let most = self.limits.floats;
        let (kept, count) = AtMost(most).deserialize(&mut serde_json::Deserializer::from_str(raw.get()))?;
        if count > most {
            return Err(de::Error::custom(format!(
                "expected at most {most} floats in a vector, found {count}"
            )));
        }
        Ok(kept)
    }
}

/// The number in a list that holds nothing else.
fn index(list: &[u8]) -> Option<usize> {
    let list = std::str::from_utf8(list).ok()?;
    list.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
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

/// A list of decimals of few digits: how many, and the text after it. At most `limit` of them are put
/// into `floats`, in place of what is there.
fn plain_floats<'t>(text: &'t [u8], floats: &mut Vec<f32>, limit: usize) -> Option<(usize, &'t [u8])> {
    floats.clear();
    let mut count = 0;
    let mut rest = text.strip_prefix(b"[")?;
    loop {
        let (float, after) = plain_float(without_space(rest))?;
        count += 1;
        if count <= limit {
            floats.push(float);
        }
        match without_space(after) {
            [b',', more @ ..] => rest = more,
            [b']', more @ ..] => return Some((count, more)),
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
    if whole == 0
        && let Some(rest) = without_not_finite(text)
    {
        return Some((f32::NAN, rest));
    }
    let is_unusual = whole == 0 || (whole > 1 && text[0] == b'0');
    if is_unusual || matches!(rest, [b'e' | b'E' | b'0'..=b'9', ..]) {
        return None;
    }
    let x = (number as f64 / TENS[decimals]) as f32;
    Some((f32::from_bits(x.to_bits() | u32::from(negative) << 31), rest))
}

/// The text after a word that some servers write in the place of a float that has no decimal.
fn without_not_finite(text: &[u8]) -> Option<&[u8]> {
    ["NaN", "Infinity", "null"].iter().find_map(|word| text.strip_prefix(word.as_bytes()))
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

/// Reads a list of numbers of any form, and keeps so many of them: gives those and the count of all.
struct AtMost(usize);

impl<'de> de::DeserializeSeed<'de> for AtMost {
    type Value = (Vec<f32>, usize);

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> de::Visitor<'de> for AtMost {
    type Value = (Vec<f32>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut numbers: A) -> Result<Self::Value, A::Error> {
        let (mut kept, mut count) = (Vec::new(), 0);
        while let Some(Float(x)) = numbers.next_element()? {
            count += 1;
            if count <= self.0 {
                kept.push(x);
            }
        }
        Ok((kept, count))
    }
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

            fn visit_unit<E>(self) -> Result<Float, E> {
                Ok(Float(f32::NAN))
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
