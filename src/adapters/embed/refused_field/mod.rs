//! A refusal that is about a field of the request, and the setting that the field belongs to.
//!
//! Some servers demand a field that says what a text is for, some refuse
//! `dimensions` or whatever else they do not know. No text is at fault then, and
//! another one would be refused as well: the request is not repeated, and the
//! message names the setting to change. What is read is the server's answer
//! without any part of a row's text, so that no row can pass for a field.

use serde_json::Value;

use super::types::{Failure, FailureKind, Task};
use crate::adapters::http::{MAX_REFUSAL_BYTES, Reply};
use crate::domain::request_extras::RequestFields;

/// No field of any server has a longer name.
const MAX_NAME_BYTES: usize = 60;

/// Fields that servers ask for, as far as one is known by its name alone.
const KNOWN_FIELDS: [&str; 5] = ["input_type", "task_type", "task", "prompt_name", "embedding_types"];

/// What a server says of a field that it wants to have, or to have otherwise.
const WANTED: [&str; 11] = [
    "required",
    "missing",
    "must be",
    "must provide",
    "must specify",
    "not provided",
    "not specified",
    "is not set",
    "expected one of",
    "should be",
    "invalid value",
];

/// What a server says of a field that it does not take.
const UNWANTED: [&str; 8] = [
    "not permitted",
    "not supported",
    "unsupported",
    "unknown",
    "unrecognized",
    "unexpected",
    "not allowed",
    "does not support",
];

/// What a request said besides its texts.
pub(super) struct SentFields<'a> {
    pub(super) task: Task,
    pub(super) fields: &'a RequestFields,
    /// Whether it named the length of the vectors.
    pub(super) names_dimension: bool,
    /// The length of the server's own vectors, where it is known.
    pub(super) own_dimension: Option<usize>,
    /// The setting of its `task_type`, where it has one.
    pub(super) task_setting: Option<&'static str>,
}

/// What is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FieldFault {
    Wanted(String),
    Unwanted(String),
    Dimension,
}

/// The same failure; where it is about a field it is final, and says which setting that is.
pub(super) fn explain(failure: Failure, reply: &Reply, sent: &SentFields<'_>) -> Failure {
    let may_be = match failure.kind {
        FailureKind::BadRequest => true,
        // Such a status is final as it is; what is said can still help.
        FailureKind::Final => matches!(reply.status, 400 | 422),
        FailureKind::Transient { .. }
        | FailureKind::Timeout
        | FailureKind::ServerError { .. }
        | FailureKind::Resend
        | FailureKind::Wrong(_)
        | FailureKind::TooLarge
        | FailureKind::Exhausted => false,
    };
    match may_be.then(|| fault(reply, &failure.message, sent)).flatten() {
        None => failure,
        Some(fault) => {
            let message = format!("{}; {}", failure.message, advice(&fault, sent));
            Failure { kind: FailureKind::Final, message, ..failure }
        }
    }
}

/// `message`: the server's, without any part of a text.
fn fault(reply: &Reply, message: &str, sent: &SentFields<'_>) -> Option<FieldFault> {
    let body = &reply.body[..reply.body.len().min(MAX_REFUSAL_BYTES)];
    let value = serde_json::from_slice::<Value>(body).unwrap_or(Value::Null);
    let found = coded(&value).or_else(|| worded(&message.to_ascii_lowercase(), sent))?;
    match &found {
        FieldFault::Unwanted(name) | FieldFault::Wanted(name) if is_dimension(name) => {
            sent.names_dimension.then_some(FieldFault::Dimension)
        }
        // Model and texts are always sent: a server that misses them speaks another language.
        FieldFault::Wanted(name) if ["model", "input", "content", "requests"].contains(&name.as_str()) => {
            None
        }
        FieldFault::Unwanted(name) if !sent.fields.0.contains_key(name) => None,
        FieldFault::Wanted(_) | FieldFault::Unwanted(_) | FieldFault::Dimension => Some(found),
    }
}

/// A fault that the answer names for programs: entries of `detail` with `loc` and `type`, or `param` with
/// `code`.
fn coded(value: &Value) -> Option<FieldFault> {
    let value = value.get(0).unwrap_or(value);
    let error = value.get("error").unwrap_or(value);
    let details = [value.get("detail"), error.get("detail"), value.get("details"), error.get("details")];
    let entries = details.into_iter().flatten().filter_map(Value::as_array).flatten();
    let text =
        |of: &Value, name: &str| of.get(name).and_then(Value::as_str).unwrap_or_default().to_lowercase();
    for entry in entries {
        let place = entry.get("loc").and_then(Value::as_array);
        let name = place.and_then(|place| place.iter().rev().find_map(Value::as_str)).and_then(field_name);
        let kind = text(entry, "type");
        match name {
            Some(name) if kind.contains("missing") => return Some(FieldFault::Wanted(name)),
            Some(name) if kind.contains("extra") => return Some(FieldFault::Unwanted(name)),
            Some(name) if ["enum", "literal_error"].iter().any(|known| kind.contains(known)) => {
                return Some(FieldFault::Wanted(name));
            }
            Some(_) | None => {}
        }
    }
    let name = error.get("param").and_then(Value::as_str).and_then(field_name)?;
    let (code, message) = (text(error, "code"), text(error, "message"));
    let says = |known: &[&str]| known.iter().any(|known| message.contains(known));
    if code.contains("missing") || (code.is_empty() && says(&WANTED)) {
        Some(FieldFault::Wanted(name))
    } else if is_dimension(&name)
        || ["unknown", "unsupported", "unrecognized"].iter().any(|known| code.contains(known))
        || (code.is_empty() && says(&UNWANTED))
    {
        Some(FieldFault::Unwanted(name))
    } else {
        None
    }
}

/// A fault that only the message names, in lower case.
fn worded(message: &str, sent: &SentFields<'_>) -> Option<FieldFault> {
    let says = |known: &[&str]| known.iter().any(|known| message.contains(known));
    if sent.names_dimension && says(&["dimension", "matryoshka"]) {
        return Some(FieldFault::Dimension);
    }
    let own = sent.fields.0.keys().map(String::as_str);
    if says(&UNWANTED)
        && let Some(name) = own.clone().find(|name| is_named(message, name))
    {
        return Some(FieldFault::Unwanted(name.to_owned()));
    }
    let mut known = KNOWN_FIELDS.into_iter().chain(own);
    let name = known.find(|name| is_named(message, name)).filter(|_| says(&WANTED))?;
    Some(FieldFault::Wanted(name.to_owned()))
}

/// Whether a message has the name of a field, as a whole word; one that may be plain English only as fields
/// are written.
fn is_named(message: &str, name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    message.match_indices(&name).any(|(at, _)| {
        let (before, after) = (&message[..at], &message[at + name.len()..]);
        let is_whole = !before.ends_with(is_part) && !after.starts_with(is_part);
        let is_quoted = before.ends_with(['\'', '"', '`']) && after.starts_with(['\'', '"', '`']);
        let is_called = ["field ", "parameter ", "argument "].iter().any(|word| before.ends_with(word))
            || [" field", " parameter", " argument"].iter().any(|word| after.starts_with(word));
        is_whole && (is_quoted || is_called || name.contains('_'))
    })
}

fn is_dimension(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect();
    ["dimensions", "dimension", "outputdimensionality", "outputdimension"].contains(&plain.as_str())
}

fn field_name(name: &str) -> Option<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let is_name = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(is_plain);
    (is_name && name != "body").then(|| name.to_owned())
}

fn advice(fault: &FieldFault, sent: &SentFields<'_>) -> String {
    let section = match sent.task {
        Task::Document => "embedding.document.fields",
        Task::Query => "embedding.query.fields",
    };
    let of_task = sent.task_setting.filter(|_| !sent.fields.0.contains_key("task_type"));
    match fault {
        FieldFault::Wanted(name) if name == "task_type" && of_task.is_some() => {
            format!("check the value of {}", of_task.unwrap_or_default())
        }
        FieldFault::Wanted(name) if sent.fields.0.contains_key(name) => {
            format!("check the value of {name} in {section}")
        }
        FieldFault::Wanted(name) => match sent.task {
            Task::Document => format!(
                "set {name} in {section}, and as this server wants it for questions in embedding.query.fields"
            ),
            Task::Query => format!("set {name} in {section}"),
        },
        FieldFault::Unwanted(name) => format!("remove {name} from {section}"),
        FieldFault::Dimension => match sent.own_dimension {
            Some(own) => format!(
                "the length of the vectors was asked for, and they have {own} floats by themselves: set embedding.dimension = {own}"
            ),
            None => "the length of the vectors was asked for: set embedding.dimension to the length that the model's vectors have by themselves".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests;
