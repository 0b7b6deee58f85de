//! What the two wire formats have in common: how large an answer may be, and what an error says.
//!
//! Error bodies are read leniently, from any of the shapes that providers and
//! the gateways before them use: whatever cannot be understood still has a
//! status, and its first words are passed on.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::{Failure, FailureKind, redact};
use crate::adapters::http::Reply;

/// The largest body that an answer of `texts` vectors can have. Servers that do
/// not know our dimension may send longer vectors, which must be readable to be
/// refused by their length.
pub(super) fn max_answer_bytes(texts: usize, dimension: usize) -> usize {
    const BYTES_PER_FLOAT: usize = 32;
    const OVERHEAD_BYTES: usize = 1 << 20;
    texts.saturating_mul(dimension.max(4096)).saturating_mul(BYTES_PER_FLOAT).saturating_add(OVERHEAD_BYTES)
}

/// What an error body says, as far as it can be understood.
#[derive(Default)]
struct ErrorBody {
    message: String,
    /// Every word that programs are meant to read: codes, types, reasons, quota names.
    codes: Vec<String>,
    wait: Option<Duration>,
}

/// The failure that an answer without vectors means.
pub(super) fn failure(reply: &Reply, key: Option<&SecretString>, texts: &[String]) -> Failure {
    let value = serde_json::from_slice::<Value>(&reply.body).unwrap_or(Value::Null);
    let mut said = parse_error(&value);
    if said.message.is_empty() {
        // Only so much of a page of HTML is worth cleaning.
        said.message = String::from_utf8_lossy(&reply.body[..reply.body.len().min(4096)]).into_owned();
    }
    if let (Some(location), 300..=399) = (&reply.location, reply.status) {
        said.message = format!("redirects are not followed, this one goes to {location}");
    }
    said.wait = said.wait.max(reply.retry_after);
    let words = redact::redact(&said.message, key, texts);
    let status = reply.status;
    let message =
        if words.is_empty() { format!("status {status}") } else { format!("status {status}: {words}") };
    Failure { kind: kind(status, &said), message }
}

/// The failure of an answer with status 200 that cannot be used: it may be whole the next time.
pub(super) fn unreadable(error: &serde_json::Error, reply: &Reply, texts: &[String]) -> Failure {
    // Where the JSON itself is at fault, its own lines and columns are told, not those of what was left of it.
    let of_body = serde_json::from_slice::<serde::de::IgnoredAny>(&reply.body).err();
    let error = of_body.as_ref().unwrap_or(error);
    Failure::transient(None, redact::redact(&format!("unreadable answer: {error}"), None, texts))
}

fn kind(status: u16, said: &ErrorBody) -> FailureKind {
    let code = |known: &[&str]| said.codes.iter().any(|code| known.iter().any(|known| code.contains(known)));
    let words = said.message.to_ascii_lowercase();
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
    let used_up_by_the_words = status == 429 && contains_any(&words, &["per day", "credits are depleted"]);
    if used_up || used_up_by_the_words || status == 402 {
        return FailureKind::Exhausted;
    }
    match status {
        401 | 403 | 404 | 405 | 410 | 300..=399 => FailureKind::Final,
        408 | 429 | 500..=599 => FailureKind::Transient { wait },
        400..=499 if code(&["api_key", "failed_precondition", "model_not_found"]) => FailureKind::Final,
        400..=499 if contains_any(&words, &["api key not valid", "api key expired", "invalid api key"]) => {
            FailureKind::Final
        }
        400..=499 => FailureKind::BadRequest,
        _ => FailureKind::Transient { wait },
    }
}

fn contains_any(words: &str, known: &[&str]) -> bool {
    known.iter().any(|known| words.contains(known))
}

/// Reads `{"error": {…}}`, the same within a list, `{"error": "…"}`,
/// `{"message": "…"}` and `{"detail": "…" | [{"msg": "…"}]}`.
fn parse_error(value: &Value) -> ErrorBody {
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let mut said = ErrorBody { message: message_of(error), ..ErrorBody::default() };
    if said.message.is_empty() {
        said.message = message_of(value);
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

fn message_of(value: &Value) -> String {
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
