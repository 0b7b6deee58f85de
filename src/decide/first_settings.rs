//! The settings that a person would begin with for a table, from its columns alone.
//!
//! Pure. A guess for a person to read and change: the text is made of the
//! columns named like a title and a body, else of all that hold text.

/// Names of columns that a text begins with.
const TITLES: [&str; 6] = ["title", "name", "headline", "subject", "heading", "label"];
/// Names of columns that hold the most of a text.
const BODIES: [&str; 10] =
    ["body", "text", "content", "description", "abstract", "summary", "bio", "message", "notes", "comment"];
/// Names of columns that identify a row of a view, which declares no key.
const IDS: [&str; 5] = ["id", "rowid", "uuid", "key", "slug"];
/// Names that the language of templates takes, in lower case, and `chunk`, which means something else there.
const TEMPLATE_NAMES: [&str; 14] =
    ["and", "chunk", "elif", "else", "false", "if", "in", "is", "loop", "none", "not", "or", "self", "true"];
/// Columns of a text that nothing else is known about.
const MAX_COLUMNS: usize = 4;

/// A column of the table.
#[derive(Clone, Copy, Debug)]
pub struct DeclaredColumn<'a> {
    pub name: &'a str,
    /// As it was declared, such as `TEXT` or `VARCHAR(80)`; may be empty.
    pub kind: &'a str,
}

/// The columns of the id, from the declared key. A view declares none.
#[must_use]
pub fn id(columns: &[DeclaredColumn<'_>], declared: &[String], is_view: bool) -> Vec<String> {
    let named =
        || IDS.iter().find_map(|id| columns.iter().find(|column| column.name.eq_ignore_ascii_case(id)));
    match declared {
        [] if is_view => {
            vec![named().or(columns.first()).map_or("rowid", |column| column.name).to_owned()]
        }
        [] => vec!["rowid".to_owned()],
        declared => declared.to_vec(),
    }
}

/// The columns to publish: all but those that hold bytes.
#[must_use]
pub fn published<'a>(columns: &[DeclaredColumn<'a>]) -> Vec<&'a str> {
    columns.iter().filter(|column| !is_bytes(column)).map(|column| column.name).collect()
}

/// The template of the text to embed; `key`: the columns of the id, which say nothing.
#[must_use]
pub fn template(columns: &[DeclaredColumn<'_>], key: &[String]) -> String {
    let is_key = |name: &str| key.iter().any(|column| column.eq_ignore_ascii_case(name));
    let texts: Vec<&str> = columns
        .iter()
        .filter(|column| may_hold_text(column) && !is_key(column.name))
        .map(|column| column.name)
        .collect();
    let named = |names: &[&str]| {
        names.iter().find_map(|wanted| texts.iter().find(|text| text.eq_ignore_ascii_case(wanted)).copied())
    };
    let chosen: Vec<&str> = match (named(&TITLES), named(&BODIES)) {
        (None, None) => texts.iter().copied().take(MAX_COLUMNS).collect(),
        (title, body) => title.into_iter().chain(body).collect(),
    };
    let chosen =
        if chosen.is_empty() { columns.iter().map(|column| column.name).take(1).collect() } else { chosen };
    chosen.into_iter().map(variable).collect::<Vec<_>>().join("\n\n")
}

fn variable(name: &str) -> String {
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_';
    let is_identifier =
        name.starts_with(is_start) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_taken = TEMPLATE_NAMES.contains(&name.to_ascii_lowercase().as_str());
    if is_identifier && !is_taken { format!("{{{{ {name} }}}}") } else { format!("{{{{ row[{name:?}] }}}}") }
}

fn is_bytes(column: &DeclaredColumn<'_>) -> bool {
    column.kind.to_ascii_uppercase().contains("BLOB")
}

/// By SQLite's rules of affinity: what is declared as a number holds none.
fn may_hold_text(column: &DeclaredColumn<'_>) -> bool {
    let kind = column.kind.to_ascii_uppercase();
    ["CHAR", "CLOB", "TEXT"].iter().any(|part| kind.contains(part)) || kind.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_begins_with_a_title_and_goes_on_with_a_body() {
        let cases: [(&[(&str, &str)], &str); 6] = [
            (&[("id", "INTEGER"), ("body", "TEXT"), ("Title", "VARCHAR(80)")], "{{ Title }}\n\n{{ body }}"),
            (&[("id", "INTEGER"), ("name", "TEXT"), ("price", "REAL")], "{{ name }}"),
            (&[("id", "INTEGER"), ("a b", "TEXT"), ("c", "")], "{{ row[\"a b\"] }}\n\n{{ c }}"),
            (&[("id", "INTEGER"), ("x", "REAL")], "{{ id }}"),
            (&[("id", "TEXT"), ("image", "BLOB"), ("notes", "TEXT")], "{{ notes }}"),
            (
                &[("id", ""), ("a", ""), ("b", ""), ("c", ""), ("d", ""), ("e", "")],
                "{{ a }}\n\n{{ b }}\n\n{{ c }}\n\n{{ d }}",
            ),
        ];
        for (columns, expected) in cases {
            let columns: Vec<_> = columns.iter().map(|&(name, kind)| DeclaredColumn { name, kind }).collect();
            assert_eq!(template(&columns, &["id".to_owned()]), expected);
        }
    }

    #[test]
    fn a_name_that_means_something_in_a_template_is_written_as_text() {
        for (name, expected) in [
            ("if", "{{ row[\"if\"] }}"),
            ("Not", "{{ row[\"Not\"] }}"),
            ("chunk", "{{ row[\"chunk\"] }}"),
            ("iffy", "{{ iffy }}"),
        ] {
            assert_eq!(template(&[DeclaredColumn { name, kind: "TEXT" }], &[]), expected);
        }
    }

    #[test]
    fn a_view_is_identified_by_a_column_that_is_named_so() {
        let id_of = |columns: &[&str], declared: &[&str], is_view| {
            let columns: Vec<_> = columns.iter().map(|&name| DeclaredColumn { name, kind: "" }).collect();
            let declared: Vec<_> = declared.iter().map(|&name| name.to_owned()).collect();
            id(&columns, &declared, is_view)
        };
        assert_eq!(id_of(&["kind", "ID", "body"], &[], true), ["ID"]);
        assert_eq!(id_of(&["name", "slug", "uuid"], &[], true), ["uuid"]);
        assert_eq!(id_of(&["name", "body"], &[], true), ["name"]);
        assert_eq!(id_of(&["kind", "id"], &[], false), ["rowid"]);
        assert_eq!(id_of(&["kind", "id"], &["kind", "id"], false), ["kind", "id"]);
        assert_eq!(id_of(&[], &[], true), ["rowid"]);
    }

    #[test]
    fn columns_of_bytes_are_not_published() {
        let columns = [("id", "INTEGER"), ("image", "blob"), ("x", "")];
        let columns = columns.map(|(name, kind)| DeclaredColumn { name, kind });
        assert_eq!(published(&columns), ["id", "x"]);
    }
}
