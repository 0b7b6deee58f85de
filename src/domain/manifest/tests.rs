//! Manifests are read as they were written, or refused.

use proptest::prelude::*;

use super::*;

/// A manifest as small as one can be.
fn manifest(dimension: usize) -> Manifest {
    let fact = r#"{"bytes": 1, "blake3": "00"}"#;
    let json = format!(
        r#"{{"format": 1, "id": "x", "sequence": 1, "created": "", "trigger": "", "adopted": false, "program": "",
        "faiss": "", "source": {{"database": "", "tagged": 1}}, "space": null, "scan_hash": null,
        "content_hash": null, "left_out": [], "files": {{"faiss.index": {fact}, "metadata.json": {fact},
        "hashes.bin": {fact}}}, "ntotal": 1, "dimension": {dimension}, "metric": "", "records": 1, "kept": 1,
        "embedded": 0, "metadata_only": 0, "removed": 0, "requests": 0, "took_ms": {{"snapshot": 0, "plan": 0,
        "embed": 0, "index": 0, "verify": 0, "total": 0}}, "previous": null}}"#
    );
    serde_json::from_str(&json).unwrap()
}

#[test]
fn a_manifest_comes_back_as_it_was_written_or_not_at_all() {
    let manifest = manifest(32);
    let whole = manifest.print();
    assert_eq!(Manifest::parse(&whole).unwrap(), manifest);
    for at in 0..whole.len() {
        assert!(Manifest::parse(&whole[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            // A newer format is not damage, and one bit makes none of format 1.
            let error = Manifest::parse(&flipped).expect_err(&format!("bit {bit} of byte {at}"));
            assert!(!matches!(error, ManifestError::Newer { .. }), "bit {bit} of byte {at}: {error}");
        }
    }
}

#[test]
fn a_manifest_without_a_checksum_is_damaged() {
    let without = serde_json::to_vec_pretty(&manifest(32)).unwrap();

    assert!(matches!(Manifest::parse(&without), Err(ManifestError::Checksum)));
}

#[test]
fn a_manifest_of_vectors_that_no_setting_allows_is_refused() {
    let error = Manifest::parse(&manifest(65_537).print()).unwrap_err();

    assert!(error.to_string().contains("65537 floats"), "{error}");
}

#[test]
fn a_manifest_of_a_later_format_is_refused_by_its_number() {
    let whole = String::from_utf8(manifest(32).print()).unwrap();
    let cases = [
        (r#"{"format": 2, "news": true}"#.to_owned(), "format 2 of another program"),
        (r#"{"format": 99, "program": "reindexd 9.0.0"}"#.to_owned(), "format 99 of reindexd 9.0.0"),
        (r#"{"format": 2, "program": ["of", "another", "kind"]}"#.to_owned(), "format 2 of another program"),
        (
            whole.replace("\"format\": 1", "\"format\": 2").replace("\"id\": \"x\"", "\"id\": \"y\""),
            "format 2 of",
        ),
    ];
    for (newer, expected) in cases {
        let error = Manifest::parse(newer.as_bytes()).unwrap_err();

        assert!(matches!(error, ManifestError::Newer { known: 1, .. }), "{newer}: {error}");
        assert!(error.to_string().contains(expected), "{newer}: {error}");
    }
    let zero = Manifest::parse(br#"{"format": 0}"#).unwrap_err();
    assert_eq!(zero.to_string(), "manifest has format 0, expected 1");
}

#[test]
fn a_manifest_of_texts_of_a_later_format_is_refused_and_not_another_space() {
    let space =
        Space { provider: "p".into(), model: "m".into(), dimension: 32, task_type: None, ..Space::default() };
    let whole = Manifest { space: Some(space), ..manifest(32) }.print();
    let text = String::from_utf8(whole.clone()).unwrap();
    assert_eq!(Manifest::parse(&whole).unwrap().print(), whole);
    assert!(text.contains("\"text_format\": 1"), "0.1.0 reads no space without it: {text}");
    let later = text.replace("\"text_format\": 1", "\"text_format\": 2");
    let beginning = later.split(CHECKSUM[0]).next().unwrap();

    let error = Manifest::parse((beginning.to_owned() + &checksum_suffix(beginning.as_bytes())).as_bytes());

    let error = error.unwrap_err();
    assert!(matches!(error, ManifestError::Newer { found: 2, known: 1, .. }), "{error}");
}

#[test]
fn a_manifest_of_another_build_is_refused_by_both_names() {
    assert_eq!(manifest(32).belongs_to("x").unwrap(), manifest(32));

    let error = manifest(32).belongs_to("y").unwrap_err();

    assert_eq!(error.to_string(), "manifest belongs to build x, expected y");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_a_manifest_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        head in prop::sample::select(vec![&b""[..], b"{\"format\": 1, "]),
    ) {
        prop_assert!(Manifest::parse(&[head, &bytes].concat()).is_err());
    }
}
