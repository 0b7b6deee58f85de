//! How ids, columns and chunks of a source are written in the settings file.
//!
//! What they may say is checked in `source`.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::domain::source_spec::ColumnSpec;

/// The columns of an id as they are written: one name, or a list.
#[derive(Clone, Debug)]
pub struct WrittenId(pub(super) Vec<String>);

/// A column as it is written: a name, or a table of `name`, `key` and `json`.
#[derive(Clone, Debug)]
pub struct WrittenColumn(pub(super) ColumnSpec);

/// The chunks of a document as they are written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenChunk {
    pub(super) column: String,
    pub(super) size: i64,
    #[serde(default)]
    pub(super) overlap: i64,
}

impl<'de> Deserialize<'de> for WrittenId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct IdVisitor;
        impl<'de> Visitor<'de> for IdVisitor {
            type Value = WrittenId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a column, or a list of names")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<WrittenId, E> {
                Ok(WrittenId(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<WrittenId, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(WrittenId(names))
            }
        }
        from.deserialize_any(IdVisitor)
    }
}

impl<'de> Deserialize<'de> for WrittenColumn {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct ColumnTable {
            name: String,
            key: Option<String>,
            #[serde(default)]
            json: bool,
        }

        struct ColumnVisitor;
        impl<'de> Visitor<'de> for ColumnVisitor {
            type Value = WrittenColumn;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a column, or a table of name, key and json")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<WrittenColumn, E> {
                Ok(WrittenColumn(ColumnSpec { name: name.to_owned(), key: None, json: false }))
            }

            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<WrittenColumn, A::Error> {
                let ColumnTable { name, key, json } =
                    ColumnTable::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                Ok(WrittenColumn(ColumnSpec { name, key, json }))
            }
        }
        from.deserialize_any(ColumnVisitor)
    }
}
