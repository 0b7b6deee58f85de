//! The settings file that is shipped says the defaults, all of them.

use proptest::prelude::*;

use super::*;

const SHIPPED: &str = include_str!("../../../systemd/reindexd.toml");

/// The file with the keys switched on for which `wanted` holds, each asked for with its section.
fn switched_on(wanted: impl Fn(&str) -> bool) -> String {
    let mut section = "";
    let mut setting = |line: &'static str| {
        if let Some(name) = line.strip_prefix('#').unwrap_or(line).strip_prefix('[') {
            section = name.trim_matches(['[', ']']);
        }
        let key = line.strip_prefix('#')?.split_once(" = ")?.0;
        wanted(&format!("{section}.{key}")).then(|| line[1..].to_owned())
    };
    SHIPPED.lines().map(|line| setting(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// The defaults, below the directory of the service.
fn shipped_defaults() -> Config {
    let below = |path: PathBuf| PathBuf::from("/var/lib/reindexd").join(path);
    let mut config = defaults();
    for path in [
        &mut config.source.database,
        &mut config.trigger.marker,
        &mut config.publish.index,
        &mut config.publish.metadata,
    ] {
        *path = below(std::mem::take(path));
    }
    config
}

#[test]
fn as_it_stands_it_says_the_defaults_below_the_directory_of_the_service() {
    let config = SettingsFixture::with_settings(SHIPPED).config();
    assert_eq!(config, Config { file: config.file.clone(), ..shipped_defaults() });
}

#[test]
fn with_every_default_switched_on_it_says_the_same() {
    let without_default = [
        "source.table",
        "source.id",
        "source.where",
        "source.columns",
        "source.query",
        "document.template",
        "document.chunk",
        "embedding.base_url",
        "embedding.api_key_file",
        "announce.post",
        "announce.command",
        "announce.confirm",
        "announce.token_file",
        "announce.timeout",
        "embedding.max_tokens",
        "evaluate.queries",
        "evaluate.qrels",
    ];
    let text = switched_on(|key| !without_default.contains(&key));
    let loaded = SettingsFixture::with_settings(&text).load().unwrap();
    assert_eq!(loaded.config, Config { file: loaded.config.file.clone(), ..shipped_defaults() });
    let from_file = loaded.origins.iter().filter(|setting| setting.origin.starts_with("file ")).count();
    let keys: usize = keys::SECTIONS.iter().map(|section| section.keys.len()).sum();
    // Of two keys, each with a prefix and fields, both parts are shown.
    assert_eq!(from_file, keys + 3 - without_default.len(), "each key, and the directory");
}

#[test]
fn every_key_stands_in_it_below_its_own_section() {
    let mut section = "";
    let mut found = BTreeMap::<&str, Vec<&str>>::new();
    for line in SHIPPED.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            found.entry(section).or_default().push(key);
        }
    }
    let top = ("", vec![keys::DIRECTORY.name]);
    let sections = keys::SECTIONS
        .iter()
        .map(|section| (section.name, section.keys.iter().map(|key| key.name).collect()));
    let expected = [top].into_iter().chain(sections).collect();
    assert_eq!(found, expected);
}

#[test]
fn with_an_announcement_switched_on_it_still_loads() {
    let text = switched_on(|key| {
        ["announce.post", "announce.confirm", "announce.token_file", "announce.timeout"].contains(&key)
    });
    let config = SettingsFixture::with_settings(&text.replace("#[[announce]]", "[[announce]]")).config();
    assert_eq!(config.announce.len(), 1);
    assert_eq!(config.announce[0].timeout, seconds(10));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_typing_error_makes_the_reader_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..3_usize), 1..4),
    ) {
        let without = ["announce.command", "announce.token_file", "announce.confirm", "embedding.api_key_file"];
        let mut text: Vec<char> = switched_on(|key| !without.contains(&key)).chars().collect();
        for (at, char, kind) in edits {
            let at = at.index(text.len());
            match kind {
                0 => text[at] = char,
                1 => text.insert(at, char),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = SettingsFixture::with_settings(&text).load() {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        SettingsFixture::new().file("reindexd.toml", bytes).load().ok();
    }
}
