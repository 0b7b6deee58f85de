//! The ground layer: types and rules of content, without the outside world.
//!
//! What a row, a document text, a hash, a manifest and a pass are, and the
//! codecs between bytes and those types. Nothing here knows files, sockets,
//! environment, clock or log.

pub mod document;
pub mod file_stamp;
pub mod manifest;
pub(crate) mod parallel;
pub mod pass;
pub mod python_json;
pub mod record;
pub mod sqlite_uri;
pub mod stop;
pub mod text;
