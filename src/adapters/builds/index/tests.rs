//! What is streamed equals what Faiss writes, and what is not a flat index is refused.

use proptest::prelude::*;

use super::*;

fn unit(seed: u32, dimension: usize) -> Vec<f32> {
    let raw: Vec<f32> = (0..dimension).map(|n| ((n as u32 * 37 + seed * 101) % 97) as f32 - 48.0).collect();
    let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
    raw.iter().map(|x| x / norm).collect()
}

/// A file as `builds` streams it.
fn streamed(path: &Path, vectors: &[Vec<f32>], dimension: usize) {
    write_empty(path, dimension).unwrap();
    let mut file = header_for(&std::fs::read(path).unwrap(), vectors.len() as u64, path).unwrap().to_vec();
    file.extend(vectors.iter().flatten().flat_map(|x| x.to_le_bytes()));
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_streamed_index_is_byte_for_byte_what_faiss_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    for (rows, dimension) in [(1, 1), (3, 7), (50, 384)] {
        let vectors: Vec<_> = (0..rows).map(|row| unit(row, dimension)).collect();
        let mut index = FlatIndex::new_ip(dimension as u32).unwrap();
        index.add(&vectors.concat()).unwrap();
        faiss::write_index(&index, theirs.to_str().unwrap()).unwrap();

        streamed(&ours, &vectors, dimension);

        assert!(std::fs::read(&ours).unwrap() == std::fs::read(&theirs).unwrap(), "{rows} x {dimension}");
    }
}

#[test]
fn a_mapped_index_finds_each_of_its_rows_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let vectors: Vec<_> = (0..20).map(|row| unit(row, 33)).collect();
    streamed(&path, &vectors, 33);

    let index = MappedIndex::map(&path).unwrap();

    assert_eq!(index.header, IndexHeader { dimension: 33, ntotal: 20, inner_product: true });
    for (row, vector) in vectors.iter().enumerate() {
        assert_eq!(index.search(vector, 3, &path).unwrap()[0].row, row);
    }
    assert_eq!(index.search(&vectors[0], 99, &path).unwrap().len(), 20);
}

#[test]
fn non_flat_index_is_refused_before_faiss_reads_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    streamed(&path, &[unit(1, 4), unit(2, 4)], 4);
    let whole = std::fs::read(&path).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut out = whole.clone();
        out[at..at + bytes.len()].copy_from_slice(bytes);
        out
    };
    let cases = [
        ("cut", whole[..whole.len() - 1].to_vec()),
        ("longer", [&whole[..], b"x"].concat()),
        ("empty", Vec::new()),
        ("other magic", with(0, b"IwFl")),
        ("huge ntotal", with(8, &i64::MAX.to_le_bytes())),
        ("huge dimension", with(4, &u32::MAX.to_le_bytes())),
        ("no dimension", with(4, &0_u32.to_le_bytes())),
    ];
    for (what, bytes) in cases {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(MappedIndex::map(&path), Err(IndexError::Shape { .. })), "{what}");
    }
}

proptest! {
    #[test]
    fn a_header_is_taken_only_where_the_file_is_as_long_as_it_says(
        dimension in prop_oneof![0_u32..5, any::<u32>()],
        ntotal in prop_oneof![0_u64..5, any::<u64>()],
        floats in prop_oneof![0_u64..20, any::<u64>()],
        bytes in prop_oneof![0_u64..200, any::<u64>()],
        length in 0..=HEADER_BYTES,
        honest in any::<bool>(),
        longer in 0_u64..2,
    ) {
        let (floats, bytes) = match ntotal.checked_mul(u64::from(dimension)) {
            Some(floats) if honest && floats < 1 << 60 => (floats, 45 + 4 * floats + longer),
            _ => (floats, bytes),
        };
        let mut head = vec![0; HEADER_BYTES];
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&dimension.to_le_bytes());
        head[8..16].copy_from_slice(&ntotal.to_le_bytes());
        head[37..45].copy_from_slice(&floats.to_le_bytes());

        let whole = parse(&head, bytes, Path::new("x"));

        prop_assert!(parse(&head[..length], bytes, Path::new("x")).is_err() || length == HEADER_BYTES);
        let all = u128::from(ntotal) * u128::from(dimension);
        let fits = dimension > 0 && u128::from(floats) == all && u128::from(bytes) == 45 + 4 * all;
        prop_assert_eq!(whole.is_ok(), fits);
    }

    #[test]
    fn no_bytes_make_the_reader_of_headers_panic(
        head in prop::collection::vec(any::<u8>(), 0..60),
        bytes in any::<u64>(),
    ) {
        parse(&head, bytes, Path::new("x")).ok();
    }
}
