//! What the two wire formats have in common: floats, and what an error says.
//!
//! Error bodies are read leniently, from any of the shapes that providers and
//! the gateways before them use: whatever cannot be understood still has a
//! status, and its first words are passed on. Floats are read strictly and
//! straight into place, since an answer holds a hundred thousand of them.

use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Failure, FailureKind, words};
use crate::http::Reply;

/// One vector as the answer gives it: a list of numbers, each maybe as text.
#[derive(Debug, Default)]
pub(super) struct Floats(pub Vec<f32>);

impl<'de> Deserialize<'de> for Floats {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(from)?;
        floats(raw.get()).map(Floats).map_err(de::Error::custom)
    }
}

/// The floats of a JSON list.
///
/// Nearly all of an answer is plain numbers of few digits, and an answer is
/// most of what a purchase costs: those are read here, anything else as any JSON is.
pub(super) fn floats(list: &str) -> serde_json::Result<Vec<f32>> {
    if let Some(floats) = plain_floats(list.as_bytes()) {
        return Ok(floats);
    }
    let floats: Vec<Float> = serde_json::from_str(list)?;
    Ok(floats.into_iter().map(|Float(x)| x).collect())
}

/// None where there is anything but numbers of few digits, one comma between two.
fn plain_floats(list: &[u8]) -> Option<Vec<f32>> {
    let mut rest = list.strip_prefix(b"[")?;
    // A number and its comma take about twelve bytes.
    let mut floats = Vec::with_capacity(list.len() / 8);
    loop {
        let (float, after) = plain_float(rest.trim_ascii_start())?;
        floats.push(float);
        match after.trim_ascii_start() {
            [b',', more @ ..] => rest = more,
            b"]" => return Some(floats),
            _ => return None,
        }
    }
}

/// A decimal fraction of at most fifteen digits, and what follows it.
///
/// Both its digits as a whole number and the power of ten that divides it are
/// doubles without rounding, so that the quotient is the double nearest to the
/// decimal: the one that any right parser gives.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "vectors are f32")]
fn plain_float(text: &[u8]) -> Option<(f32, &[u8])> {
    const MOST_DIGITS: usize = 15;
    const TENS: [f64; MOST_DIGITS + 1] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut digits = 0_u64;
    let mut read = |text: &[u8], most: usize| {
        let some = text.iter().take(most).take_while(|byte| byte.is_ascii_digit());
        some.map(|byte| digits = digits * 10 + u64::from(byte - b'0')).count()
    };
    let whole = read(text, MOST_DIGITS);
    let (decimals, rest) = match &text[whole..] {
        [b'.', fraction @ ..] => {
            let decimals = read(fraction, MOST_DIGITS - whole);
            (decimals, (decimals > 0).then(|| &fraction[decimals..])?)
        }
        rest => (0, rest),
    };
    // What JSON does not take for a number, and what has more to it, is left to its own parser.
    let odd = whole == 0 || (whole > 1 && text[0] == b'0');
    if odd || matches!(rest, [b'e' | b'E' | b'0'..=b'9', ..]) {
        return None;
    }
    let x = digits as f64 / TENS[decimals];
    Some((if negative { -x } else { x } as f32, rest))
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

/// The largest body that an answer of `texts` vectors can have. Servers that do
/// not know our dimension may send longer vectors, which must be readable to be
/// refused by their length.
pub(super) fn most_bytes(texts: usize, dimension: usize) -> usize {
    const BYTES_A_FLOAT: usize = 32;
    const REST: usize = 1 << 20;
    texts.saturating_mul(dimension.max(4096)).saturating_mul(BYTES_A_FLOAT).saturating_add(REST)
}

/// What an error body says, as far as it can be understood.
#[derive(Default)]
struct Said {
    words: String,
    /// Every word that programs are meant to read: codes, types, reasons, quota names.
    codes: Vec<String>,
    wait: Option<Duration>,
}

/// The failure that an answer without vectors means.
pub(super) fn failure(reply: &Reply, key: Option<&SecretString>, texts: &[String]) -> Failure {
    let value = serde_json::from_slice::<Value>(&reply.body).unwrap_or(Value::Null);
    let mut said = read(&value);
    if said.words.is_empty() {
        // Only so much of a page of HTML is worth cleaning.
        said.words = String::from_utf8_lossy(&reply.body[..reply.body.len().min(4096)]).into_owned();
    }
    if let (Some(location), 300..=399) = (&reply.location, reply.status) {
        said.words = format!("redirects are not followed, this one goes to {location}");
    }
    said.wait = said.wait.max(reply.retry_after);
    let words = words::clean(&said.words, key, texts);
    let status = reply.status;
    let message =
        if words.is_empty() { format!("status {status}") } else { format!("status {status}: {words}") };
    Failure { kind: kind(status, &said), message }
}

/// The failure of an answer with status 200 that cannot be used: it may be whole the next time.
pub(super) fn unreadable(error: &serde_json::Error, texts: &[String]) -> Failure {
    Failure::transient(None, words::clean(&format!("unreadable answer: {error}"), None, texts))
}

fn kind(status: u16, said: &Said) -> FailureKind {
    let code = |known: &[&str]| said.codes.iter().any(|code| known.iter().any(|known| code.contains(known)));
    let words = said.words.to_ascii_lowercase();
    let wait = said.wait;
    // Gateways use any status for these, 200 included.
    let used_up = code(&[
        "perday",
        "insufficient_quota",
        "insufficient_balance",
        "billing_hard_limit",
        "credit",
        "spend",
    ]);
    // Some have one code for every limit, and only the words tell a minute's from a day's.
    let used_up_by_the_words = status == 429 && said_in(&words, &["per day", "credits are depleted"]);
    if used_up || used_up_by_the_words || status == 402 {
        return FailureKind::Exhausted;
    }
    match status {
        401 | 403 | 404 | 405 | 410 | 300..=399 => FailureKind::Final,
        408 | 429 | 500..=599 => FailureKind::Transient { wait },
        400..=499 if code(&["api_key", "failed_precondition", "model_not_found"]) => FailureKind::Final,
        400..=499 if said_in(&words, &["api key not valid", "api key expired", "invalid api key"]) => {
            FailureKind::Final
        }
        400..=499 => FailureKind::BadRequest,
        _ => FailureKind::Transient { wait },
    }
}

fn said_in(words: &str, known: &[&str]) -> bool {
    known.iter().any(|known| words.contains(known))
}

/// Reads `{"error": {…}}`, the same within a list, `{"error": "…"}`,
/// `{"message": "…"}` and `{"detail": "…" | [{"msg": "…"}]}`.
fn read(value: &Value) -> Said {
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let mut said = Said { words: sentence(error), ..Said::default() };
    if said.words.is_empty() {
        said.words = sentence(value);
    }
    for name in ["status", "type", "code", "error_type"] {
        said.codes.extend(error.get(name).and_then(Value::as_str).map(str::to_ascii_lowercase));
    }
    for detail in list(error.get("details")) {
        said.codes.extend(detail.get("reason").and_then(Value::as_str).map(str::to_ascii_lowercase));
        for violation in list(detail.get("violations")) {
            said.codes.extend(violation.get("quotaId").and_then(Value::as_str).map(str::to_ascii_lowercase));
        }
        said.wait = said.wait.max(detail.get("retryDelay").and_then(Value::as_str).and_then(duration));
    }
    said
}

fn sentence(value: &Value) -> String {
    if let Some(words) = value.as_str() {
        return words.to_owned();
    }
    for name in ["message", "detail", "error"] {
        match value.get(name) {
            Some(Value::String(words)) => return words.clone(),
            // The other members of such an entry repeat what was sent.
            Some(Value::Array(entries)) => {
                let words: Vec<_> = entries.iter().filter_map(|entry| entry.get("msg")?.as_str()).collect();
                return words.join("; ");
            }
            _ => {}
        }
    }
    String::new()
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A protobuf duration: seconds, fractions allowed, and an `s`.
fn duration(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().strip_suffix('s')?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests;
