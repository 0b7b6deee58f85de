//! The seven runs that are broken at each of their calls.

use std::fs;

use crate::support::World;
use crate::support::judged::{EVALUATE, HEAD};

/// A run of the program, and the world before it.
pub struct Scenario {
    pub name: &'static str,
    /// Prepares the world for the run, and returns the arguments of the run.
    pub(super) prepare: fn(&World) -> Vec<String>,
}

/// Ten of three hundred rows have changed: eight texts, one price, one row deleted.
pub static RECONCILE: Scenario = Scenario {
    name: "reconcile",
    prepare: |world| {
        embed_in_batches_of(world, 4, "");
        world.add_people(1..=300);
        world.build();
        change_ten(world);
        vec!["build".to_owned()]
    },
};

/// The same of a source of the settings: an id of two columns, JSON, and texts of several chunks, of which
/// some changed, one lost its last chunk and one is gone.
pub static CHUNKS: Scenario = Scenario {
    name: "chunks",
    prepare: |world| {
        world.sql(
            "CREATE TABLE articles (lang TEXT COLLATE NOCASE, slug TEXT, tags, body TEXT, PRIMARY KEY (lang, slug));
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
             INSERT INTO articles SELECT iif(i % 2, 'de', 'en'), 'article-' || i, json_array(i, NULL),
                 'The first part of ' || i || '. The second part of ' || i || '. The third part of ' || i || '.'
             FROM n",
        );
        let source = "[source]\ntable = \"articles\"\n\
                      columns = [\"lang\", \"slug\", { name = \"tags\", json = true }]\n\
                      [document]\ntemplate = \"{{ slug }}: {{ chunk }}\"\n\
                      chunk = { column = \"body\", size = 28, overlap = 0 }\n";
        embed_in_batches_of(world, 4, source);
        world.build();
        world.sql(
            "UPDATE articles SET body = replace(body, 'second', 'other') WHERE slug IN ('article-1', 'article-2');
             UPDATE articles SET body = 'Another text of one part.' WHERE slug = 'article-3';
             UPDATE articles SET tags = '{\"b\": 1, \"a\": 1e16}' WHERE slug = 'article-4';
             DELETE FROM articles WHERE slug = 'article-5';
             INSERT INTO articles VALUES ('DE', 'article-101', NULL, NULL), ('en', 'article-102', '[]', 'A new one. And more.')",
        );
        vec!["build".to_owned()]
    },
};

/// Judged queries are asked for the first time, of this build and of the served one.
pub static JUDGED: Scenario = Scenario {
    name: "judged",
    prepare: |world| {
        embed_in_batches_of(world, 4, "");
        world.add_people(1..=60);
        let ask = |questions: &[u32]| {
            let query = |id: &u32| format!("{{\"_id\": \"q{id}\", \"text\": \"who is number {id}?\"}}\n");
            let grade = |id: &u32| format!("q{id}\t{id}\t1\n");
            let [queries, qrels] = [&query as &dyn Fn(&u32) -> String, &grade]
                .map(|line| questions.iter().map(line).collect::<Vec<_>>().concat());
            fs::write(world.path("data/queries.jsonl"), queries).unwrap();
            fs::write(world.path("data/qrels.tsv"), format!("{HEAD}{qrels}")).unwrap();
        };
        world.build();
        change_ten(world);
        ask(&[1, 20, 40, 50]);
        embed_in_batches_of(world, 4, &format!("{}max_drop = 1.0\n", EVALUATE.replace("= \"", "= \"data/")));
        vec!["build".to_owned()]
    },
};

/// Nothing is served yet.
pub static FIRST_BUILD: Scenario = Scenario {
    name: "first build",
    prepare: |world| {
        embed_in_batches_of(world, 100, "");
        world.add_people(1..=300);
        vec!["build".to_owned()]
    },
};

/// Two plain files, as ingest.py left them before ten rows changed.
pub static ADOPTION: Scenario = Scenario {
    name: "adoption",
    prepare: |world| {
        embed_in_batches_of(world, 100, "");
        world.add_people(1..=300);
        world.build();
        let plain = ["faiss.index", "metadata.json"].map(|name| (name, world.published(name)));
        for name in ["builds", ".reindexd"] {
            fs::remove_dir_all(world.path("data").join(name)).unwrap();
        }
        for name in ["current", "served.json", "faiss.index", "metadata.json"] {
            fs::remove_file(world.path("data").join(name)).unwrap();
        }
        for (name, bytes) in plain {
            fs::write(world.path("data").join(name), bytes).unwrap();
        }
        change_ten(world);
        vec!["build".to_owned()]
    },
};

/// The build before is served again.
pub static ROLLBACK: Scenario = Scenario {
    name: "rollback",
    prepare: |world| {
        world.add_people(1..=300);
        let before = world.build().text("build");
        change_ten(world);
        world.build();
        vec!["rollback".to_owned(), before]
    },
};

/// Four builds that no reader can still use, of which two must be removed.
pub static COLLECTION: Scenario = Scenario {
    name: "collection",
    prepare: |world| {
        embed_in_batches_of(world, 4, "[publish]\nkeep = 9\n");
        world.add_people(1..=300);
        for price in 1..=4 {
            world.sql(&format!("UPDATE experts SET hourly_rate = {price} WHERE id = 300"));
            world.build();
        }
        embed_in_batches_of(world, 4, "[publish]\nkeep = 2\n");
        world.let_the_grace_pass();
        change_ten(world);
        vec!["build".to_owned()]
    },
};

/// Settings with which an agent of [`RECONCILE`] logs each state that it enters.
pub fn log_states(world: &World) {
    embed_in_batches_of(world, 4, "[log]\nlevel = \"info,reindexd::flows::agent=debug\"\n");
}

/// One request at a time, so that the calls of a run have the same order each time.
fn embed_in_batches_of(world: &World, texts: u32, more: &str) {
    world.settings(&format!("[embedding]\nbatch_size = {texts}\nconcurrency = 1\n{more}"));
}

fn change_ten(world: &World) {
    world.sql(
        "UPDATE experts SET bio = 'Another bio of person ' || id || '.' WHERE id <= 8;
         UPDATE experts SET hourly_rate = 7 WHERE id = 9;
         DELETE FROM experts WHERE id = 10",
    );
}
