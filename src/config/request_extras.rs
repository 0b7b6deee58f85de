//! `embedding.document` and `embedding.query`: what a model wants beside a text.
//!
//! A prefix is any text. Fields are a table of TOML that becomes a part of the
//! JSON of a request; they may not name what the program sends by itself, and
//! a request holds only so much of them.

use serde::Deserialize;
use serde_json::{Map, Number, Value};
use toml::Spanned;

use super::ConfigError;
use super::choices::Provider;
use super::declare::Key;
use super::origin::{Sourced, ValueOrigin};
use super::resolved::Resolved;
use crate::domain::request_extras::{RequestExtras, RequestFields};

/// Bytes of a prefix, and of all fields as JSON: far more than any model asks for, and little beside the
/// texts of a request.
const MAX_BYTES: usize = 4096;

/// Fields that hold model, texts and length in the requests of one provider or another.
const SENT_BY_ALL: [&str; 5] = ["model", "input", "content", "requests", "dimensions"];

/// The two keys as the settings file has them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawExtras {
    prefix: Option<Spanned<String>>,
    fields: Option<Spanned<toml::Table>>,
}

/// What a text is sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextKind {
    Document,
    Query,
}

/// Checks and records prefix and fields.
pub(super) fn settle(
    key: &Key,
    raw: Option<&RawExtras>,
    kind: TextKind,
    provider: Provider,
    resolved: &mut Resolved<'_>,
) -> Result<RequestExtras, ConfigError> {
    let name = format!("{}.prefix", key.path());
    let prefix = match resolved.written(raw.and_then(|raw| raw.prefix.as_ref())) {
        Some(given) if given.value.len() > MAX_BYTES => {
            return Err(given.refused(&name, format!("at most {MAX_BYTES} bytes")));
        }
        Some(given) => {
            resolved.record(name, format!("{:?}", given.value), &given.origin);
            given.value
        }
        None => {
            resolved.record(name, "none", &ValueOrigin::Default);
            String::new()
        }
    };
    let name = format!("{}.fields", key.path());
    let fields = if let Some(given) = resolved.written(raw.and_then(|raw| raw.fields.as_ref())) {
        let fields = checked(&given, &name, kind, provider)?;
        resolved.record(name, &fields, &given.origin);
        fields
    } else {
        resolved.record(name, "none", &ValueOrigin::Default);
        RequestFields::default()
    };
    Ok(RequestExtras { prefix, fields })
}

fn checked(
    given: &Sourced<toml::Table>,
    name: &str,
    kind: TextKind,
    provider: Provider,
) -> Result<RequestFields, ConfigError> {
    let refused = |field: &str, expected: &str| {
        let value = given.value.get(field).map(ToString::to_string).unwrap_or_default();
        Sourced { value, origin: given.origin.clone() }.refused(&format!("{name}.{field}"), expected)
    };
    if let (Provider::Local, Some(field)) = (provider, given.value.keys().next()) {
        return Err(refused(field, "no fields: provider local sends no requests"));
    }
    let mut fields = Map::new();
    for (field, value) in &given.value {
        if field.is_empty() {
            return Err(refused(field, "a field with a name"));
        }
        if let Some(expected) = sent_by_itself(field, kind, provider) {
            return Err(refused(field, expected));
        }
        let value = json(value).map_err(|expected| refused(field, expected))?;
        fields.insert(field.clone(), value);
    }
    let fields = RequestFields(fields);
    if fields.canonical().len() > MAX_BYTES {
        return Err(given.refused(name, format!("at most {MAX_BYTES} bytes as JSON")));
    }
    Ok(fields)
}

/// What is expected in place of a field that the program sends by itself.
fn sent_by_itself(field: &str, kind: TextKind, provider: Provider) -> Option<&'static str> {
    // Gemini takes `taskType` and `task_type` alike.
    let plain: String = field.chars().filter(|c| *c != '_').flat_map(char::to_lowercase).collect();
    let is_gemini = provider == Provider::Gemini;
    match plain.as_str() {
        "model" => Some("embedding.model in place of this field"),
        "dimensions" => Some("embedding.dimension in place of this field"),
        "outputdimensionality" if is_gemini => Some("embedding.dimension in place of this field"),
        "tasktype" if is_gemini && kind == TextKind::Document => {
            Some("embedding.task_type in place of this field")
        }
        plain if SENT_BY_ALL.contains(&plain) => Some("no such field: the texts are sent in it"),
        _ => None,
    }
}

/// The same value as JSON. The error says what was expected.
fn json(value: &toml::Value) -> Result<Value, &'static str> {
    Ok(match value {
        toml::Value::String(text) => Value::from(text.as_str()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => {
            Value::Number(Number::from_f64(*number).ok_or("a number that JSON can hold")?)
        }
        toml::Value::Boolean(value) => Value::from(*value),
        toml::Value::Datetime(_) => return Err("a text in quotes: JSON has no dates"),
        toml::Value::Array(entries) => Value::Array(entries.iter().map(json).collect::<Result<_, _>>()?),
        toml::Value::Table(table) => {
            let members = table.iter().map(|(name, value)| json(value).map(|value| (name.clone(), value)));
            Value::Object(members.collect::<Result<_, _>>()?)
        }
    })
}
