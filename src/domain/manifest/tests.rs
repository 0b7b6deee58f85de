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
            // Without its name the checksum is not known, and what it is of is as it was.
            let found = Manifest::parse(&flipped);
            assert!(found.is_err() || found.unwrap() == manifest, "bit {bit} of byte {at}");
        }
    }
}

#[test]
fn a_manifest_without_a_checksum_is_one_of_an_earlier_program() {
    let earlier = serde_json::to_vec_pretty(&manifest(32)).unwrap();

    assert_eq!(Manifest::parse(&earlier).unwrap(), manifest(32));
}

#[test]
fn a_manifest_of_vectors_that_no_setting_allows_is_refused() {
    let error = Manifest::parse(&manifest(65_537).print()).unwrap_err();

    assert!(error.to_string().contains("65537 floats"), "{error}");
}

#[test]
fn a_manifest_of_a_later_format_is_refused_by_its_number() {
    let error = Manifest::parse(br#"{"format": 2, "news": true}"#).unwrap_err();

    assert_eq!(error.to_string(), "manifest has format 2, expected 1");
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
