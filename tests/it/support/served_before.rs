//! What is served before a failure, to be compared with what is served after it.

use std::fmt;
use std::path::Path;

use super::World;

/// The two names that the API opens.
pub const NAMES: [&str; 2] = ["faiss.index", "metadata.json"];

/// The bytes of index and metadata, printed by their lengths.
#[derive(PartialEq, Eq)]
pub struct Pair(pub [Vec<u8>; 2]);

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [index, metadata] = self.0.each_ref().map(|bytes| (bytes.len(), blake3::hash(bytes).to_hex()));
        write!(
            f,
            "index of {} bytes {:.8}, metadata of {} bytes {:.8}",
            index.0, index.1, metadata.0, metadata.1
        )
    }
}

/// The served build, as a reader sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct ServedBefore {
    build: String,
    pair: Pair,
}

impl World {
    /// What the two old names lead to; panics where one leads nowhere.
    #[track_caller]
    pub fn pair(&self) -> Pair {
        Pair(NAMES.map(|name| self.published(name)))
    }

    /// Both old names are links through `current`.
    #[track_caller]
    pub fn assert_links(&self) {
        for name in NAMES {
            let found = std::fs::read_link(self.path("data").join(name));
            assert_eq!(found.as_deref().ok(), Some(Path::new("current").join(name).as_path()), "{name}");
        }
    }

    /// What is served now.
    #[track_caller]
    pub fn served_build(&self) -> ServedBefore {
        ServedBefore { build: self.served().expect("a build is served"), pair: self.pair() }
    }

    /// The same build is served and verified, and no staging is left.
    #[track_caller]
    pub fn assert_still_served(&self, before: &ServedBefore) {
        assert_eq!(self.served_build(), *before);
        self.assert_proven();
        assert_eq!(self.staging(), Vec::<std::path::PathBuf>::new());
    }
}
