//! What a build was made from, as its manifest states it, and what differs from that now.
//!
//! Digests and names, never the settings themselves: enough to say which part
//! of them another build was made with. Rows are not compared here.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::document::{DocumentRules, TemplateRules};
use super::record::RowSource;
use super::source_rules::SourceRules;
use super::tokens::TokenLimit;

/// Hexadecimal digits of a digest: these are compared, and nothing is looked up by them.
const DIGEST_DIGITS: usize = 16;

/// What is read and how texts are made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesFacts {
    /// The table or view; `None` for a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The SELECT, where it is not a table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// Digest of what is read and published: table or query, condition, id, columns, keys and chunks. None
    /// for the preset of the experts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Digest of the template. None for the preset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Which column is cut into chunks, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk: Option<ChunkFacts>,
    /// What is done with long texts, where that is not what the model does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub too_long: Option<LimitFacts>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkFacts {
    pub column: String,
    pub size: u64,
    pub overlap: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitFacts {
    pub max_tokens: u64,
    /// As the settings write it.
    pub then: String,
}

/// A part of the settings that another build was made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RulesChange {
    /// Another table, view or query.
    Rows,
    /// Condition, id, columns or keys; not named where table, query or chunks differ as well.
    Schema,
    Template,
    Chunk,
    /// Limit and treatment of long texts.
    TooLong,
}

impl RulesFacts {
    /// The facts of these rules.
    #[must_use]
    pub fn of(rules: &SourceRules, limit: Option<TokenLimit>) -> Self {
        let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex()[..DIGEST_DIGITS].to_owned();
        let (table, query) = match &rules.schema.rows {
            RowSource::Table { name, .. } => (Some(name.clone()), None),
            RowSource::Query(query) => (None, Some(query.trim().to_owned())),
        };
        let template = match &rules.document {
            DocumentRules::Experts => None,
            DocumentRules::Template(rules) => Some(rules),
        };
        let chunk = template.and_then(TemplateRules::chunk).map(|(column, size)| ChunkFacts {
            column: rules.schema.columns[column].name.clone(),
            size: size.size as u64,
            overlap: size.overlap as u64,
        });
        Self {
            table,
            query,
            schema: (!rules.schema.is_experts()).then(|| digest(&rules.schema.digest_input)),
            template: template.map(|rules| digest(rules.template().source().as_bytes())),
            chunk,
            too_long: limit.map(|limit| LimitFacts {
                max_tokens: limit.max_tokens,
                then: limit.too_long.name().to_owned(),
            }),
        }
    }

    /// What is another now than in the build `before`, in this order.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> Vec<RulesChange> {
        let is_other_source = (&self.table, &self.query) != (&before.table, &before.query);
        let is_other_chunk = self.chunk != before.chunk;
        // The digest of the schema covers both.
        let is_other_schema = !is_other_source && !is_other_chunk && self.schema != before.schema;
        [
            (is_other_source, RulesChange::Rows),
            (is_other_schema, RulesChange::Schema),
            (self.template != before.template, RulesChange::Template),
            (is_other_chunk, RulesChange::Chunk),
            (self.too_long != before.too_long, RulesChange::TooLong),
        ]
        .into_iter()
        .filter_map(|(is_other, change)| is_other.then_some(change))
        .collect()
    }
}

impl RulesChange {
    /// Whether it makes other texts of the same rows.
    #[must_use]
    pub fn is_about_texts(self) -> bool {
        match self {
            Self::Rows | Self::Schema => false,
            Self::Template | Self::Chunk | Self::TooLong => true,
        }
    }
}

impl fmt::Display for RulesChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rows => "the table or query changed",
            Self::Schema => "the schema changed: condition, id, columns or keys",
            Self::Template => "the template changed",
            Self::Chunk => "the chunk settings changed",
            Self::TooLong => "what is done with long texts changed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tokens::TooLong;

    fn facts() -> RulesFacts {
        let digest = |digit: &str| Some(digit.repeat(DIGEST_DIGITS));
        RulesFacts {
            table: Some("t".to_owned()),
            schema: digest("1"),
            template: digest("2"),
            ..RulesFacts::default()
        }
    }

    #[test]
    fn each_part_that_differs_is_named_and_no_other() {
        let chunk = ChunkFacts { column: "body".to_owned(), size: 9, overlap: 0 };
        let limit = LimitFacts { max_tokens: 9, then: "cut".to_owned() };
        let cases: [(RulesFacts, &[RulesChange]); 7] = [
            (facts(), &[]),
            (RulesFacts { table: Some("u".to_owned()), schema: None, ..facts() }, &[RulesChange::Rows]),
            (RulesFacts { table: None, query: Some("SELECT 1".to_owned()), ..facts() }, &[RulesChange::Rows]),
            (RulesFacts { schema: None, ..facts() }, &[RulesChange::Schema]),
            (RulesFacts { template: None, ..facts() }, &[RulesChange::Template]),
            (RulesFacts { chunk: Some(chunk), ..facts() }, &[RulesChange::Chunk]),
            (
                RulesFacts { template: None, too_long: Some(limit), ..facts() },
                &[RulesChange::Template, RulesChange::TooLong],
            ),
        ];
        for (now, expected) in cases {
            assert_eq!(now.changes_since(&facts()), expected, "{now:?}");
            assert_eq!(facts().changes_since(&now), expected, "{now:?}");
        }
    }

    #[test]
    fn the_preset_is_its_table_and_nothing_else() {
        let preset = RulesFacts::of(&SourceRules::experts(), None);
        assert_eq!(preset, RulesFacts { table: Some("experts".to_owned()), ..RulesFacts::default() });
        let limit = TokenLimit { max_tokens: 7, too_long: TooLong::Cut };
        let limited = RulesFacts::of(&SourceRules::experts(), Some(limit));
        assert_eq!(limited.changes_since(&preset), [RulesChange::TooLong]);
    }
}
