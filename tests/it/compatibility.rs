//! What reindexd 0.1.0 left on disk, printed as JSON and made digests of stays valid.
//!
//! `tests/data/0.1.0` holds working directories of the program 0.1.0, made by
//! `tests/data/make-0.1.0.py`. Each test gives a copy of one to the program of
//! today, or holds a value that 0.1.0 stored against the code that stores it
//! now. Where one fails, an upgrade would embed every text again, lose the
//! history, or break a script that reads `--json`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use reindexd::adapters::builds::history::History;
use reindexd::adapters::builds::layout::Layout;
use reindexd::adapters::builds::{AgentStatus, Hold, json_file};
use reindexd::adapters::deliver::state::DeliveryStates;
use reindexd::adapters::source::ScanDigest;
use reindexd::domain::manifest::{FileFact, Files, Manifest, QuarantinedRow, SourceFacts};
use reindexd::domain::pass::{Counts, Outcome, Retry, Stage, Timings, Trigger};
use reindexd::domain::record::{
    Basis, ContentHash, ContentHasher, IdHash, RawValue, RecordHash, ScanHash, Space, TextHash, raw_row_hash,
};
use reindexd::domain::tokens::{TokenLimit, TooLong};
use rusqlite::Connection;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::source::root;
use crate::support::{self, Ran, World, eventually};

/// Files of a build that depend on its rows alone.
const FILES: [&str; 3] = ["faiss.index", "metadata.json", "hashes.bin"];
/// Builds of `served`, oldest first; the last one is served.
const BUILDS: [&str; 3] = ["20261127T195431Z-be3989", "20261127T195431Z-bd6ae4", "20261127T195431Z-258913"];
/// The served build of `held`, and the one that the rollback left.
const HELD: [&str; 2] = ["20261127T195434Z-5c1c5a", "20261127T195434Z-033ed6"];
/// Keys that objects have gained since 0.1.0: command, a space, and the path of the key. `config` may
/// gain settings without being listed.
const ADDED: [&str; 28] = [
    "build /texts_sent number",
    "history /builds/[]/too_long number",
    "history /promotions//uptime_ms number",
    "plan /null_tags number",
    "plan /too_long/longest list",
    "plan /too_long/max_tokens number",
    "plan /too_long/rows number",
    "plan /warnings list",
    "status /agent/sign_of_life null",
    "status /agent/sign_of_life string",
    "status /drift/null_tags number",
    "status /drift/too_long/longest list",
    "status /drift/too_long/max_tokens number",
    "status /drift/too_long/rows number",
    "status /pass null",
    "status /quarantined/count number",
    "status /quarantined/rows list",
    "status /quarantined/rows/[]/column string",
    "status /quarantined/rows/[]/id string",
    "status /quarantined/rows/[]/reason string",
    "status /quarantined/rows/[]/refused_at null",
    "status /quarantined/rows/[]/since string",
    "status /rebuys list",
    "status /served/too_long number",
    "status /settings null",
    "status /settings string",
    "status /warnings list",
    "verify /result string",
];

#[test]
fn a_data_directory_of_0_1_0_has_nothing_to_embed_or_to_build() {
    for (name, records) in [("served", 28), ("local", 4)] {
        let world = copy_of(name);
        let before = world.served_build();

        let plan = world.run(&["plan", "--json"]).json();
        assert_eq!(counts(&plan), [records, records, 0, 0, 0], "{name}: {plan}");
        assert_eq!(world.build().text("outcome"), "unchanged", "{name}");

        assert_eq!(world.served_build(), before, "{name}");
        world.assert_links();
        world.assert_whole();
        assert_eq!(world.provider.request_count(), 0, "{name}");
    }
}

#[test]
fn every_build_that_0_1_0_kept_is_whole() {
    let world = copy_of("served");
    for build in BUILDS {
        let verified = world.run(&["verify", build, "--json"]);
        assert_eq!((verified.code, verified.json()["ok"].as_bool()), (0, Some(true)), "{verified:?}");
    }
}

#[test]
fn the_history_of_0_1_0_is_shown() {
    let world = copy_of("served");

    let history = world.run(&["history", "--json"]).json();

    let list = |key: &str, of: &str| -> Vec<String> {
        let all = history[key].as_array().unwrap();
        all.iter().map(|one| one[of].as_str().unwrap_or_default().to_owned()).collect()
    };
    let [first, second, third] = BUILDS;
    assert_eq!(history["served"], third);
    assert_eq!(list("builds", "id"), [third, second, first]);
    assert_eq!(list("builds", "trigger"), ["marker", "database", "command"]);
    assert_eq!(list("promotions", "build"), [first, second, third, second, third]);
    assert_eq!(list("promotions", "by"), ["build", "build", "build", "rollback", "rollback"]);
    assert_eq!(
        list("attempts", "outcome"),
        ["promoted", "promoted", "promoted", "failed", "refused", "unchanged"]
    );
    assert_eq!(
        list("attempts", "trigger"),
        ["command", "database", "marker", "command", "command", "command"]
    );

    // And is still there when more has happened.
    world.run(&["build", "--full"]);
    let after = world.run(&["history", "--json"]).json();
    for key in ["promotions", "attempts"] {
        let (before, after) = (history[key].as_array().unwrap(), after[key].as_array().unwrap());
        assert_eq!(after[..before.len()], before[..], "{key}");
        assert_eq!(after.len(), before.len() + 1, "{key}");
    }
}

#[test]
fn builds_of_0_1_0_are_rolled_back_to() {
    let world = copy_of("served");

    for (arguments, expected) in [(&["rollback"][..], BUILDS[1]), (&["rollback", BUILDS[0]], BUILDS[0])] {
        let back = world.run(&[arguments, &["--json"]].concat());

        assert_eq!((back.code, back.json()["build"].as_str()), (0, Some(expected)), "{back:?}");
        assert_eq!(world.served().as_deref(), Some(expected));
        assert_build_is(&world, &fixture("served/data/builds").join(expected));
        world.assert_whole();
    }
    assert!(world.run(&["plan", "--json"]).json()["held"].as_bool().unwrap());
}

#[test]
fn a_hold_of_0_1_0_goes_on_holding() {
    let world = copy_of("held");
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(status["hold"]["build"], HELD[0]);
    assert_eq!(status["drift"]["held"], true);
    assert_eq!(world.run(&["plan", "--json"]).json()["held"], true);

    let agent = Agent::start(&mut world.command(&["run"]));
    agent.wait_for("a pass that was held", || {
        world.run(&["status", "--json"]).json()["agent"]["last_pass"]["outcome"] == "held"
    });
    agent.stop();
    assert_eq!(world.served().as_deref(), Some(HELD[0]));

    // A build that somebody asks for ends it; the build that was left has every vector.
    let built = world.build();
    assert_eq!((built.text("outcome").as_str(), built.number("embedded")), ("promoted", 0));
    assert_build_is(&world, &fixture("held/data/builds").join(HELD[1]));
    assert_eq!(world.provider.request_count(), 0);
    assert!(world.run(&["status", "--json"]).json()["hold"].is_null());
}

#[test]
fn a_build_that_0_1_0_adopted_is_served_and_replaced() {
    let world = copy_of("adopted");
    let adopted = world.served().unwrap();
    let status = world.run(&["status", "--json"]).json();
    assert_eq!(
        (&status["served"]["adopted"], status["served"]["id"].as_str()),
        (&true.into(), Some(&*adopted))
    );
    let plan = world.run(&["plan", "--json"]).json();
    assert_eq!(plan["to_embed"], 6, "{plan}");

    let built = world.build();

    assert_eq!((built.number("embedded"), built.number("records")), (6, 6), "{built:?}");
    assert_eq!(manifest(&world)["previous"], adopted.as_str());
    world.assert_whole();
    assert_eq!(world.run(&["rollback", "--json"]).text("build"), adopted);
}

#[test]
fn an_agent_goes_on_where_that_of_0_1_0_ended() {
    let world = copy_of("served");
    let before = (world.served_build(), files_below(&world.path("data")));

    let agent = Agent::start(&mut world.command(&["run"]));
    eventually("the agent is idle", || world.run(&["status", "--json"]).json()["agent"]["phase"] == "idle");
    agent.stop();

    assert_eq!(world.served_build(), before.0);
    // When the refused row was tried is noted, so that it is tried again a day later; and which host ran.
    let added = ["quarantine.json", "lock.host", "agent.host"].map(|name| format!(".reindexd/{name}"));
    let expected = before.1.into_iter().chain(added).collect();
    assert_eq!(files_below(&world.path("data")), expected);
    assert_eq!(world.provider.request_count(), 0);
    let keys = |path: &Path| {
        let mut found = BTreeSet::new();
        keys_of(&serde_json::from_slice(&fs::read(path).unwrap()).unwrap(), "", &mut found);
        found.into_iter().map(|key| key.split(' ').next().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    let note = ".reindexd/agent.json";
    assert_eq!(keys(&world.path("data").join(note)), keys(&fixture("served/data").join(note)));
}

#[test]
fn a_full_build_of_the_rows_of_0_1_0_gives_its_files() {
    let world = copy_of("served");
    let before = world.served().unwrap();
    world.provider.fail_text("refused");

    assert_eq!(world.run(&["build", "--full", "--json"]).text("outcome"), "promoted");

    assert_ne!(world.served().unwrap(), before);
    assert_build_is(&world, &fixture("served/data/builds").join(before));
    // The row that 0.1.0 quarantined is tried again, and nothing else is sent.
    assert!(matches!(world.provider.texts_seen().as_slice(), [text] if text.contains("refused")));
}

/// Since when a row is quarantined, which 0.1.0 did not say.
fn without_since(value: &Value) -> Value {
    let mut value = value.clone();
    for row in value.as_array_mut().into_iter().flatten() {
        row.as_object_mut().map(|row| row.remove("since"));
    }
    value
}

#[test]
fn a_first_build_of_the_rows_of_0_1_0_gives_its_files_and_digests() {
    let world = copy_of("served");
    let made = fixture("served/data");
    for path in files_below(&world.path("data")) {
        if path != "experts.db" {
            fs::remove_file(world.path("data").join(path)).unwrap();
        }
    }
    fs::remove_dir_all(world.path("data/builds")).unwrap();
    fs::remove_dir_all(world.path("data/.reindexd")).unwrap();
    world.provider.fail_text("refused");

    let built = world.build();

    assert_eq!((built.number("embedded"), built.number("records")), (28, 28), "{built:?}");
    assert_build_is(&world, &made.join("builds").join(BUILDS[2]));
    let (ours, theirs) = (manifest(&world), json(&made.join("current/manifest.json")));
    for key in
        ["format", "source", "space", "content_hash", "left_out", "files", "ntotal", "dimension", "metric"]
    {
        assert_eq!(without_since(&ours[key]), theirs[key], "{key}");
    }
    let keys = |manifest: &Value| manifest.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let added: Vec<_> = keys(&ours).difference(&keys(&theirs)).cloned().collect();
    assert_eq!(
        added,
        ["address", "rules", "texts_sent", "values_hash"],
        "0.1.0 reads over a key that it does not know"
    );
    assert!(keys(&theirs).is_subset(&keys(&ours)));
    // One row was written otherwise after that build, with the same content.
    assert_eq!(ours["scan_hash"], json(&made.join(".reindexd/state.json"))["same_content"]["scan_hash"]);
}

#[test]
fn vectors_cached_by_a_failed_pass_of_0_1_0_are_used() {
    let world = copy_of("served");
    change(&world, "more");
    assert_eq!(world.run(&["plan", "--json"]).number("to_embed"), 0);

    let built = world.build();

    assert_eq!((built.number("records"), built.number("kept")), (31, 31), "{built:?}");
    assert_eq!(world.provider.request_count(), 0);
    assert_build_is(&world, &fixture("continued"));
    let (ours, theirs) = (manifest(&world), json(&fixture("continued/manifest.json")));
    for key in ["scan_hash", "content_hash", "left_out", "files"] {
        assert_eq!(without_since(&ours[key]), theirs[key], "{key}");
    }
}

#[test]
fn a_first_build_makes_the_files_that_0_1_0_made() {
    let world = copy_of("held");
    for entry in fs::read_dir(world.path("data")).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => fs::remove_dir_all(entry.path()).unwrap(),
            _ if entry.file_name() == "experts.db" => {}
            _ => fs::remove_file(entry.path()).unwrap(),
        }
    }
    world.sql("UPDATE experts SET hourly_rate = 2");
    world.build();

    let expected = fs::read_to_string(fixture("tree.txt")).unwrap();
    // Locks are the publishing user's alone since: its group could stop all passes.
    let mut expected: Vec<_> = expected.lines().map(locks_are_narrow).collect();
    // What was sent is counted since, and which host is at work is noted.
    expected.extend(["sent.json", "lock.host"].map(|name| format!("0600 .reindexd/{name}")));
    expected.sort();
    assert_eq!(tree(&world), expected);
    // One file of that list has a layout of its own.
    let cache = ".reindexd/embeddings.sqlite";
    assert_eq!(
        layout_of(&world.path("data").join(cache)),
        layout_of(&copy_of("served").path("data").join(cache))
    );
}

#[test]
fn every_object_has_the_keys_and_every_command_the_exit_code_of_0_1_0() {
    let golden = fs::read_to_string(fixture("keys.txt")).unwrap();
    let mut cases: Vec<(&str, BTreeSet<&str>)> = Vec::new();
    for line in golden.lines() {
        match line.strip_prefix("  ") {
            Some(key) => _ = cases.last_mut().unwrap().1.insert(key),
            None => cases.push((line, BTreeSet::new())),
        }
    }
    assert!(cases.len() > 40, "{} cases", cases.len());
    let mut complaints = Vec::new();
    for (case, expected) in cases {
        let [name, changes, command, code] =
            case.split('|').map(str::trim).collect::<Vec<_>>().try_into().unwrap();
        let world = copy_of(name);
        let _lock = change(&world, changes);

        let ran: Ran = world.run(&command.split(' ').chain(["--json"]).collect::<Vec<_>>());

        if ran.code.to_string() != code {
            complaints.push(format!("{case}: found {}: {ran:?}", ran.code));
        }
        let mut found = BTreeSet::new();
        keys_of(&ran.json(), "", &mut found);
        let missing = expected.iter().filter(|key| !found.contains(**key));
        complaints.extend(missing.map(|key| format!("{case}: missing {key}")));
        let name = command.split(' ').next().unwrap_or_default();
        let is_added = |key: &str| name == "config" || ADDED.contains(&&*format!("{name} {key}"));
        let more = found.iter().filter(|key| !expected.contains(key.as_str()) && !is_added(key));
        complaints.extend(more.map(|key| format!("{case}: not in 0.1.0: {key}")));
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Digests that decide about money, by what they are of.
const DIGESTS: [(&str, &str); 15] = [
    ("content, gemini", "4a2cd1a4ea2c7330b966eb5c54aedb35d300b288eeb132e60a42afca70019d0d"),
    ("content, openai", "a13a9638ae650106f67b440dab29585067af6ede0a265e3ea02ce69d76d0b3c7"),
    ("id, blob", "ae5d982841dc8b26"),
    ("id, integer", "89be45b3119620d2"),
    ("id, null", "2d3adedff11b61f1"),
    ("id, real", "234f7e6ffb1d6dcc"),
    ("id, text", "f0ddc0edfcf099d1"),
    ("record", "a9f5d4961a24386066727f0e1c0fec27"),
    ("row", "2fe7d841bdf7c6acf7d4455b91dd99e7"),
    ("scan, gemini", "36535ad5ff74e3614523aaa83bfe08e8ba9c7cb342126ff77be4785bf7c4db4e"),
    ("scan, openai", "b1dadf3f5e57e8f1dcb815f46ba92084b8062a528db20ee4d15f927e0be39b4f"),
    ("space, gemini", "6ebee0f95b6a5a0d"),
    ("space, openai", "632625d762bd00ae"),
    ("text", "c4e942c778dc7bca344b698a7d44745c"),
    ("text, empty", "af1349b9f5f9a1a6a0404dea36dcc949"),
];

#[test]
fn digests_of_rows_texts_and_scans_are_those_of_0_1_0() {
    let row = [
        RawValue::Integer(-7),
        RawValue::Text("Zoë".as_bytes()),
        RawValue::Null,
        RawValue::Real(0.1),
        RawValue::Blob(b"\0\xff"),
        RawValue::Text(b""),
        RawValue::Real(-0.0),
        RawValue::Null,
        RawValue::Integer(i64::MAX),
        RawValue::Text(b"1"),
        RawValue::Blob(b""),
        RawValue::Text(b"[\"a\"]"),
        RawValue::Real(1e300),
        RawValue::Null,
    ];
    let [gemini, openai] = spaces();
    let mut long = vec![b'x'; ScanDigest::CHUNK];
    long.extend_from_slice(b"end");
    let scan = |space: &Space| {
        let mut digest = ScanDigest::new(space, b"");
        digest.row(&[row.as_slice(), &[RawValue::Text(&long)]].concat());
        digest.finish().to_string()
    };
    let content = |space: &Space| {
        let mut hasher = ContentHasher::new(space, b"");
        hasher.record(IdHash([1; 8]), TextHash([2; 16]), RecordHash([3; 16]));
        hasher.quarantined(RecordHash([4; 16]));
        hasher.finish().to_string()
    };

    let found = BTreeMap::from([
        ("text", TextHash::of("Ada Byron. Zoë.\n").to_string()),
        ("text, empty", TextHash::of("").to_string()),
        ("record", RecordHash::of(br#"{"id": 1, "tags": ["a"]}"#).to_string()),
        ("row", raw_row_hash(&row).to_string()),
        ("id, null", IdHash::of(RawValue::Null).to_string()),
        ("id, integer", IdHash::of(RawValue::Integer(1)).to_string()),
        ("id, real", IdHash::of(RawValue::Real(1.0)).to_string()),
        ("id, text", IdHash::of(RawValue::Text(b"1")).to_string()),
        ("id, blob", IdHash::of(RawValue::Blob(b"1")).to_string()),
        ("scan, gemini", scan(&gemini)),
        ("scan, openai", scan(&openai)),
        ("content, gemini", content(&gemini)),
        ("content, openai", content(&openai)),
        ("space, gemini", gemini.key()),
        ("space, openai", openai.key()),
    ]);

    let found: BTreeMap<&str, &str> = found.iter().map(|(what, digest)| (*what, digest.as_str())).collect();
    assert_eq!(found, BTreeMap::from(DIGESTS));
}

/// Digests with a prefix and fields of documents, which 0.1.0 did not have.
const DIGESTS_WITH_EXTRAS: [(&str, &str); 6] = [
    ("prefix", "780db4586f566807"),
    ("fields", "219bb28a5709ce64"),
    ("both", "c7f108456e348da7"),
    ("scan, both", "5f0f267929065574d02d51297d08978fca0cb8b12be1c60f5a47beac3ce562e9"),
    ("content, both", "57930d1c1cc2f04ab30bbceda8646e2d12f782535f9e5e1e923389cc5b651fab"),
    ("nothing", "6ebee0f95b6a5a0d"),
];

#[test]
fn prefix_and_fields_of_documents_are_part_of_the_space_in_any_order_of_names() {
    let space = |prefix: &str, fields: &str| Space {
        prefix: prefix.to_owned(),
        fields: serde_json::from_str(fields).unwrap(),
        ..spaces()[0].clone()
    };
    let (one, other) = (
        r#"{"input_type":"document","n":{"a":1,"b":[2.5]}}"#,
        r#"{"n":{"b":[2.5],"a":1},"input_type":"document"}"#,
    );
    let both = space("passage: ", one);
    let mut content = ContentHasher::new(&both, b"");
    content.record(IdHash([1; 8]), TextHash([2; 16]), RecordHash([3; 16]));
    let mut scan = ScanDigest::new(&both, b"");
    scan.row(&[RawValue::Integer(1)]);

    let found = [
        ("prefix", space("passage: ", "{}").key()),
        ("fields", space("", one).key()),
        ("both", both.key()),
        ("scan, both", scan.finish().to_string()),
        ("content, both", content.finish().to_string()),
        ("nothing", space("", "{}").key()),
    ];

    assert_eq!(both, space("passage: ", other));
    assert_eq!(found.each_ref().map(|(what, digest)| (*what, digest.as_str())), DIGESTS_WITH_EXTRAS);
    let printed = serde_json::to_value(&both).unwrap();
    assert_eq!((&printed["prefix"], &printed["fields"]["n"]["a"]), (&"passage: ".into(), &1.into()));
    assert_eq!(serde_json::from_value::<Space>(printed).unwrap(), both);
}

/// The first 45 bytes of an index of 28 vectors of 8 floats.
const INDEX_HEADER: &str =
    "49784649080000001c00000000000000000010000000000000001000000000000100000000e000000000000000";

#[test]
fn the_header_of_an_index_is_that_of_0_1_0() {
    let hex = |path: &Path| -> String {
        let bytes = fs::read(path).unwrap();
        bytes[..45].iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    };
    let world = copy_of("served");
    world.provider.fail_text("refused");
    let before = world.served_build();
    assert_eq!(hex(&world.path("data/faiss.index")), INDEX_HEADER, "as 0.1.0 wrote it");

    assert_eq!(world.run(&["build", "--full", "--json"]).code, 0);

    assert_ne!(world.served_build(), before);
    assert_eq!(hex(&world.path("data/faiss.index")), INDEX_HEADER, "as it is written now");
}

#[test]
fn what_is_done_with_long_texts_is_part_of_digests_where_it_is_set() {
    let space = &spaces()[0];
    let digests = |limit| {
        let basis = Basis { space, limit };
        let mut content = ContentHasher::new(basis, b"");
        content.record(IdHash([1; 8]), TextHash([2; 16]), RecordHash([3; 16]));
        let mut scan = ScanDigest::new(basis, b"");
        scan.row(&[RawValue::Integer(1)]);
        [content.finish().to_string(), scan.finish().to_string()]
    };
    let limit = |max_tokens, too_long| Some(TokenLimit { max_tokens, too_long });
    let cut = digests(limit(2048, TooLong::Cut));

    let others = [None, limit(2047, TooLong::Cut), limit(2048, TooLong::Refuse), limit(2048, TooLong::Warn)];
    for other in others {
        let other = digests(other);
        assert!(cut[0] != other[0] && cut[1] != other[1]);
    }
    assert_eq!(
        cut,
        [
            "0f62df7c35f7294c8529c426f77527d90780d60b49ccfc85b5630f4452034b87",
            "80b848047c2d12021c749e91359ad7969af532ae6b96c0de6631c5f4af0c7937"
        ]
    );
}

#[test]
fn manifests_have_the_bytes_of_0_1_0() {
    let adopted = Manifest {
        adopted: true,
        trigger: "adopt".to_owned(),
        space: None,
        address: None,
        scan_hash: None,
        content_hash: None,
        quarantined: Vec::new(),
        evaluation: None,
        previous: None,
        ..fixed_manifest()
    };
    for (name, manifest) in [("manifest.json", fixed_manifest()), ("manifest-adopted.json", adopted)] {
        let expected = fs::read(fixture(name)).unwrap();
        let found = manifest.print();
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(&expected), "{name}");
        assert_eq!(Manifest::parse(&expected).unwrap(), manifest, "{name}");
    }

    let mut seen = 0;
    for folder in ["served", "held", "adopted", "local"] {
        for build in fs::read_dir(fixture(folder).join("data/builds")).unwrap() {
            let path = build.unwrap().path().join("manifest.json");
            let bytes = fs::read(&path).unwrap();
            let printed = Manifest::parse(&bytes).unwrap().print();
            assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&bytes), "{path:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 7);
}

#[test]
fn names_of_triggers_and_outcomes_are_those_of_0_1_0() {
    let triggers = [
        (Trigger::Start, "start"),
        (Trigger::Database, "database"),
        (Trigger::Marker, "marker"),
        (Trigger::Resync, "resync"),
        (Trigger::Signal, "signal"),
        (Trigger::Reload, "reload"),
        (Trigger::Retry, "retry"),
        (Trigger::Command, "command"),
    ];
    for (trigger, expected) in triggers {
        assert_eq!(trigger.to_string(), expected);
    }
    let outcomes = [
        (Outcome::Promoted, "promoted"),
        (Outcome::Unchanged, "unchanged"),
        (Outcome::Refused, "refused"),
        (Outcome::Held, "held"),
        (Outcome::Failed(Retry::Hourly), "failed"),
        (Outcome::Busy, "busy"),
        (Outcome::Stopped, "stopped"),
    ];
    for (outcome, expected) in outcomes {
        assert_eq!(outcome.to_string(), expected);
    }
}

#[test]
fn status_names_the_state_of_the_agent_as_0_1_0_did() {
    let world = copy_of("served");
    world.with_settings(|text| {
        text.replace("\nquiet = \"300ms\"\nmax_wait = \"2s\"", "\nquiet = \"1m\"\nmax_wait = \"1m\"")
            .replace("batch_size", "retry_budget = \"0s\"\nbatch_size")
    });
    let doing = |agent: &Agent, expected: &str| {
        agent.wait_for(expected, || world.run(&["status", "--json"]).json()["agent"]["phase"] == expected);
    };
    let agent = Agent::start(&mut world.command(&["run"]));
    doing(&agent, "idle");
    world.add_people([50]);
    doing(&agent, "settling");
    agent.stop();

    world.provider.always(Some(Fault::ServerError(503)));
    let agent = Agent::start(&mut world.command(&["run"]));
    doing(&agent, "backing_off");
    agent.stop();

    let _lock = change(&world, "busy");
    let agent = Agent::start(&mut world.command(&["run"]));
    doing(&agent, "waiting_for_lock");
    agent.stop();
}

#[test]
fn state_files_of_0_1_0_are_written_as_they_were_read() {
    fn assert_same<T: DeserializeOwned + Default + Serialize>(folder: &str, name: &str) {
        let world = copy_of(folder);
        let layout = Layout::new(&world.path("data/faiss.index"), &world.path("data/metadata.json")).unwrap();
        let path = json_file::path(&layout, name);
        let before = fs::read_to_string(&path).unwrap();
        let (value, damaged) = json_file::load::<T>(&path);
        assert_eq!(damaged, None, "{name}");
        json_file::save_note(&layout, name, &value).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), before, "{name}");
    }
    for folder in ["served", "held", "adopted", "local"] {
        assert_same::<History>(folder, "state");
    }
    assert_same::<Option<Hold>>("held", "hold");
    assert_same::<AgentStatus>("served", "agent");
    assert_same::<DeliveryStates>("served", "announced");
}

/// Two spaces as 0.1.0 had them.
fn spaces() -> [Space; 2] {
    let gemini = Space {
        provider: "gemini".to_owned(),
        model: "gemini-embedding-001".to_owned(),
        dimension: 768,
        task_type: Some("RETRIEVAL_DOCUMENT".to_owned()),

        ..Space::default()
    };
    let openai = Space {
        provider: "openai".to_owned(),
        model: "text-embedding-3-small".to_owned(),
        dimension: 1536,
        task_type: None,

        ..Space::default()
    };
    [gemini, openai]
}

/// A manifest whose every value differs from every other.
fn fixed_manifest() -> Manifest {
    let fact = |bytes: u64| FileFact { bytes, blake3: format!("{bytes:064}") };
    let [gemini, _] = spaces();
    let (database, indexed_rows) = ("data/experts.db".to_owned(), 3);
    let mut timings = Timings::zero().before_promotion().with_total(24);
    for (stage, ms) in
        [Stage::Scan, Stage::Plan, Stage::Embed, Stage::Index, Stage::Verify].into_iter().zip(19..)
    {
        timings.add(stage, ms);
    }
    Manifest {
        format: 1,
        id: "20261122T101500Z-7f3a9c".to_owned(),
        sequence: 2,
        created: "2026-11-22T10:15:00.5Z".to_owned(),
        trigger: "database".to_owned(),
        adopted: false,
        program: "reindexd 0.1.0".to_owned(),
        faiss: "1.12.0".to_owned(),
        source: SourceFacts { database, indexed_rows, ..SourceFacts::default() },
        rules: None,
        space: Some(gemini),
        address: None,
        scan_hash: Some(ScanHash([4; 32])),
        values_hash: None,
        content_hash: Some(ContentHash([5; 32])),
        quarantined: vec![
            QuarantinedRow {
                id: "13".to_owned(),
                hash: RecordHash([6; 16]),
                column: "tags".to_owned(),
                reason: "no list".to_owned(),
                refused_text: None,
                since: None,
            },
            QuarantinedRow {
                id: "17".to_owned(),
                hash: RecordHash([7; 16]),
                column: "document text".to_owned(),
                reason: "the provider refuses it: \"status 400\"".to_owned(),
                refused_text: Some(TextHash([8; 16])),
                since: None,
            },
        ],
        files: Files { index: fact(9), metadata: fact(10), hashes: fact(11) },
        ntotal: 12,
        dimension: 768,
        metric: "inner_product".to_owned(),
        counts: Counts {
            records: 13,
            kept: 14,
            embedded: 15,
            metadata_only: 16,
            removed: 17,
            requests: 18,
            texts_sent: 0,
        },
        timings,
        evaluation: None,
        previous: Some("20261121T101500Z-000001".to_owned()),
    }
}

/// A path below `tests/data/0.1.0`.
fn fixture(name: &str) -> PathBuf {
    root().join("tests/data/0.1.0").join(name)
}

/// A copy of a working directory of 0.1.0, with the modes that it had and this world's provider.
fn copy_of(name: &str) -> Host {
    let world = World::new();
    fs::remove_dir_all(world.path("data")).unwrap();
    copy(&fixture(name), &world.path(""));
    let mode = |path: &Path, bits: u32| fs::set_permissions(path, Permissions::from_mode(bits)).unwrap();
    let data = world.path("data");
    for name in files_below(&data) {
        let bits = match name.as_str() {
            name if name.ends_with(".sqlite") => 0o600,
            name if name.starts_with(".reindexd/") => 0o640,
            name if name.starts_with("builds/") || name == "served.json" => 0o440,
            _ => 0o644,
        };
        mode(&data.join(name), bits);
    }
    let builds = fs::read_dir(data.join("builds")).unwrap().map(|build| build.unwrap().path());
    for directory in builds.chain([data.join("builds"), data.join(".reindexd")]) {
        mode(&directory, 0o750);
    }
    mode(&world.path("api.key"), 0o600);
    let host = Host(world);
    host.with_settings(|text| text.replace("http://127.0.0.1:9", &host.provider.base_url()));
    host
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_symlink() {
            symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else if kind.is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A copy of a working directory of 0.1.0, whose settings are all in its file.
struct Host(World);

impl Deref for Host {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Host {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.command(arguments);
        command.env_clear();
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        support::run(&mut self.command(arguments))
    }

    #[track_caller]
    fn build(&self) -> Ran {
        let ran = self.run(&["build", "--json"]);
        assert_eq!(ran.code, 0, "build failed: {ran:?}");
        ran
    }

    /// Changes the text of `reindexd.toml`.
    fn with_settings(&self, change: impl FnOnce(&str) -> String) {
        let settings = fs::read_to_string(self.path("reindexd.toml")).unwrap();
        self.settings(&change(&settings));
    }

    /// `reindexd verify` must find the served build whole.
    #[track_caller]
    fn assert_whole(&self) {
        let verified = self.run(&["verify", "--json"]);
        assert_eq!((verified.code, verified.json()["ok"].as_bool()), (0, Some(true)), "{verified:?}");
    }
}

/// Changes a copy of `served` as `keys.txt` says; the lock is held until what is returned is dropped.
fn change(world: &Host, change: &str) -> Option<File> {
    match change {
        "" => {}
        "more" => {
            world.sql(&fs::read_to_string(fixture("more.sql")).unwrap());
            // The cache keeps a vector for a month, and these are older by now.
            let cache = Connection::open(world.path("data/.reindexd/embeddings.sqlite")).unwrap();
            let now = jiff::Timestamp::now().as_second();
            assert_eq!(cache.execute("UPDATE entry SET stored_at = ?1", [now]).unwrap(), 3);
        }
        "lost" => fs::remove_file(world.database()).unwrap(),
        "shrunk" => world.sql("DELETE FROM experts WHERE id > 5"),
        "damaged" => {
            let index = world.path("data/faiss.index").canonicalize().unwrap();
            let mut bytes = fs::read(&index).unwrap();
            bytes[60] ^= 1;
            fs::remove_file(&index).unwrap();
            fs::write(index, bytes).unwrap();
        }
        "wrong" => {
            world.with_settings(|text| format!("{text}[log]\nlevel = \"loud\"\n"));
        }
        "busy" => {
            let lock = File::open(world.path("data/.reindexd/lock")).unwrap();
            lock.lock().unwrap();
            return Some(lock);
        }
        other => panic!("keys.txt names a change that is not known: {other}"),
    }
    None
}

/// Records, kept, to embed, metadata only, removed.
fn counts(plan: &Value) -> [u64; 5] {
    ["records", "kept", "to_embed", "metadata_only", "removed"].map(|key| plan[key].as_u64().unwrap())
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The manifest of the served build.
fn manifest(world: &Host) -> Value {
    json(&world.path("data/current/manifest.json"))
}

/// The served build has the index, the metadata and the row hashes that lie in a directory.
#[track_caller]
fn assert_build_is(world: &Host, directory: &Path) {
    for name in FILES {
        let (found, expected) = (world.published(&format!("current/{name}")), fs::read(directory.join(name)));
        assert!(found == expected.unwrap(), "{name} differs from that in {}", directory.display());
    }
}

/// Regular files below a directory, sorted.
fn files_below(directory: &Path) -> BTreeSet<String> {
    let all = entries_below(directory).into_iter().filter(|path| !path.is_symlink() && path.is_file());
    all.map(|path| path.strip_prefix(directory).unwrap().to_str().unwrap().to_owned()).collect()
}

/// Everything below a directory; links are not followed.
fn entries_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(entries_below(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// The lines of `tree.txt` for a world with one build.
fn tree(world: &Host) -> Vec<String> {
    let (data, id) = (world.path("data"), world.served().unwrap());
    let mut lines = Vec::new();
    for path in entries_below(&data) {
        let name = path.strip_prefix(&data).unwrap().display().to_string().replace(&id, "BUILD");
        if path.is_symlink() {
            let target = fs::read_link(path).unwrap().display().to_string().replace(&id, "BUILD");
            lines.push(format!("{name} -> {target}"));
        } else if !name.starts_with("experts.db") {
            let bits = fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            lines.push(format!("{bits:04o} {name}"));
        }
    }
    lines.sort();
    lines
}

fn locks_are_narrow(line: &str) -> String {
    match line.strip_prefix("0640 ") {
        Some(name) if name.ends_with("lock") => format!("0600 {name}"),
        _ => line.to_owned(),
    }
}

/// The tables of a cache as SQLite remembers them, and the marks in its header.
fn layout_of(cache: &Path) -> Vec<String> {
    let cache = Connection::open(cache).unwrap();
    let mut select = cache.prepare("SELECT sql FROM sqlite_schema ORDER BY name").unwrap();
    let tables: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let mark =
        |name: &str| cache.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).unwrap().to_string();
    tables.into_iter().chain(["application_id", "user_version", "page_size"].map(mark)).collect()
}

/// Every key below a value as a path, with the kind of what stands there.
fn keys_of(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Object(members) => {
            for (key, value) in members {
                keys_of(value, &format!("{at}/{key}"), found);
            }
            return;
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                keys_of(item, &format!("{at}/[]"), found);
            }
            return;
        }
        Value::Array(_) => "list",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Null => "null",
    };
    found.insert(format!("{at} {kind}"));
}
