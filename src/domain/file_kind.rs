//! What kind of file some bytes begin, for a message: its contents may be a key, or another's.
//!
//! A file that is not what it should be is never quoted.

/// What the first bytes of a file say that it is, with an article.
#[must_use]
pub(crate) fn kind_of(head: &[u8]) -> &'static str {
    const KINDS: [(&[u8], &str); 12] = [
        (b"\x1f\x8b", "a gzip file"),
        (b"BZh", "a bzip2 file"),
        (b"\xfd7zXZ\0", "an xz file"),
        (b"\x28\xb5\x2f\xfd", "a zstd file"),
        (b"PK\x03\x04", "a zip file"),
        (b"\x7fELF", "a program"),
        (b"#!", "a script"),
        (b"%PDF", "a PDF file"),
        (b"SQLite format 3\0", "a SQLite database"),
        (b"IxFI", "a Faiss index"),
        (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
        (b"\xff\xfe", "text as UTF-16"),
    ];
    if head.is_empty() {
        return "an empty file";
    }
    if let Some((_, kind)) = KINDS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return kind;
    }
    if head.iter().all(|&byte| byte == 0) {
        return "a file of zeros";
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        // A character may be cut where reading ended.
        Err(error) if error.error_len().is_none() => std::str::from_utf8(&head[..error.valid_up_to()]).ok(),
        Err(_) => None,
    };
    let is_text =
        text.is_some_and(|text| !text.chars().any(|char| char.is_control() && !char.is_whitespace()));
    if is_text { "text" } else { "a file of an unknown kind" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_kind_is_named_by_the_first_bytes() {
        for (head, kind) in [
            (&b""[..], "an empty file"),
            (b"\x1f\x8b\x08", "a gzip file"),
            (b"\x7fELF\x02", "a program"),
            (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
            (b"AIza-secret", "text"),
            ("caf\u{e9}".as_bytes(), "text"),
            (&"caf\u{e9}".as_bytes()[..4], "text"),
            (&[0; 16], "a file of zeros"),
            (&[7; 16], "a file of an unknown kind"),
            (b"\xe9t\xe9", "a file of an unknown kind"),
        ] {
            assert_eq!(kind_of(head), kind, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(head in prop::collection::vec(any::<u8>(), 0..40)) {
            prop_assert!(!kind_of(&head).is_empty());
        }
    }
}
