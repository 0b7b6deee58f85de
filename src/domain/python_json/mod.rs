//! JSON as Python's `json.loads` reads it and `json.dump` writes it.
//!
//! `metadata.json` has readers, and people who compare two of them, so its
//! bytes are those of `json.dump(records, file, ensure_ascii=False)`: the same
//! separators, the same escapes, the same digits. The differences from
//! `serde_json` are the spaces after comma and colon and the layout of a float;
//! escapes are the same in both.
//!
//! What stands in a record is `record`'s. Any JSON text is read and written
//! again in [`json`], the experts' tags are read in [`tags`].

mod json;
mod tags;

use std::fmt::{self, Display};
use std::io::Write as _;

pub(crate) use json::{Json, parse_json};
pub(crate) use tags::parse_tags;

/// A longer record is a fault of its row. What seems to be one when a file is verified is a file of
/// another kind, and is not held in memory.
pub(crate) const MAX_RECORD_BYTES: usize = 64 << 20;

/// A finite float, displayed as Python's `repr` and `json` print it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PyFloat(pub f64);

impl Display for PyFloat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = self.0;
        debug_assert!(x.is_finite(), "only finite numbers become values of a record");
        // Both languages print the shortest digits that read back as the same
        // number. They differ in where the exponent begins and how it looks.
        if x == 0.0 || (1e-4..1e16).contains(&x.abs()) {
            let shortest = format!("{x:?}");
            return f.write_str(&half_even(x, shortest, |decimals| format!("{x:.decimals$}")));
        }
        let printed = half_even(x, format!("{x:e}"), |decimals| format!("{x:.decimals$e}"));
        let (digits, exponent) = printed.split_once('e').expect("`{:e}` prints a finite number with an e");
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(size) => ('-', size),
            None => ('+', exponent),
        };
        write!(f, "{digits}e{sign}{exponent:0>2}")
    }
}

/// Breaks a tie between two equally short and equally near prints of `x`.
///
/// 2197395979265169.25 reads back from ….2 and from ….3: Rust prints the upper
/// one, Python the even one. Printed to that many decimals, Rust rounds half to
/// even as well. At a power of two, where the gap below is half the gap above,
/// that print may miss `x`: then there was no tie, and the shortest one stands.
fn half_even(x: f64, shortest: String, to_decimals: impl Fn(usize) -> String) -> String {
    // Up to 15 digits, no two decimals of one length read as the same number.
    if shortest.len() <= 15 {
        return shortest;
    }
    let Some((_, tail)) = shortest.split_once('.') else {
        return shortest;
    };
    let even = to_decimals(tail.bytes().take_while(u8::is_ascii_digit).count());
    if even.parse() == Ok(x) { even } else { shortest }
}

/// Appends a text in quotes, with Python's escapes.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string is JSON and a Vec takes every write");
}

/// Appends what `value` displays.
pub(crate) fn write_display(value: impl Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("a Vec takes every write");
}

#[cfg(test)]
mod tests;
