//! What the two wire formats have in common: addresses, keys, answer sizes and error bodies.
//!
//! Error bodies are parsed leniently, in any of the shapes that providers and
//! the gateways before them use: a body that cannot be parsed still has a
//! status, and its beginning is part of the message. Which requests are
//! repeated is `requester`'s decision.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use serde_json::value::RawValue;

use super::error::EmbedError;
use super::redact;
use super::types::{Cost, Failure, FailureKind, WrongKind};
use crate::adapters::http::{self, MAX_REFUSAL_BYTES, Reply};
use crate::config::ApiKey;

/// Enough of a page of HTML for a message.
const MAX_ERROR_BYTES: usize = 4096;

/// The base address without a slash at its end, checked to be usable in a request.
pub(super) fn base_address(base: &str) -> Result<&str, EmbedError> {
    let base = base.trim().trim_end_matches('/');
    http::check_address(base)
        .map_err(|error| EmbedError::Settings(format!("embedding.base_url: {error}")))?;
    Ok(base)
}

/// The key as a header carries it.
pub(super) fn header_key(key: &ApiKey) -> SecretString {
    SecretString::from(key.expose())
}

/// The largest body of an answer with `texts` vectors. Servers that do not know
/// our dimension may send longer vectors, which must be read to be refused by
/// their length.
pub(super) fn max_answer_bytes(texts: usize, dimension: usize) -> usize {
    const BYTES_PER_FLOAT: usize = 32;
    const OVERHEAD_BYTES: usize = 1 << 20;
    texts.saturating_mul(dimension.max(4096)).saturating_mul(BYTES_PER_FLOAT).saturating_add(OVERHEAD_BYTES)
}

/// What could be parsed of an error body.
#[derive(Default)]
struct ErrorBody {
    message: String,
    /// Everything meant for programs, as [`snake_case`]: codes, types, reasons, quota names.
    codes: Vec<String>,
    wait: Option<Duration>,
    /// The status that the body itself names; gateways send it within a 200.
    named_status: Option<u16>,
}

/// The failure that an answer without vectors means.
pub(super) fn failure(reply: &Reply, key: Option<&SecretString>, texts: &[String]) -> Failure {
    // With status 200 the body may be as long as an answer.
    let body = &reply.body[..reply.body.len().min(MAX_REFUSAL_BYTES)];
    failure_of(&serde_json::from_slice(body).unwrap_or(Value::Null), reply, key, texts)
}

/// The failure of an answer whose entries all have errors instead of vectors: what the first of them says.
/// Where only some have one, those texts are sent again, each alone.
pub(super) fn entry_failure<'a>(
    mut errors: impl Iterator<Item = Option<&'a RawValue>>,
    reply: &Reply,
    key: Option<&SecretString>,
    texts: &[String],
) -> Option<Failure> {
    let first = errors.next()??;
    if !errors.all(|error| error.is_some()) {
        return None;
    }
    let error: Value = serde_json::from_str(first.get()).ok()?;
    Some(failure_of(&serde_json::json!({ "error": error }), reply, key, texts))
}

fn failure_of(value: &Value, reply: &Reply, key: Option<&SecretString>, texts: &[String]) -> Failure {
    let mut body = parse_error(value);
    if body.message.is_empty() {
        let start = &reply.body[..reply.body.len().min(MAX_ERROR_BYTES)];
        body.message = String::from_utf8_lossy(start).into_owned();
    }
    if let (Some(location), 300..=399) = (&reply.location, reply.status) {
        body.message = format!("the redirect to {location} was not followed");
    }
    body.wait = body.wait.max(reply.retry_after);
    let status = body.named_status.filter(|_| reply.status == 200).unwrap_or(reply.status);
    let message = match redact::redact(&body.message, key, texts) {
        message if message.is_empty() => match body.codes.iter().find(|code| is_code(code)) {
            Some(code) => format!("status {status} {code}"),
            None => format!("status {status}"),
        },
        message => format!("status {status}: {message}"),
    };
    let is_refused = (400..500).contains(&reply.status);
    let cost = if is_refused { Cost::Refused } else { Cost::Possible };
    Failure::new(kind(status, &body), message).with_cost(cost)
}

/// The failure of an answer with more entries than any request has texts.
pub(super) fn too_many(texts: &[String], found: usize) -> Failure {
    let message = format!("wrong answer: expected {} vectors, one per text, found {found}", texts.len());
    Failure::new(FailureKind::Wrong(WrongKind::Count), message)
}

/// The failure of an answer with status 200 that cannot be parsed: the next one may be whole.
pub(super) fn unreadable(error: &serde_json::Error, reply: &Reply, texts: &[String]) -> Failure {
    // If the JSON itself is wrong, the message has the lines and columns of the body,
    // not those of what `float_list` left of it.
    let of_body = serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).err();
    let error = of_body.as_ref().unwrap_or(error);
    Failure::transient(None, redact::redact(&format!("unreadable answer: {error}"), None, texts))
}

/// Whether a word is meant for programs, and no text of a row.
fn is_code(word: &str) -> bool {
    const MAX_CODE_BYTES: usize = 60;
    word.len() <= MAX_CODE_BYTES
        && word.contains('_')
        && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Codes of a day's quota or of credit that is used up. Gateways use any status for these, 200 included.
const USED_UP: [&str; 8] = [
    "per_day",
    "insufficient_quota",
    "insufficient_balance",
    "insufficient_credits",
    "billing_hard_limit",
    "credit",
    "credits",
    "spend",
];

/// Codes of a wrong key, project, model, region or field.
const WRONG_SETTINGS: [&str; 8] = [
    "api_key",
    "apikey",
    "failed_precondition",
    "model_not_found",
    "unsupported_model",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_country_region_territory",
];

/// What an error means: by its codes, then by its status, and by its message only where neither decides.
fn kind(status: u16, body: &ErrorBody) -> FailureKind {
    let code = |known: &[&str]| {
        let is_in =
            |code: &String| known.iter().any(|known| format!("_{code}_").contains(&format!("_{known}_")));
        body.codes.iter().any(is_in)
    };
    let message = body.message.to_ascii_lowercase();
    let wait = body.wait;
    // Some have one code for every limit, and only the message distinguishes a minute's from a day's.
    let used_up_by_message = status == 429 && contains_any(&message, &["per day", "credits are depleted"]);
    if code(&USED_UP) || used_up_by_message || status == 402 {
        return FailureKind::Exhausted;
    }
    let is_too_large = matches!(status, 400 | 422 | 429) && contains_any(&message, &TOO_LARGE_MESSAGES);
    match status {
        401 | 403 | 404 | 405 | 410 | 300..=399 => FailureKind::Final,
        413 => FailureKind::TooLarge,
        _ if is_too_large => FailureKind::TooLarge,
        408 | 409 | 423 | 424 | 425 | 429 | 499 => FailureKind::Transient { wait },
        500..=599 => FailureKind::ServerError { wait },
        400..=499 if code(&WRONG_SETTINGS) || contains_any(&message, &WRONG_SETTINGS_MESSAGES) => {
            FailureKind::Final
        }
        400..=499 => FailureKind::BadRequest,
        _ => FailureKind::Transient { wait },
    }
}

/// What providers say of a request that has too many texts, bytes or tokens; no code is common to them.
const TOO_LARGE_MESSAGES: [&str; 14] = [
    "too large",
    "batch size",
    "payload size",
    "request size",
    "too many inputs",
    "too many texts",
    "maximum allowed batch",
    "tokens per request",
    "requests can be in one batch",
    "array too long",
    "tokens per submitted batch",
    "number of texts must be",
    "split into more batches",
    "too many tokens in batch",
];

/// The same of settings, of providers that send no code for it.
const WRONG_SETTINGS_MESSAGES: [&str; 6] = [
    "api key not valid",
    "api key expired",
    "invalid api key",
    "extra inputs are not permitted",
    "unknown name \"",
    "unrecognized request argument",
];

/// A code in lower case, its parts joined by `_`: `RequestsPerDay-FreeTier` is `requests_per_day_free_tier`.
fn snake_case(code: &str) -> String {
    let mut snake = String::with_capacity(code.len() + 8);
    let mut was_lower = false;
    for char in code.chars() {
        if char.is_ascii_uppercase() && was_lower {
            snake.push('_');
        }
        was_lower = char.is_ascii_lowercase() || char.is_ascii_digit();
        snake.push(if char.is_ascii_alphanumeric() { char.to_ascii_lowercase() } else { '_' });
    }
    snake
}

fn contains_any(message: &str, known: &[&str]) -> bool {
    known.iter().any(|known| message.contains(known))
}

/// Parses `{"error": {…}}`, the same within a list, `{"error": "…"}`,
/// `{"message": "…"}` and `{"detail": "…" | [{"msg": "…"}]}`.
fn parse_error(value: &Value) -> ErrorBody {
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let mut body = ErrorBody { message: message_of(error), ..ErrorBody::default() };
    if body.message.is_empty() {
        body.message = message_of(value);
    }
    for name in ["status", "type", "code", "error_type"] {
        body.codes.extend(error.get(name).and_then(Value::as_str).map(snake_case));
    }
    let number = |name: &str| match error.get(name)? {
        Value::String(digits) => digits.parse().ok(),
        number => number.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    let named = ["code", "status", "http_status", "status_code", "statusCode"].into_iter();
    body.named_status = named.filter_map(number).find(|number| (400..600).contains(number));
    for detail in list(error.get("details")) {
        body.codes.extend(detail.get("reason").and_then(Value::as_str).map(snake_case));
        for violation in list(detail.get("violations")) {
            body.codes.extend(violation.get("quotaId").and_then(Value::as_str).map(snake_case));
        }
        body.wait = body.wait.max(detail.get("retryDelay").and_then(Value::as_str).and_then(duration));
    }
    body
}

fn message_of(value: &Value) -> String {
    if let Some(message) = value.as_str() {
        return message.to_owned();
    }
    for name in ["message", "detail", "error"] {
        match value.get(name) {
            Some(Value::String(message)) => return message.clone(),
            // The other members of such an entry repeat what was sent.
            Some(Value::Array(entries)) => {
                let messages: Vec<_> =
                    entries.iter().filter_map(|entry| entry.get("msg")?.as_str()).collect();
                return messages.join("; ");
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
