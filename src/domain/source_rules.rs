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
