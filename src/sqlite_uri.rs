//! SQLite's `file:` addresses, by which a connection is told how to open.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The address of a file with parameters such as `mode=ro`.
///
/// SQLite reads `?`, `#` and `%` in an address as its own, so that they are
/// written as escapes; every other byte stands for itself.
#[must_use]
pub fn uri(path: &Path, parameters: &str) -> OsString {
    let mut out = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => out.extend_from_slice(format!("%{byte:02x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'?');
    out.extend_from_slice(parameters.as_bytes());
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_mean_something_in_an_address_are_escaped() {
        let cases = [
            ("/data/a.db", "file:/data/a.db?mode=ro"),
            ("data/a b.db", "file:data/a b.db?mode=ro"),
            ("/what?/50%#1.db", "file:/what%3f/50%25%231.db?mode=ro"),
        ];
        for (path, expected) in cases {
            assert_eq!(uri(Path::new(path), "mode=ro"), expected);
        }
    }
}
