//! Counts are those of the whole, whatever the chunks; bytes of another kind are refused.

use proptest::prelude::*;

use super::*;

#[test]
fn records_are_counted_whatever_the_chunks() {
    let cases = [
        (r"[]", "0"),
        (r#"[{"a": 1}]"#, "1"),
        (r#"[{"a": "]}\"{["}, {"b": [1, {"c": {}}]}]"#, "2"),
        (r#"[{"a": "\\"}, {"b": 2}]"#, "2"),
        ("[{\"a\": -1.25e-3},\n {\"b\":\n true, \"c\":\n-0.5}]\n", "2"),
        (r#"[{"a": 1}"#, "a JSON array that does not end"),
        (r#"[{"a": Infinity}]"#, "record 1: expected value at line 1 column 7"),
        ("", "a JSON array that does not end"),
        ("[]]", "']' after record 0"),
        ("[{} {}]", "'{' after record 1"),
        ("[{},]", "']' after record 1"),
        ("[{}, 1]", "'1' after record 1"),
        ("[[]]", "'[' after record 0"),
        ("{}", "'{' after record 0"),
    ];
    for (json, expected) in cases {
        for size in 1..=json.len().max(1) {
            let mut counter = RecordCounter::default();
            json.as_bytes().chunks(size).for_each(|piece| counter.bytes(piece));
            assert_eq!(text_of(counter.finish()), expected, "{json} in pieces of {size}");
        }
    }
}

#[test]
fn vectors_that_are_not_of_unit_length_are_counted_whatever_the_chunks() {
    let rows: [[f32; 3]; 6] = [
        [1.0, 0.0, 0.0],
        [0.6, 0.8, 0.0],
        [0.6, 0.9, 0.0],
        [f32::NAN, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [f32::INFINITY, 0.0, 1.0],
    ];
    for dimension in [3, 30] {
        let mut file = vec![7; HEADER_BYTES];
        for row in &rows {
            file.extend(row.iter().flat_map(|x| x.to_le_bytes()));
            file.resize(file.len() + 4 * (dimension - row.len()), 0);
        }
        let parts = HEADER_BYTES..=file.len();
        for (part, size) in parts.flat_map(|part| [1, 2, 5, 12, part].map(|size| (part, size))) {
            let parts = file.chunks(part).enumerate().map(|(nth, bytes)| {
                let mut lengths = UnitLengths::at((nth * part) as u64, dimension);
                bytes.chunks(size).for_each(|piece| lengths.bytes(piece));
                lengths
            });
            assert_eq!(UnitLengths::wrong(parts.collect()), 4, "in parts of {part} and pieces of {size}");
        }
    }
}

fn text_of(counted: Result<u64, NotRecords>) -> String {
    counted.map_or_else(|error| error.to_string(), |records| records.to_string())
}

fn counted(pieces: &[&[u8]]) -> Result<u64, NotRecords> {
    let mut counter = RecordCounter::default();
    for piece in pieces {
        counter.bytes(piece);
    }
    counter.finish()
}

#[test]
fn a_record_without_end_is_not_held_in_memory() {
    let mut counter = RecordCounter::default();
    counter.bytes(b"[{\"a\": \"");
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..=MAX_RECORD_BYTES / piece.len() {
        counter.bytes(&piece);
    }
    assert!(counter.left.capacity() <= 2 * MAX_RECORD_BYTES);

    assert_eq!(text_of(counter.finish()), "record 1 is longer than 67108864 bytes");
}

/// Texts made of what JSON is made of, mostly whole and sometimes not.
fn text() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        r#""([a-z{}\[\],]|\\\\|\\"){0,8}""#,
        "-?[1-9][0-9]{0,3}",
        r"\[(1, )?\{\}\]",
    ];
    let record = prop::collection::vec(value, 0..4).prop_map(|values| {
        let members = values.iter().enumerate().map(|(nth, value)| format!("\"{nth}\": {value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
    });
    let separator = prop::sample::select(vec![", ", ", ", ",\n", ",,", " ", ""]);
    let array = (prop::collection::vec(record, 0..5), separator)
        .prop_map(|(records, separator)| format!("[{}]", records.join(separator)));
    let spoiled = (array.clone(), any::<prop::sample::Index>(), "[\\[\\]{}\", \\\\1x]?").prop_map(
        |(array, at, with)| {
            let at = at.index(array.len());
            format!("{}{with}{}", &array[..at], &array[at + 1..])
        },
    );
    prop_oneof![array, spoiled, r#"[\[\]{}", \\1:]{0,20}"#]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn records_are_counted_as_json_counts_them_whatever_the_pieces(
        text in text(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = serde_json::from_str::<Vec<serde_json::Map<String, serde_json::Value>>>(&text);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();

        let found = counted(&pieces);

        match whole {
            Ok(records) => prop_assert_eq!(found, Ok(records.len() as u64)),
            Err(error) => prop_assert!(found.is_err(), "{}: {:?} though {}", text, found, error),
        }
    }

    #[test]
    fn no_bytes_make_the_counters_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
        dimension in 0_usize..9,
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert!(!text_of(counted(&pieces)).is_empty());
        let mut lengths = UnitLengths::at(0, dimension);
        for piece in pieces {
            lengths.bytes(piece);
        }
        UnitLengths::wrong(vec![lengths]);
    }
}
