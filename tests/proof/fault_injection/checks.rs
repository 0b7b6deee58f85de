//! What must hold after a run with one broken call, whichever call it was.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use super::{Harness, Pair, finished};

/// Which pair a broken run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The one that was served before, if there was one.
    Old,
    /// The one that the undisturbed run leads to.
    New,
}

impl Harness {
    /// Asserts that the old pair or the new one is served, whole, under every name that a reader uses.
    #[track_caller]
    pub fn whole(&self, at: &str) -> Served {
        let data = self.world.path("data");
        let by_link = Pair::at(&data.join("current"));
        let has_link = data.join("current").symlink_metadata().is_ok();
        assert_eq!(by_link.is_some(), has_link, "{at}: current leads to an incomplete pair");
        let by_names = Pair::at(&data);
        if by_names.is_none() {
            assert!(self.before.is_none(), "{at}: a name is missing");
        }
        let served = by_link.as_ref().or(by_names.as_ref());
        for name in ["faiss.index", "metadata.json"] {
            let found = std::fs::read(data.join(name)).ok();
            let expected = served.map(|pair| pair.file(name));
            // Before a first build is served, a name may still be missing; none leads elsewhere.
            let may_be_missing = found.is_none() && self.before.is_none();
            assert!(
                may_be_missing || found.as_deref() == expected,
                "{at}: {name} is not what current leads to"
            );
        }
        let which = match served {
            Some(pair) if *pair == self.after => Served::New,
            other if other == self.before.as_ref() => Served::Old,
            _ => panic!("{at}: what is served is neither the old pair nor the new one"),
        };
        if has_link {
            let (code, log) = finished(&mut self.one_threaded(&["verify"]));
            assert_eq!(code, 0, "{at}: {log}");
        }
        which
    }

    /// Asserts that the next start leads to the same end as an undisturbed run,
    /// and embeds no text that has a vector.
    #[track_caller]
    pub fn converges(&self, at: &str, served: Served) {
        let expected = match served {
            Served::Old => self.to_embed.saturating_sub(self.cached()),
            Served::New => 0,
        };
        self.world.provider.forget();
        self.run_again(at);
        assert_eq!(self.world.provider.text_count(), expected, "{at}: texts embedded by the next start");
        assert!(Pair::at(&self.world.path("data")).as_ref() == Some(&self.settled), "{at}: the wrong build");
        assert_eq!(self.whole_after(at), self.world.served(), "{at}: served.json and current differ");
        assert_eq!(self.world.staging(), Vec::<std::path::PathBuf>::new(), "{at}");
        let mut names = self.names();
        // The log of the cache, and whose vectors it holds, stay until a pass embeds something.
        names.remove(".reindexd/embeddings.sqlite-wal");
        names.remove(".reindexd/cached-from.json");
        // Notes of an agent, if one ran.
        names.retain(|name| !name.starts_with(".reindexd/agent.") && name != ".reindexd/marker.json");
        assert_eq!(names, self.names, "{at}: names that an undisturbed run does not leave");
        let recorded = promotions(&self.world.path("data"));
        assert!(recorded.starts_with(&self.promotions), "{at}: promotions are missing: {recorded:?}");
        let builds = self.world.builds().len();
        // An attempt that fails after its build has a name leaves it; an agent
        // may have failed on both threads.
        assert!(builds <= self.builds + 2, "{at}: {builds} builds are kept");
    }

    /// The build that `served.json` names.
    fn whole_after(&self, at: &str) -> Option<String> {
        let note: Value = serde_json::from_slice(&self.world.published("served.json"))
            .unwrap_or_else(|error| panic!("{at}: served.json: {error}"));
        note["build"].as_str().map(str::to_owned)
    }

    /// How many vectors the cache has, counted in a copy, because opening it changes it.
    pub fn cached(&self) -> usize {
        let copy = self.world.path("cache-copy");
        std::fs::create_dir_all(&copy).unwrap();
        let (from, to) = (self.world.path("data/.reindexd"), copy.join("embeddings.sqlite"));
        for suffix in ["", "-wal"] {
            let name = format!("embeddings.sqlite{suffix}");
            if std::fs::copy(from.join(&name), copy.join(&name)).is_err() {
                // Without such a file, the copy of the case before must go too.
                std::fs::remove_file(copy.join(&name)).ok();
            }
        }
        let counted = if to.exists() { entries(&to) } else { 0 };
        std::fs::remove_dir_all(&copy).unwrap();
        counted
    }
}

/// The builds that were served, in order, as the state records them.
pub fn promotions(data: &Path) -> Vec<Value> {
    let state = std::fs::read(data.join(".reindexd/state.json"));
    let state = state.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    state["promotions"].as_array().cloned().unwrap_or_default()
}

/// 0 if there are no tables yet.
fn entries(cache: &Path) -> usize {
    let opened = Connection::open(cache).unwrap();
    opened.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap_or(0)
}

impl Pair {
    fn file(&self, name: &str) -> &[u8] {
        if name == "faiss.index" { &self.index } else { &self.metadata }
    }
}
