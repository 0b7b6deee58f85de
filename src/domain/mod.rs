//! The ground layer: types and rules of content, without the outside world.
//!
//! What a row, a document text, a hash, a manifest and a pass are, and the
//! codecs between bytes and those types. Nothing here knows files, sockets,
//! environment, clock or log.

pub(crate) mod build_summary;
pub(crate) mod document;
pub mod evaluate;
pub(crate) mod file_kind;
pub mod file_stamp;
pub mod manifest;
pub mod nearest;
// Not all of it has a caller yet: the scan and the pass take their part next.
#[allow(dead_code, reason = "offered to the scan and the pass")]
pub(crate) mod parallel;
pub mod pass;
pub(crate) mod python_json;
pub mod record;
pub mod request_extras;
pub mod row_hashes;
pub mod sent_texts;
pub mod sibling_path;
pub mod source_facts;
pub mod source_rules;
pub mod source_spec;
pub(crate) mod sqlite_uri;
pub mod stop;
pub mod text;
pub mod tokens;
