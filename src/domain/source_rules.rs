//! What is read from the source, and what is made of each row: schema and document rules together.

use std::sync::{Arc, LazyLock};

use super::document::DocumentRules;
use super::record::Schema;

/// A schema with the rules for the text of its records.
#[derive(Debug, PartialEq)]
pub struct SourceRules {
    pub schema: Schema,
    pub document: DocumentRules,
}

impl SourceRules {
    /// What makes the same raw values another content: the schema and the template; nothing for the experts.
    #[must_use]
    pub fn scan_input(&self) -> Vec<u8> {
        let mut input = self.schema.digest_input.clone();
        if let DocumentRules::Template(rules) = &self.document {
            input.push(0);
            input.extend_from_slice(rules.template().source().as_bytes());
        }
        input
    }

    /// The rules of `ingest.py` for its table of experts.
    #[must_use]
    pub fn experts() -> Arc<Self> {
        static EXPERTS: LazyLock<Arc<SourceRules>> = LazyLock::new(|| {
            Arc::new(SourceRules { schema: Schema::experts(), document: DocumentRules::Experts })
        });
        Arc::clone(&EXPERTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::document::{ChunkSize, Template};
    use crate::domain::record::{
        Basis, ContentHasher, IdHash, RawValue, RecordHash, RowSource, ScanHasher, Space, TextHash, feed,
        id_hash,
    };
    use crate::domain::source_spec::{AnySource, ChunkSpec, ColumnSpec, FoundColumns};

    /// Stored in builds and compared with what a later version makes: another digest is another content.
    #[test]
    fn the_digests_of_a_source_of_settings_are_those_that_they_always_were() {
        let names = ["lang", "slug", "title", "tags", "body"];
        let source = AnySource {
            rows: RowSource::Table { name: "articles".to_owned(), filter: Some("published = 1".to_owned()) },
            id: vec!["lang".to_owned(), "slug".to_owned()],
            columns: [("lang", None, false), ("title", Some("Title"), false), ("tags", None, true)]
                .map(|(name, key, json)| ColumnSpec {
                    name: name.to_owned(),
                    key: key.map(str::to_owned),
                    json,
                })
                .to_vec(),
            template: Arc::new(Template::compile("{{ title }}\n{{ chunk }}").unwrap()),
            chunk: Some(ChunkSpec { column: "body".to_owned(), size: ChunkSize { size: 100, overlap: 10 } }),
        };
        let found = FoundColumns { names: names.map(str::to_owned).to_vec(), key: Vec::new() };
        let rules = source.resolve(&found).unwrap();
        let space = Space { provider: "p".into(), model: "m".into(), dimension: 8, ..Space::default() };
        let row = ["de", "a", "T", "[]", "Text"].map(|text| RawValue::Text(text.as_bytes()));
        let mut scan = ScanHasher::new(Basis::from(&space), &rules.scan_input());
        feed(&mut |bytes| scan.hash_chunk(bytes), row[0]);
        let mut content = ContentHasher::new(&space, &rules.schema.digest_input);
        content.record(id_hash(&rules.schema, &row, Some(1)), TextHash::of("x"), RecordHash::of(b"{}"));

        let found = [
            id_hash(&rules.schema, &row, Some(1)).to_string(),
            IdHash::of(row[0]).to_string(),
            scan.finish().to_string(),
            content.finish().to_string(),
        ];
        let input = r#"[["table","articles","published = 1"],["lang","slug"],[["lang","lang",false],["title","Title",false],["tags","tags",true]],["body",100,10]]"#;
        assert_eq!(String::from_utf8(rules.schema.digest_input.clone()).unwrap(), input);
        let expected = [
            "96d20616a85dbd36",
            "c963eb8c75f19762",
            "0f25ca92bd44b91c2d07156f44aa1c60e926e2bcee97808d2bad051654fdccd5",
            "69c2116f2eca6413e8d5a8f0d5d59265cdffd981c3ecccd2103da32f488bfb75",
        ];
        assert_eq!(found, expected);
    }
}
