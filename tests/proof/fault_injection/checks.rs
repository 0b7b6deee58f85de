//! What must hold wherever a run was broken.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use super::{Harness, Pair, finished};

/// Which pair a broken run left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// The one that was served before; nothing, where nothing was.
    Old,
    /// The one that the run was to lead to.
    New,
}

impl Harness {
    /// The old pair or the new one is served, whole, by every name that a reader knows.
    #[track_caller]
    pub fn whole(&self, at: &str) -> Served {
        let data = self.world.path("data");
        let by_link = Pair::at(&data.join("current"));
        let has_link = data.join("current").symlink_metadata().is_ok();
        assert_eq!(by_link.is_some(), has_link, "{at}: current leads to half a pair");
        let by_names = Pair::at(&data);
        if by_names.is_none() {
            assert!(self.before.is_none(), "{at}: a name is missing");
        }
        let served = by_link.as_ref().or(by_names.as_ref());
        for name in ["faiss.index", "metadata.json"] {
            let found = std::fs::read(data.join(name)).ok();
            let due = served.map(|pair| pair.file(name));
            // Before a first build is served, a name may yet have to come; none leads elsewhere.
            let yet_to_come = found.is_none() && self.before.is_none();
            assert!(yet_to_come || found.as_deref() == due, "{at}: {name} is not what current leads to");
        }
        let which = match served {
            Some(pair) if *pair == self.after => Served::New,
            other if other == self.before.as_ref() => Served::Old,
            _ => panic!("{at}: what is served is neither the old pair nor the new one"),
        };
        if has_link {
            let (code, words) = finished(&mut self.one_threaded(&["verify"]));
            assert_eq!(code, 0, "{at}: {words}");
        }
        which
    }

    /// The next start makes everything as it would have been, and buys nothing that is held.
    #[track_caller]
    pub fn converges(&self, at: &str, served: Served) {
        let due = match served {
            Served::Old => self.to_embed.saturating_sub(self.cached()),
            Served::New => 0,
        };
        self.world.provider.forget();
        self.run_again(at);
        assert_eq!(self.world.provider.text_count(), due, "{at}: texts bought by the next start");
        assert!(Pair::at(&self.world.path("data")).as_ref() == Some(&self.settled), "{at}: the wrong build");
        assert_eq!(self.whole_after(at), self.world.served(), "{at}: served.json and current differ");
        assert_eq!(self.world.staging(), Vec::<std::path::PathBuf>::new(), "{at}");
        let mut names = self.names();
        // The log of the cache stays until a pass has something to buy.
        names.remove(".reindexd/embeddings.sqlite-wal");
        // Notes of an agent, where one ran.
        names.retain(|name| !name.starts_with(".reindexd/agent.") && name != ".reindexd/marker.json");
        assert_eq!(names, self.names, "{at}: names that an undisturbed run does not leave");
        let remembered = promotions(&self.world.path("data"));
        assert!(remembered.starts_with(&self.promotions), "{at}: promotions are forgotten: {remembered:?}");
        let builds = self.world.builds().len();
        // An attempt that failed once its build had a name leaves it; an agent may have failed on each of two threads.
        assert!(builds <= self.builds + 2, "{at}: {builds} builds are kept");
    }

    /// The build that `served.json` tells of.
    fn whole_after(&self, at: &str) -> Option<String> {
        let note: Value = serde_json::from_slice(&self.world.published("served.json"))
            .unwrap_or_else(|error| panic!("{at}: served.json: {error}"));
        note["build"].as_str().map(str::to_owned)
    }

    /// Vectors that the cache holds, counted in a copy: to open it is to change it.
    pub fn cached(&self) -> usize {
        let copy = self.world.path("cache-copy");
        std::fs::create_dir_all(&copy).unwrap();
        let (from, to) = (self.world.path("data/.reindexd"), copy.join("embeddings.sqlite"));
        for suffix in ["", "-wal"] {
            let name = format!("embeddings.sqlite{suffix}");
            if std::fs::copy(from.join(&name), copy.join(&name)).is_err() {
                // No such file: none must be left of the case before.
                std::fs::remove_file(copy.join(&name)).ok();
            }
        }
        let counted = if to.exists() { entries(&to) } else { 0 };
        std::fs::remove_dir_all(&copy).unwrap();
        counted
    }
}

/// The builds that were served, in their order, as the state remembers them.
pub fn promotions(data: &Path) -> Vec<Value> {
    let state = std::fs::read(data.join(".reindexd/state.json"));
    let state = state.map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).unwrap());
    state["promotions"].as_array().cloned().unwrap_or_default()
}

/// None where the tables are not made yet.
fn entries(cache: &Path) -> usize {
    let opened = Connection::open(cache).unwrap();
    opened.query_row("SELECT count(*) FROM entry", [], |row| row.get(0)).unwrap_or(0)
}

impl Pair {
    fn file(&self, name: &str) -> &[u8] {
        if name == "faiss.index" { &self.index } else { &self.metadata }
    }
}
