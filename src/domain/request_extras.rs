//! What a model wants beside a text: a prefix of the text, and fields of the request.
//!
//! Some models embed a question and a document alike, others want to know
//! which of the two a text is: by its first words, or by a field such as
//! `input_type`. Those of documents are part of the space of the vectors.
//!
//! Which fields may be set is `config`'s rule, where they stand in a request
//! `embed`'s.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The same for every text of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestExtras {
    /// What every text begins with when it is sent.
    pub prefix: String,
    pub fields: RequestFields,
}

/// Fields of a request by their names, whose order means nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestFields(pub Map<String, Value>);

impl RequestFields {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As JSON without white space; the names are in the order of their bytes at every depth.
    #[must_use]
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        write_object(&self.0, &mut out);
        out
    }
}

impl fmt::Display for RequestFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

/// Whether the map sorts its names by itself depends on how the JSON crate was built.
fn write_object(object: &Map<String, Value>, out: &mut String) {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    out.push('{');
    for (nth, (name, value)) in members.into_iter().enumerate() {
        if nth > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(name.as_str()).to_string());
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => write_object(object, out),
        Value::Array(entries) => {
            out.push('[');
            for (nth, entry) in entries.iter().enumerate() {
                if nth > 0 {
                    out.push(',');
                }
                write_value(entry, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names_does_not_change_what_is_written() {
        let read = |json: &str| serde_json::from_str::<RequestFields>(json).unwrap().canonical();
        let cases = [
            ("{}", "{}"),
            (
                r#"{"b":1,"a":{"d":[{"f":1.5,"e":null}],"c":true}}"#,
                r#"{"a":{"c":true,"d":[{"e":null,"f":1.5}]},"b":1}"#,
            ),
            (
                r#"{"a":{"c":true,"d":[{"e":null,"f":1.5}]},"b":1}"#,
                r#"{"a":{"c":true,"d":[{"e":null,"f":1.5}]},"b":1}"#,
            ),
            (r#"{"\"":"\n"}"#, r#"{"\"":"\n"}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[1,2]}"#),
            (r#"{"a":[2,1]}"#, r#"{"a":[2,1]}"#),
        ];
        for (json, expected) in cases {
            assert_eq!(read(json), expected);
        }
    }
}
