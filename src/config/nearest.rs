//! The nearest known key to an unknown one.
//!
//! A typing error is answered with the key that was meant, a name that another
//! program uses with the name it has here, anything else with the known names.
//! How near is near enough is decided in `domain::nearest`.

use super::keys::{DIRECTORY, SECTIONS, Section};
use crate::domain::nearest::closest;
use crate::domain::text;

/// Names from other programs, and what they are called here.
const ALIASES: [(&str, &str); 13] = [
    ("api_key", "embedding.api_key_file; the API key itself is never in the settings"),
    ("key", "embedding.api_key_file; the API key itself is never in the settings"),
    ("database_url", "source.database"),
    ("path", "source.database, publish.index or publish.metadata"),
    ("faiss_index_path", "publish.index"),
    ("metadata_path", "publish.metadata"),
    ("embedding_model", "embedding.model"),
    ("output_dim", "embedding.dimension"),
    ("dimensions", "embedding.dimension"),
    ("ingest_batch_size", "embedding.batch_size"),
    ("debounce", "trigger.quiet"),
    ("url", "embedding.base_url, or post in [[announce]]"),
    ("token", "token_file in [[announce]]; the token itself is never in the settings"),
];

/// The hint for `unknown`: a key with its section, or a section.
pub(super) fn hint(unknown: &str) -> String {
    let (section, key) =
        unknown.split_once('.').map_or((None, unknown), |(section, key)| (Some(section), key));
    let Some(section) = section.and_then(|name| SECTIONS.iter().find(|known| known.name == name)) else {
        return section_hint(key);
    };
    let keys = names(section);
    if let Some(name) = closest(key, &keys) {
        return format!("the nearest known key is {}.{name}", section.name);
    }
    elsewhere(key).unwrap_or_else(|| format!("[{}] takes {}", section.name, keys.join(", ")))
}

fn names(section: &Section) -> Vec<&'static str> {
    section.keys.iter().map(|key| key.name).collect()
}

/// A key for a message: escaped, and cut if it is long.
pub(super) fn printable(key: &str) -> String {
    text::literal(key, 80)
}

fn section_hint(name: &str) -> String {
    let sections = SECTIONS.map(|section| section.name);
    if closest(name, &[DIRECTORY.name]).is_some() {
        return format!("the nearest known key is {}, at the top of the file", DIRECTORY.name);
    }
    if let Some(section) = closest(name, &sections) {
        return format!("the nearest known section is [{section}]");
    }
    elsewhere(name).unwrap_or_else(|| format!("known sections are {}", sections.join(", ")))
}

/// A key that is known in another section, or by another name.
fn elsewhere(key: &str) -> Option<String> {
    let key = key.to_lowercase();
    if key == DIRECTORY.name {
        return Some(format!("it stands at the top of the file, before every section: {key}"));
    }
    if let Some((_, here)) = ALIASES.iter().find(|(name, _)| *name == key) {
        return Some(format!("here it is {here}"));
    }
    let section = SECTIONS.iter().find(|section| section.has(&key))?.name;
    Some(format!("it belongs to [{section}]: {section}.{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_answered_with_the_one_that_was_meant() {
        for (unknown, expected) in [
            ("trigger.quite", "nearest known key is trigger.quiet"),
            ("trigger.max-wait", "nearest known key is trigger.max_wait"),
            ("direktory", "nearest known key is directory, at the top of the file"),
            ("log.directory", "at the top of the file, before every section: directory"),
            ("trigger.Quiet", "nearest known key is trigger.quiet"),
            ("trigger.poll_intervall", "nearest known key is trigger.poll_interval"),
            ("embedding.dimensions", "nearest known key is embedding.dimension"),
            ("embedding.api_key", "embedding.api_key_file; the API key itself"),
            ("embedding.OUTPUT_DIM", "here it is embedding.dimension"),
            ("source.path", "here it is source.database"),
            ("source.keep", "it belongs to [publish]: publish.keep"),
            ("guard.nonsense", "[guard] takes max_shrink, max_texts, quarantine, max_rows, max_scan"),
            ("triger", "nearest known section is [trigger]"),
            ("embeddings", "nearest known section is [embedding]"),
            ("quiet", "it belongs to [trigger]: trigger.quiet"),
            ("database_url", "here it is source.database"),
            ("prometheus", "known sections are source, document"),
        ] {
            let hint = hint(unknown);
            assert!(hint.contains(expected), "{unknown}: {hint}");
        }
    }

    #[test]
    fn a_hostile_key_cannot_flood_or_forge_a_line() {
        let key = format!("trigger.\n{}", "x".repeat(100_000));
        assert!(hint(&key).len() < 200);
        assert!(printable(&key).len() < 100 && !printable(&key).contains('\n'));
    }
}
