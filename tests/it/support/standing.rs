//! What is served before something goes wrong, to be compared with what is served after it.

use super::World;

/// The served build, as far as a reader can see it.
#[derive(Debug, PartialEq, Eq)]
pub struct Standing {
    build: String,
    index: Vec<u8>,
    metadata: Vec<u8>,
}

impl World {
    /// What is served now.
    #[track_caller]
    pub fn standing(&self) -> Standing {
        Standing {
            build: self.served().expect("a build is served"),
            index: self.published("faiss.index"),
            metadata: self.published("metadata.json"),
        }
    }

    /// The same build is served, it proves itself, and nothing half-made lies beside it.
    #[track_caller]
    pub fn assert_stands(&self, before: &Standing) {
        let now = self.standing();
        assert_eq!(now.build, before.build);
        assert!(now == *before, "the files of build {} changed", now.build);
        self.assert_proven();
        assert_eq!(self.staging(), Vec::<std::path::PathBuf>::new());
    }
}
