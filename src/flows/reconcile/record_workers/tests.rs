//! Order and completeness of what the workers give back.

use super::*;
use crate::domain::record::{RawValue, expert};

fn nulls() -> Vec<RawValue<'static>> {
    vec![RawValue::Null; Schema::experts().width()]
}

fn ids_after(rows: i64, bio: &str) -> Vec<String> {
    let mut taken = Vec::new();
    let mut sink = |row: Row<'_>, result: Result<EncodedRow<'_>, RowError>| -> Result<(), ()> {
        taken.push(match result {
            Ok(encoded) => {
                let pieces: Vec<_> = encoded.pieces().collect();
                let [piece] = pieces.as_slice() else { panic!("{}", pieces.len()) };
                let json = [encoded.members, piece.ending.as_bytes()].concat();
                assert_eq!(piece.id_hash, IdHash::of(row[expert::ID]));
                assert_eq!(piece.text_hash, TextHash::of(piece.text));
                assert_eq!(piece.record_hash, RecordHash::of(&json));
                let record: serde_json::Value = serde_json::from_slice(&json).unwrap();
                assert_eq!(record["Bio"].as_str(), Some(piece.text));
                record["id"].to_string()
            }
            Err(error) => format!("error {}", error.id),
        });
        Ok(())
    };
    let mut workers = RecordWorkers::new(&SourceRules::experts(), None);
    for id in 0..rows {
        let mut row = nulls();
        row[expert::ID] = RawValue::Integer(id);
        let text = format!("{id} {bio}");
        if id % 7 != 3 {
            row[expert::BIO] = RawValue::Text(text.as_bytes());
        }
        workers.push(&row, &mut sink).unwrap();
    }
    workers.finish(&mut sink).unwrap();
    taken
}

#[test]
fn rows_come_back_in_their_order_with_what_was_made_of_each() {
    let long = "x".repeat(3000);
    for (rows, bio) in [(0, "short"), (5, "short"), (3000, long.as_str())] {
        let expected: Vec<_> =
            (0..rows).map(|id| if id % 7 == 3 { format!("error {id}") } else { id.to_string() }).collect();
        assert_eq!(ids_after(rows, bio), expected);
    }
}

#[test]
fn the_first_refusal_ends_it_whatever_is_still_under_way() {
    let bio = vec![b'x'; 4000];
    let mut row = nulls();
    row[expert::BIO] = RawValue::Text(&bio);
    let mut left = 100;
    let mut sink = |_: Row<'_>, _: Result<EncodedRow<'_>, RowError>| {
        left -= 1;
        if left == 0 { Err("enough") } else { Ok(()) }
    };
    let mut workers = RecordWorkers::new(&SourceRules::experts(), None);
    let ended = (0..10_000).try_for_each(|id| {
        row[expert::ID] = RawValue::Integer(id);
        workers.push(&row, &mut sink)
    });
    drop(workers);
    assert_eq!((ended, left), (Err("enough"), 0));
}
