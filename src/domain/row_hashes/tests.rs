//! Row hashes are read as they were written, or refused.

use proptest::prelude::*;

use super::*;

fn rows(count: u8) -> Vec<RowHashes> {
    (0..count)
        .map(|n| RowHashes {
            id: IdHash([n; 8]),
            text: TextHash([n; 16]),
            record: RecordHash([n ^ 0xff; 16]),
        })
        .collect()
}

fn file(rows: &[RowHashes]) -> Vec<u8> {
    [hashes_header(rows).to_vec(), row_bytes(rows)].concat()
}

#[test]
fn hashes_come_back_as_they_were_written() {
    for count in [0, 1, 200] {
        assert_eq!(parse_hashes(&file(&rows(count))).unwrap(), rows(count));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_hashes_is_noticed() {
    let whole = file(&rows(3));
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(parse_hashes(&flipped).is_err(), "byte {at} flipped");
        assert!(parse_hashes(&whole[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_header_that_claims_more_rows_than_memory_is_an_error_and_no_allocation() {
    let mut file = file(&rows(1));
    file[16..24].copy_from_slice(&u64::MAX.to_le_bytes());

    assert!(parse_hashes(&file).unwrap_err().to_string().contains("18446744073709551615 rows"));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_hashes_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        head in prop::sample::select(vec![&b""[..], b"RIDXHASH\x01\0\0\0\x28\0\0\0"]),
    ) {
        let bytes = [head, &bytes].concat();
        if let Ok(rows) = parse_hashes(&bytes) {
            prop_assert_eq!(file(&rows), bytes);
        }
    }

    #[test]
    fn rows_come_back_from_their_bytes_and_from_no_others(
        raw in prop::collection::vec(any::<[u8; ROW_BYTES]>(), 0..20),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let rows: Vec<RowHashes> = raw.iter().map(|row| row_of(row)).collect();
        let mut bytes = file(&rows);
        prop_assert_eq!(parse_hashes(&bytes).unwrap(), rows.clone());
        let at = at.index(bytes.len());
        prop_assume!(bytes[at] != byte);
        bytes[at] = byte;
        prop_assert!(parse_hashes(&bytes).is_err());
    }
}
