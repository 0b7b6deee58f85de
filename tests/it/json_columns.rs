//! JSON columns against Python itself: what `json.loads` reads and `json.dump` writes.

use std::path::Path;

use crate::support::World;

/// Texts in the gate: a second of each side.
const TEXTS: usize = 6_000;

#[test]
fn a_json_column_stands_in_the_metadata_as_python_writes_what_it_read() {
    let seed = std::env::var("REINDEXD_PROOF_SEED").unwrap_or_else(|_| "1".to_owned());
    let world = World::new();
    let expected = world.path("expected.json");
    let ran = world.python(
        "json_cases.py",
        &[&world.database(), &expected, Path::new(&seed), Path::new(&TEXTS.to_string())],
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    world.settings(&format!(
        "[source]\ntable = \"t\"\ncolumns = [\"id\", {{ name = \"j\", json = true }}]\n\
         [document]\ntemplate = \"the same text for every row\"\n[guard]\nquarantine = {TEXTS}\n"
    ));

    let built = world.build();

    let (ours, pythons) = (world.published("metadata.json"), std::fs::read(expected).unwrap());
    let records = usize::try_from(built.number("records")).unwrap();
    assert!((TEXTS / 2..TEXTS * 9 / 10).contains(&records), "{records} texts of {TEXTS} are JSON");
    assert!(ours == pythons, "seed {seed}: {}", first_difference(&world, &ours, &pythons));
}

/// The text of the first row that differs, with what each side made of it.
fn first_difference(world: &World, ours: &[u8], pythons: &[u8]) -> String {
    let records = |bytes: &[u8]| -> Vec<(u64, String)> {
        let raw: Vec<Box<serde_json::value::RawValue>> = serde_json::from_slice(bytes).unwrap();
        let id = |text: &str| text["{\"id\": ".len()..].split(',').next().unwrap().parse().unwrap();
        raw.iter().map(|record| (id(record.get()), record.get().to_owned())).collect()
    };
    let (ours, pythons) = (records(ours), records(pythons));
    let differs = |(a, b): (&(u64, String), &(u64, String))| (a != b).then_some(a.0.min(b.0));
    let id = ours.iter().zip(&pythons).find_map(differs).expect("the one is longer than the other");
    let text: String =
        world.connect().query_row("SELECT j FROM t WHERE id = ?1", [id], |row| row.get(0)).unwrap();
    let of =
        |all: &[(u64, String)]| all.iter().find(|(found, _)| *found == id).map(|(_, record)| record.clone());
    format!("row {id}, {text:?}: {:?}, expected {:?}", of(&ours), of(&pythons))
}
