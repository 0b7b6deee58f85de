//! The columns of a row as a template sees them.
//!
//! A NULL is nothing wherever it stands: it prints no character, alone or joined
//! to a text, it is false, it has no items. JSON keeps the order of its keys and
//! all digits of its integers, as in the metadata.

use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::value::{Object, ObjectRepr, Value as Variable};

use crate::domain::python_json::Json;
use crate::domain::record::{Parsed, Record, Schema, Value};

/// The name of the chunk that a text is made for.
pub(crate) const CHUNK: &str = "chunk";
/// The name of all columns together, for names that are not identifiers: `row["a name"]`.
pub(crate) const ROW: &str = "row";

/// The names of the columns, as a template may spell them.
#[derive(Debug, PartialEq)]
pub(super) struct ColumnNames {
    /// In the order of the schema.
    names: Vec<String>,
    /// Names of the template that differ from a column's by case alone, with its place. To SQLite they are
    /// the same, and to the check of the settings.
    respelled: Vec<(String, usize)>,
    /// Which columns the template can read: of the others no variable is made.
    used: Vec<bool>,
}

/// What a template is given for one text: the columns of a row, by name.
#[derive(Debug)]
pub(super) struct TextVariables {
    names: Arc<ColumnNames>,
    values: Arc<[Variable]>,
    chunk: Option<Variable>,
}

/// The columns as one mapping, which `row` names.
#[derive(Debug)]
struct ColumnMap {
    names: Arc<ColumnNames>,
    values: Arc<[Variable]>,
}

/// A NULL, and the `null` of JSON. That of `MiniJinja` prints as `None` where it is joined to a text.
#[derive(Debug)]
struct Null;

/// An integer that 128 bits cannot hold, by its digits.
#[derive(Debug)]
struct LongInteger(String);

impl ColumnNames {
    /// `read`: the names that the template reads; `mentions`: whether its code has a name at all.
    pub(super) fn new(
        names: &[String],
        read: impl Iterator<Item = String>,
        mentions: impl Fn(&str) -> bool,
    ) -> Arc<Self> {
        let place = |name: &str| names.iter().position(|column| column.eq_ignore_ascii_case(name));
        let respelled = read.filter(|name| !names.contains(name));
        let respelled: Vec<_> = respelled.filter_map(|name| place(&name).map(|at| (name, at))).collect();
        let is_used = |(at, name): (usize, &String)| {
            mentions(ROW) || mentions(name) || respelled.iter().any(|(_, place)| *place == at)
        };
        let used = names.iter().enumerate().map(is_used).collect();
        Arc::new(Self { names: names.to_vec(), respelled, used })
    }

    fn place(&self, name: &str) -> Option<usize> {
        let exact = self.names.iter().position(|column| column == name);
        let respelled = || self.respelled.iter().find(|(respelled, _)| respelled == name).map(|(_, at)| *at);
        exact.or_else(respelled).filter(|at| self.used[*at])
    }
}

impl TextVariables {
    /// `names` and `values` are those of the columns, in one order.
    pub(super) fn new(names: &Arc<ColumnNames>, values: Arc<[Variable]>, chunk: Option<&str>) -> Self {
        Self { names: Arc::clone(names), values, chunk: chunk.map(Variable::from) }
    }
}

impl Object for TextVariables {
    fn get_value(self: &Arc<Self>, key: &Variable) -> Option<Variable> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Variable> {
        // A column of either name is refused where the settings are read.
        match (key, &self.chunk) {
            (CHUNK, Some(chunk)) => Some(chunk.clone()),
            (ROW, _) => Some(Variable::from_object(ColumnMap {
                names: Arc::clone(&self.names),
                values: Arc::clone(&self.values),
            })),
            _ => self.names.place(key).map(|at| self.values[at].clone()),
        }
    }
}

impl Object for Null {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        // So that a loop over it ends at once, and its length is 0.
        ObjectRepr::Iterable
    }

    fn is_true(self: &Arc<Self>) -> bool {
        false
    }

    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl Object for LongInteger {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Object for ColumnMap {
    fn get_value(self: &Arc<Self>, key: &Variable) -> Option<Variable> {
        let key = key.as_str()?;
        let any_case = || self.names.names.iter().position(|name| name.eq_ignore_ascii_case(key));
        self.names.place(key).or_else(any_case).map(|at| self.values[at].clone())
    }
}

/// The columns of a record as a template sees them.
pub(super) fn variables(names: &ColumnNames, schema: &Schema, record: &Record<'_>) -> Arc<[Variable]> {
    let mut parsed = record.parsed.iter();
    let columns = schema.columns.iter().zip(record.values).zip(&names.used);
    let columns = columns.map(|((column, &value), is_used)| {
        match if column.is_parsed() { parsed.next() } else { None } {
            _ if !is_used => null(),
            None => variable(value),
            Some(Parsed::Json(json)) => json_variable(json),
            Some(Parsed::Tags(tags)) => Variable::from(tags.clone()),
        }
    });
    columns.collect()
}

/// A column's value as a template sees it.
pub(super) fn variable(value: Value<'_>) -> Variable {
    match value {
        Value::Null => null(),
        Value::Integer(n) => Variable::from(n),
        Value::Real(x) => Variable::from(x),
        Value::Text(text) => Variable::from(text),
    }
}

/// A parsed JSON column as a template sees it.
pub(super) fn json_variable(json: &Json) -> Variable {
    match json {
        Json::Null => null(),
        Json::Bool(b) => Variable::from(*b),
        Json::Integer(digits) => {
            let long = |_| Variable::from_object(LongInteger(digits.clone()));
            digits.parse::<i128>().map_or_else(long, Variable::from)
        }
        Json::Real(x) => Variable::from(*x),
        Json::Text(text) => Variable::from(text.as_str()),
        Json::List(items) => items.iter().map(json_variable).collect::<Vec<_>>().into(),
        Json::Object(entries) => {
            Variable::from_pairs(entries.iter().map(|(key, value)| (key.as_str(), json_variable(value))))
        }
    }
}

fn null() -> Variable {
    static NULL: LazyLock<Variable> = LazyLock::new(|| Variable::from_object(Null));
    NULL.clone()
}

/// Whether it is nothing: a NULL of a row, or `none` as a template writes it.
pub(super) fn is_null(value: &Variable) -> bool {
    value.is_none() || value.downcast_object_ref::<Null>().is_some()
}
