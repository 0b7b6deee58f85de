//! Judged queries and an agent, a rollback, a kill; and `reindexd eval`, which another program judges again.

use std::process::Command;

use crate::support::agent::Agent;
use crate::support::api::Api;
use crate::support::judged::{EVALUATE, HEAD, asked, is_best, refused};
use crate::support::{SOON, World, not_run, python, reader_script, run, text_of};

#[test]
fn an_agent_says_once_why_it_refuses_and_serves_what_is_accepted() {
    let world = asked();
    world.build();
    let api = Api::start();
    let announce = format!("[[announce]]\npost = \"{}\"\n", api.url());
    let agent = world.agent_with(&format!("quiet = \"200ms\"\nresync = \"1h\"\n{EVALUATE}{announce}"));
    world.sql("UPDATE experts SET tags = '[]' WHERE id <= 5");
    agent.wait_for_log("does not answer well enough");
    let status = || world.run(&["status", "--json"]).json();
    agent.wait_for("its status", || status()["agent"]["last_pass"]["outcome"] == "refused");
    let status = status();
    assert!(status["to_do"].as_str().unwrap().contains("fix what the last attempt reports"), "{status}");
    assert_eq!(agent.logged("does not answer well enough"), 1, "{}", agent.log());

    let accepted = world.run(&["build", "--wait", "--accept-quality", "--json"]);

    assert_eq!(accepted.code, 0, "{accepted:?}");
    agent.wait_for("the announcement", || {
        api.requests()
            .iter()
            .any(|request| request.body["evaluation"]["ndcg"].as_f64().is_some_and(|ndcg| ndcg < 0.9))
    });
    agent.stop();
}

#[test]
fn a_rolled_back_build_is_held_and_not_measured_again() {
    let world = asked();
    world.build();
    world.sql("UPDATE experts SET tags = '[]' WHERE id <= 5");
    world.run(&["build", "--accept-quality"]);
    assert_eq!(world.run(&["rollback"]).code, 0);
    let plan = world.run(&["plan", "--json"]).json();
    assert_eq!(plan["held"], true, "{plan}");
    // Asked by hand, it is compared with what is served now.
    refused(&world, &[]);
}

#[test]
fn a_kill_while_queries_are_asked_leaves_what_was_served() {
    let world = asked();
    world.build();
    world.sql("UPDATE experts SET tags = '[]' WHERE id <= 5");
    world.provider.hold();
    let before = world.served();
    let mut build = Agent::start(&mut world.command(&["build"]));
    assert!(world.provider.wait_for_requests(3, SOON), "{}", build.log());
    build.signal(rustix::process::Signal::KILL);
    build.ended(SOON);
    world.provider.release();
    assert_eq!(world.served(), before);
    refused(&world, &[]);
}

#[test]
fn two_builds_are_compared_query_by_query() {
    let world = asked();
    let first = world.build().text("build");
    world.sql("UPDATE experts SET tags = '[]' WHERE id <= 2");
    let second = world.run(&["build", "--accept-quality", "--json"]).text("build");
    world.provider.forget();

    let both = world.run(&["eval", "--against", &first, "--json"]).json();

    assert_eq!(
        (&both["build"], &both["against"]["build"]),
        (&second.as_str().into(), &first.as_str().into())
    );
    assert_eq!(both["against"]["before"]["ndcg"], 1.0, "{both}");
    let moved = both["against"]["moved"].as_array().unwrap();
    assert!(moved.len() >= 2 && moved[0]["rank_before"] == 1, "{both}");
    assert_eq!(both["queries"].as_array().unwrap().len(), 10);
    let text = world.run(&["eval", &second, "--against", &first]).stdout;
    for part in ["METRIC", "CHANGE", "RANK BEFORE", "nDCG@10", "q1", "q2"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(is_best(&world.run(&["eval", &first, "--json"]).json()));
    assert!(world.run(&["eval"]).stdout.contains("METRIC"));
    assert_eq!(world.provider.request_count(), 0, "the questions have vectors");
    let none = world.run(&["eval", "20200101T000000Z-000000", "--json"]);
    assert_eq!(none.code, 1, "{none:?}");
}

#[test]
fn pytrec_eval_judges_our_runs_the_same_for_every_k() {
    let imports = run(Command::new(python()).args(["-c", "import pytrec_eval"]));
    if imports.code != 0 {
        return not_run("pytrec_eval is not installed: it has no wheel for this Python or machine");
    }
    let world = World::new();
    world.add_people(1..=150);
    world.provider.excuse_repeats("a question has the text of a person");
    // Ties: forty people of one text, so of one vector.
    world.sql("UPDATE experts SET first_name = 'A', last_name = 'B', bio = 'C' WHERE id BETWEEN 60 AND 99");
    let (mut queries, mut qrels) = (String::new(), HEAD.to_owned());
    for query in 0..30_u32 {
        let text = match query % 3 {
            0 => "A B. Title at Company. C Domains: tag, other.".to_owned(),
            1 => format!(
                "First{query} Last{query}. Title at Company. Bio of person {query}. Domains: tag, other."
            ),
            _ => format!("who knows about subject {query}?"),
        };
        queries.extend([format!("{}\n", serde_json::json!({ "_id": format!("q{query}"), "text": text }))]);
        // Missing people, grades below 0 and of 0.
        for nth in 0..25_u32 {
            let person = (query * 37 + nth * 13) % 180 + 1;
            let grade = i64::from((query * 7 + nth * 5) % 6) - 2;
            qrels.extend([format!("q{query}\t{person}\t{grade}\n")]);
        }
    }
    std::fs::write(world.path("queries.jsonl"), queries).unwrap();
    std::fs::write(world.path("qrels.tsv"), qrels).unwrap();
    world.settings(&format!("{EVALUATE}k = 100\n"));
    world.build();
    let evaluated = world.run(&["eval", "--run", "run.txt", "--json"]);
    assert_eq!(evaluated.code, 0, "{evaluated:?}");
    let lines = std::fs::read_to_string(world.path("run.txt")).unwrap();
    assert_eq!(lines.lines().count(), 30 * 100);

    let [qrels, written] = ["qrels.tsv", "run.txt"].map(|name| world.path(name));
    let judged =
        run(Command::new(python()).arg(reader_script("trec_eval.py")).args([&qrels, &written]).arg("100"));
    let judged = judged.json();

    for k in 1..=100_u32 {
        world.settings(&format!("{EVALUATE}k = {k}\n"));
        let ours = world.run(&["eval", "--json"]).json()["evaluation"].clone();
        for metric in ["ndcg", "recall", "mrr"] {
            let [ours, theirs] =
                [&ours[metric], &judged[k.to_string()][metric]].map(|value| value.as_f64().unwrap());
            assert!((ours - theirs).abs() < 1e-9, "{metric}@{k}: {ours}, pytrec_eval {theirs}");
        }
    }
    let text = text_of(&world.records()[0]);
    assert_eq!(world.provider.times_sent(&text), 2, "as a person and as a question");
}
