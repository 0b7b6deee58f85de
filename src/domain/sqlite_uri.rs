//! SQLite's `file:` addresses, which name a database and how to open it.
//!
//! The bytes of the path come back from the address unchanged, whatever they
//! are. Which parameters are used is the caller's choice.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use percent_encoding::percent_encode_byte;

/// The address of a file with parameters such as `mode=ro`.
///
/// SQLite reads `?`, `#` and `%` in an address as its own, so that they are
/// written as escapes; every other byte stands for itself.
pub(crate) fn uri(path: &Path, parameters: &str) -> OsString {
    let mut out = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => out.extend_from_slice(percent_encode_byte(byte).as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'?');
    out.extend_from_slice(parameters.as_bytes());
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bytes_that_mean_something_in_an_address_are_escaped() {
        let cases = [
            ("/data/a.db", "file:/data/a.db?mode=ro"),
            ("data/a b.db", "file:data/a b.db?mode=ro"),
            ("/what?/50%#1.db", "file:/what%3F/50%25%231.db?mode=ro"),
        ];
        for (path, expected) in cases {
            assert_eq!(uri(Path::new(path), "mode=ro"), expected);
        }
    }

    /// What SQLite makes of an address: escapes resolved up to the first `?` or `#`.
    fn as_sqlite_reads(address: &[u8]) -> Vec<u8> {
        let rest = address.strip_prefix(b"file:").unwrap();
        let mut out = Vec::new();
        let mut bytes = rest.iter().copied().take_while(|byte| !b"?#".contains(byte));
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                out.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        out
    }

    proptest! {
        #[test]
        fn an_address_leads_back_to_its_file(path in prop::collection::vec(1_u8.., 1..30)) {
            let address = uri(Path::new(std::ffi::OsStr::from_bytes(&path)), "mode=ro");
            prop_assert_eq!(as_sqlite_reads(address.as_bytes()), path);
            prop_assert!(address.as_bytes().ends_with(b"?mode=ro"));
        }
    }
}
