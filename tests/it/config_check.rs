//! `reindexd config --check`: everything that keeps settings and database apart, before anything is built.

use crate::support::{Ran, World};

fn faults(ran: &Ran) -> Vec<String> {
    let object = ran.json();
    let faults = object["faults"].as_array().unwrap();
    assert_eq!(object["ok"], faults.is_empty(), "{object}");
    assert_eq!(ran.stderr.lines().count(), faults.len(), "each on a line of its own: {}", ran.stderr);
    faults.iter().map(|fault| fault.as_str().unwrap().to_owned()).collect()
}

fn articles(settings: &str) -> World {
    let world = World::new();
    world.sql("CREATE TABLE articles (id INTEGER PRIMARY KEY, Title TEXT, body TEXT, published INT)");
    world.settings(&format!("[source]\n{settings}\n"));
    world
}

#[test]
fn settings_that_fit_the_database_are_said_to_and_nothing_is_made_or_sent() {
    let chunks = "table = \"articles\"\nwhere = \"published = 1\"\n[document]\n\
                  template = \"{{ Title }} {{ chunk }}\"\nchunk = { column = \"body\", size = 100 }";
    for world in [World::new(), articles(chunks)] {
        let before = files(&world);

        let ran = world.run(&["config", "--check", "--json"]);
        let shown = world.run(&["config", "--check"]);

        assert_eq!((ran.code, shown.code), (0, 0), "{} {}", ran.stderr, shown.stderr);
        assert_eq!(faults(&ran), [""; 0]);
        assert!(shown.stdout.starts_with("settings and database fit: table "), "{}", shown.stdout);
        assert_eq!((files(&world), world.provider.request_count()), (before, 0));
    }
}

fn files(world: &World) -> Vec<std::path::PathBuf> {
    let below = |name: &str| std::fs::read_dir(world.path(name)).unwrap().map(|file| file.unwrap().path());
    let mut found: Vec<_> = below("").chain(below("data")).collect();
    found.sort();
    found
}

#[test]
fn everything_that_is_wrong_is_said_at_once_with_its_setting_and_the_nearest_name() {
    let world = articles(
        "table = \"articles\"\nid = \"ids\"\ncolumns = [\"Titel\", \"id\"]\nwhere = \"publishd = 1\"\n\
         [document]\ntemplate = \"{{ boddy }} {{ chunk }}\"\nchunk = { column = \"bdy\", size = 100 }",
    );

    let ran = world.run(&["config", "--check", "--json"]);

    assert_eq!(ran.code, 1);
    let found = faults(&ran);
    let expected = [
        "source.id names the column \"ids\", which table articles does not have; the nearest is \"id\"",
        "source.columns names the column \"Titel\", which table articles does not have; the nearest is \"Title\"",
        "document.chunk.column names the column \"bdy\", which table articles does not have; the nearest is \"body\"",
        "document.template names the column \"boddy\", which table articles does not have; the nearest is \"body\"",
        "source.where: no such column: publishd; the nearest is \"published\"",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with("database ") && found.ends_with(expected), "{found}");
    }
    let built = world.run(&["build", "--json"]);
    assert_eq!(built.code, 1, "a build ends with the same");
    for part in expected {
        assert!(built.text("error").contains(part), "{}", built.stdout);
    }
}

#[test]
fn what_only_the_database_knows_is_named_with_what_there_is() {
    let query = "query = \"SELECT id, Title FROM articels\"\nid = \"id\"";
    let cases = [
        ("table = \"article\"", "source.table: no such table: article; the nearest is \"articles\""),
        ("table = \"zzz\"", "source.table: no such table: zzz; the database has articles, experts"),
        (query, "source.query: no such table: articels; the nearest is \"articles\""),
        (
            "table = \"articles\"\nwhere = \"lenght(body)\"",
            "no such function: lenght; the nearest is \"length\"",
        ),
        (
            "table = \"articles\"\nwhere = \"my_function(id)\"",
            "no such function: my_function; known only to the application that registers it",
        ),
        (
            "table = \"articles\"\nwhere = \"body = 'x' COLLATE mine\"",
            "no such collation sequence: mine; known only to the application that registers it",
        ),
    ];
    for (source, expected) in cases {
        let world = articles(&format!("{source}\n[document]\ntemplate = \"{{{{ Title }}}}\""));

        let ran = world.run(&["config", "--check", "--json"]);

        let found = faults(&ran);
        assert_eq!((ran.code, found.len()), (1, 1), "{found:?}");
        assert!(found[0].contains(expected), "{source}: {found:?}");
    }
}

#[test]
fn settings_that_are_wrong_by_themselves_end_with_2_and_a_missing_database_with_1() {
    let world = articles("table = \"articles\"\nwhere = \"1 LIMIT 1\"\n[document]\ntemplate = \"x\"");
    assert_eq!(world.run(&["config", "--check"]).code, 2);

    let world = World::new();
    std::fs::remove_file(world.database()).unwrap();
    let missing = world.run(&["config", "--check", "--json"]);
    assert_eq!((missing.code, faults(&missing).len()), (1, 1));
    assert!(faults(&missing)[0].contains("does not exist"), "{missing:?}");
    let mut command = world.command(&["config", "--check", "--json"]);
    let both = crate::support::run(command.env_remove("GOOGLE_API_KEY"));
    assert_eq!((both.code, faults(&both).len()), (2, 2), "{both:?}");
}
