//! A world whose builds are measured by judged queries.
//!
//! The provider's vectors depend on a text alone, so a question with the text
//! of a person finds that person first: what is measured is known in advance.

use serde_json::Value;

use super::{Ran, World};

/// Settings of files that [`ask_for`] writes.
pub const EVALUATE: &str = "[evaluate]\nqueries = \"queries.jsonl\"\nqrels = \"qrels.tsv\"\n";
/// The header of judgements.
pub const HEAD: &str = "query-id\tcorpus-id\tscore\n";

/// Ten people, each asked for by a question with their own text, whose id is the person's.
pub fn asked() -> World {
    let world = World::with_people(10);
    world.provider.excuse_repeats("a question has the text of a person");
    ask_for(&world, 1..=10);
    world.settings(EVALUATE);
    world
}

/// Writes a question for each of these people, and judges that person alone.
pub fn ask_for(world: &World, ids: impl IntoIterator<Item = u32>) {
    let (mut queries, mut qrels) = (String::new(), HEAD.to_owned());
    for id in ids {
        let text = format!("First{id} Last{id}. Title at Company. Bio of person {id}. Domains: tag, other.");
        queries.push_str(&serde_json::json!({ "_id": format!("q{id}"), "text": text }).to_string());
        queries.push('\n');
        qrels.extend([format!("q{id}\t{id}\t2\n")]);
    }
    std::fs::write(world.path("queries.jsonl"), queries).unwrap();
    std::fs::write(world.path("qrels.tsv"), qrels).unwrap();
}

/// The value of a build.
pub fn ndcg(value: &Value) -> f64 {
    value["evaluation"]["ndcg"].as_f64().unwrap_or_else(|| panic!("no value: {value}"))
}

/// Whether every question finds its person first.
pub fn is_best(value: &Value) -> bool {
    (ndcg(value) - 1.0).abs() < 1e-9
}

/// `build` with these flags, which a guard must refuse while this build stays served.
#[track_caller]
pub fn refused(world: &World, flags: &[&str]) -> Ran {
    let before = world.served_build();
    let ran = world.run(&[&["build", "--json"], flags].concat());
    assert_eq!((ran.code, ran.text("outcome").as_str()), (3, "refused"), "{ran:?}");
    world.assert_still_served(&before);
    assert_eq!(world.drafts(), Vec::<std::path::PathBuf>::new());
    ran
}
