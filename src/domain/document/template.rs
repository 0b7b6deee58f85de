//! A document text made by a `MiniJinja` template of the columns of a row.
//!
//! A template is compiled once and is strict: a name that names nothing is
//! an error, never an empty text. NULL prints as nothing, everything else as it
//! stands in the metadata. Time and size of a rendering are bounded, so that no
//! value of a row can hold up a scan.

use std::fmt;

use minijinja::value::{Value as Variable, ValueKind};
use minijinja::{Environment, ErrorKind, Output, State, UndefinedBehavior};

use super::template_code::symbols;
use super::variables::{TextVariables, is_null};
use crate::domain::python_json::{MAX_RECORD_BYTES, PyFloat};
use crate::domain::text::is_python_space;

/// The setting, and the name under which the one template of an environment stands.
pub(super) const SETTING: &str = "document.template";
/// Steps of one rendering: an instruction is one, and so are 64 bytes that are read or written. A loop
/// over a thousand items takes some ten thousand.
const FUEL: u64 = 4_000_000;

/// A compiled template.
pub struct Template {
    environment: Environment<'static>,
    source: String,
}

impl Template {
    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// A sentence with the line of the first error of syntax.
    pub fn compile(source: &str) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        environment.set_formatter(format);
        environment.add_filter("strip", strip);
        environment.add_test("none", is_null);
        environment.add_template_owned(SETTING, source.to_owned()).map_err(|error| explain(&error))?;
        if compares_with_none(source) {
            return Err(
                "a comparison with none by == or !=, expected \"is none\" or \"is not none\"".to_owned()
            );
        }
        Ok(Self { environment, source: source.to_owned() })
    }

    /// The template as it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The names that it reads and does not assign, sorted: columns, `row`, `chunk` and functions.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let template = self.environment.get_template(SETTING).expect("it was added when this was made");
        let mut names: Vec<_> = template.undeclared_variables(false).into_iter().collect();
        names.sort();
        names
    }

    /// Whether its code has this name, though it may be that of a variable of its own.
    #[must_use]
    pub fn mentions(&self, name: &str) -> bool {
        symbols(&self.source).contains(&name)
    }

    /// The names that it reads of what is given to it: columns, in whatever case, `row` and `chunk`.
    pub(super) fn variables(&self) -> impl Iterator<Item = String> {
        self.names().into_iter().filter(|name| !self.has_function(name))
    }

    /// Whether a name that is not a column names a function, such as `range`.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.environment.globals().any(|(function, _)| function == name)
    }

    /// Appends the text for one row or chunk.
    ///
    /// # Errors
    ///
    /// A sentence about what could not be rendered.
    pub(super) fn render(&self, variables: TextVariables, out: &mut String) -> Result<(), String> {
        let template = self.environment.get_template(SETTING).expect("it was added when this was made");
        let text = template.render(Variable::from_object(variables)).map_err(|error| explain(&error))?;
        if text.len() > MAX_RECORD_BYTES {
            return Err(format!("a text of {} bytes, expected at most {MAX_RECORD_BYTES}", text.len()));
        }
        out.push_str(&text);
        Ok(())
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Template").field(&self.source).finish()
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Prints a value as it stands in the metadata; NULL as nothing.
fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Variable) -> Result<(), minijinja::Error> {
    match value.kind() {
        _ if is_null(value) => Ok(()),
        ValueKind::Undefined => {
            Err(minijinja::Error::new(ErrorKind::UndefinedError, "a name that has no value"))
        }
        ValueKind::Bool | ValueKind::Number | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let mut printed = String::new();
            print_json(value, &mut printed)?;
            Ok(out.write_str(&printed)?)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Prints a value as JSON, the way Python does.
fn print_json(value: &Variable, out: &mut String) -> Result<(), minijinja::Error> {
    match value.kind() {
        _ if is_null(value) => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number if !value.is_integer() => {
            let x = f64::try_from(value.clone())?;
            // A template may divide by zero.
            out.push_str(&if x.is_finite() { PyFloat(x).to_string() } else { x.to_string() });
        }
        ValueKind::Seq | ValueKind::Iterable => {
            out.push('[');
            for (at, item) in value.try_iter()?.enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                print_json(&item, out)?;
            }
            out.push(']');
        }
        ValueKind::Map => {
            out.push('{');
            for (at, key) in value.try_iter()?.enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                print_json(&key, out)?;
                out.push_str(": ");
                print_json(&value.get_item(&key)?, out)?;
            }
            out.push('}');
        }
        ValueKind::String => {
            out.push_str(&serde_json::to_string(value.as_str().unwrap_or_default()).unwrap_or_default());
        }
        _ => out.push_str(&value.to_string()),
    }
    Ok(())
}

/// Python's `str.strip`, which takes more characters for white space than `trim`. What is not a text is
/// stripped as it prints.
fn strip(
    state: &mut State<'_, '_>,
    value: &Variable,
    characters: Option<&str>,
) -> Result<String, minijinja::Error> {
    let printed = match value.as_str() {
        Some(_) => None,
        None => Some(state.format(value.clone())?),
    };
    let text = printed.as_deref().or_else(|| value.as_str()).unwrap_or_default();
    Ok(match characters {
        None => text.trim_matches(is_python_space).to_owned(),
        Some(characters) => text.trim_matches(|c| characters.contains(c)).to_owned(),
    })
}

/// A NULL is not `none` as `MiniJinja` has it, so that such a comparison would always have the same result.
fn compares_with_none(source: &str) -> bool {
    let is_none = |name: &str| ["none", "None"].contains(&name);
    let is_sign = |sign: &str| ["==", "!="].contains(&sign);
    symbols(source)
        .windows(2)
        .any(|two| (is_sign(two[0]) && is_none(two[1])) || (is_none(two[0]) && is_sign(two[1])))
}

/// What is wrong with a template, without a line of it.
fn explain(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = match error.kind() {
        ErrorKind::OutOfFuel => format!("takes more than {FUEL} steps"),
        kind => error.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    format!("{line}{detail}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::variables::{ColumnNames, json_variable, variable};
    use super::*;
    use crate::domain::python_json::parse_json;
    use crate::domain::record::Value;

    fn rendered(source: &str, columns: &[(&str, Variable)]) -> Result<String, String> {
        let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
        let values: Arc<[Variable]> = columns.iter().map(|(_, value)| value.clone()).collect();
        let mut out = String::new();
        let template = Template::compile(source)?;
        let names = ColumnNames::new(&names, template.variables(), |name| template.mentions(name));
        template.render(TextVariables::new(&names, values, Some("a chunk")), &mut out)?;
        Ok(out)
    }

    fn columns() -> Vec<(&'static str, Variable)> {
        vec![
            ("title", variable(Value::Text("A \"title\" <b>"))),
            ("none", variable(Value::Null)),
            ("rate", variable(Value::Real(1e16))),
            ("whole", variable(Value::Real(100.0))),
            ("count", variable(Value::Integer(-3))),
            ("a name", variable(Value::Text(" \u{1c}spaced\n"))),
            ("tags", json_variable(&parse_json(r#"["a", null, 1.0, {"k": true}]"#).unwrap())),
            ("big", json_variable(&parse_json("123456789012345678901234567890").unwrap())),
        ]
    }

    #[test]
    fn values_print_as_they_stand_in_the_metadata() {
        let cases = [
            ("{{ title }}", r#"A "title" <b>"#),
            ("[{{ none }}]", "[]"),
            ("{{ rate }} {{ whole }} {{ count }}", "1e+16 100.0 -3"),
            ("{{ big }}", "123456789012345678901234567890"),
            ("{{ tags }}", r#"["a", null, 1.0, {"k": true}]"#),
            ("{% for tag in tags[:1] %}{{ tag }}.{% endfor %}", "a."),
            ("{{ row['a name']|strip }}", "spaced"),
            ("{{ '--x-'|strip('-') }}", "x"),
            ("{% if none %}yes{% else %}no{% endif %}", "no"),
            ("{{ chunk }}", "a chunk"),
            ("{{ none or title|upper }}", r#"A "TITLE" <B>"#),
            ("{% set t = title %}{{ t|length }}\n", "13"),
        ];
        for (source, expected) in cases {
            assert_eq!(rendered(source, &columns()).as_deref(), Ok(expected), "{source}");
        }
    }

    #[test]
    fn what_cannot_be_rendered_says_why_and_where() {
        let long = "x".repeat(1 << 20);
        let mut columns = columns();
        columns.push(("long", Variable::from(long)));
        let cases = [
            ("a\n{{ title", "line 2: syntax error"),
            ("{{ titel }}", "line 1: undefined value"),
            ("{{ row.titel }}", "line 1: undefined value"),
            ("{{ title|nofilter }}", "line 1: unknown filter"),
            ("{{ title + 1 }}", "line 1: invalid operation"),
            ("{% if none != title %}{% endif %}", "a comparison with none by == or !="),
            (
                "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
                "takes more than",
            ),
            ("{% for a in range(100) %}{{ long }}{% endfor %}", "a text of 104857600 bytes"),
            ("{% for a in range(900) %}{{ long }}{% endfor %}", "takes more than"),
        ];
        for (source, expected) in cases {
            let found = rendered(source, &columns).unwrap_err();
            assert!(found.contains(expected), "{source}: {found}");
        }
    }

    #[test]
    fn the_names_that_a_template_needs_are_known_before_a_row() {
        let names = |source| Template::compile(source).unwrap().names();
        assert_eq!(
            names("{{ b }}{% set c = a %}{{ c }}{% for x in range(3) %}{{ x }}{% endfor %}"),
            ["a", "b", "range"]
        );
        let assigned = Template::compile("{% set a = a|strip %}{{ a }}").unwrap();
        assert_eq!((assigned.names().len(), assigned.mentions("a")), (0, true));
        assert_eq!(names("{{ row['x y'] }} {{ chunk }}"), ["chunk", "row"]);
        assert_eq!(names("plain"), [""; 0]);
    }
}
