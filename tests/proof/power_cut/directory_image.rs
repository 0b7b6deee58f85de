//! A folder as a value: what a crash may leave, in memory, read from a disk or written to one.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::volume::Kind;

/// Everything below a folder, by its path from there; the folder itself is the empty path.
#[derive(Clone, Debug, Default)]
pub struct Tree(pub BTreeMap<PathBuf, Node>);

/// What a name leads to.
#[derive(Clone, Debug)]
pub enum Node {
    /// Names of one file share its number.
    File {
        number: usize,
        image: Image,
    },
    Folder {
        mode: u32,
    },
    Link(PathBuf),
}

/// A file at one moment.
#[derive(Clone, Debug)]
pub struct Image {
    pub content: Arc<Content>,
    pub mode: u32,
}

/// Bytes with their digest.
#[derive(Debug)]
pub struct Content {
    pub bytes: Vec<u8>,
    pub digest: blake3::Hash,
}

impl Content {
    pub fn new(bytes: Vec<u8>) -> Arc<Self> {
        let digest = blake3::hash(&bytes);
        Arc::new(Self { bytes, digest })
    }
}

impl Node {
    pub fn kind(&self) -> Kind {
        match self {
            Self::File { .. } => Kind::File,
            Self::Folder { .. } => Kind::Folder,
            Self::Link(target) => Kind::Link(target.clone()),
        }
    }
}

impl PartialEq for Image {
    fn eq(&self, other: &Self) -> bool {
        self.mode == other.mode && self.content.digest == other.content.digest
    }
}

impl Tree {
    /// Reads what is below a folder.
    pub fn read(root: &Path) -> Self {
        let mut tree = Self::default();
        tree.read_into(root, PathBuf::new(), &mut HashMap::new());
        tree
    }

    fn read_into(&mut self, root: &Path, at: PathBuf, numbers: &mut HashMap<u64, usize>) {
        let path = root.join(&at);
        let about = path.symlink_metadata().unwrap();
        let mode = about.mode() & 0o7777;
        let node = if about.is_symlink() {
            Node::Link(std::fs::read_link(&path).unwrap())
        } else if about.is_dir() {
            for entry in std::fs::read_dir(&path).unwrap() {
                self.read_into(root, at.join(entry.unwrap().file_name()), numbers);
            }
            Node::Folder { mode }
        } else {
            assert!(about.is_file(), "{}: neither file, folder nor link", path.display());
            let next = numbers.len();
            let number = *numbers.entry(about.ino()).or_insert(next);
            Node::File { number, image: Image { content: Content::new(std::fs::read(&path).unwrap()), mode } }
        };
        self.0.insert(at, node);
    }

    /// Writes it to an existing empty folder. Names of one file become hard links.
    pub fn write(&self, root: &Path) {
        let mut written: HashMap<usize, PathBuf> = HashMap::new();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (at, node) in &self.0 {
            let path = root.join(at);
            match node {
                Node::Folder { .. } if at.as_os_str().is_empty() => {}
                // Folders stay writable until they are filled.
                Node::Folder { .. } => std::fs::create_dir(&path).unwrap(),
                Node::Link(target) => std::os::unix::fs::symlink(target, &path).unwrap(),
                Node::File { number, image } => {
                    if let Some(first) = written.get(number) {
                        std::fs::hard_link(first, &path).unwrap();
                        continue;
                    }
                    std::fs::write(&path, &image.content.bytes).unwrap();
                    mode(&path, image.mode);
                    written.insert(*number, path);
                }
            }
        }
        for (at, node) in self.0.iter().rev() {
            if let Node::Folder { mode: bits } = node {
                mode(&root.join(at), *bits);
            }
        }
    }

    /// A digest of names, kinds, modes and bytes; of paths for which
    /// `is_garbage` is true only the name counts.
    pub fn digest(&self, is_garbage: impl Fn(&Path) -> bool) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for (at, node) in &self.0 {
            hasher.update(at.as_os_str().as_encoded_bytes());
            match node {
                Node::Folder { mode } => hasher.update(b"\0d").update(&mode.to_le_bytes()),
                Node::Link(target) => hasher.update(b"\0l").update(target.as_os_str().as_encoded_bytes()),
                Node::File { .. } if is_garbage(at) => hasher.update(b"\0s"),
                Node::File { image, .. } => hasher
                    .update(b"\0f")
                    .update(&image.mode.to_le_bytes())
                    .update(image.content.digest.as_bytes()),
            };
        }
        hasher.finalize()
    }

    /// What a path leads to when every link on the way is followed.
    pub fn follow(&self, path: impl AsRef<Path>) -> Option<&Node> {
        self.resolve(path.as_ref(), 8).and_then(|(_, node)| node)
    }

    /// The file that a path leads to.
    pub fn file(&self, path: impl AsRef<Path>) -> Option<&Image> {
        match self.follow(path)? {
            Node::File { image, .. } => Some(image),
            Node::Folder { .. } | Node::Link(_) => None,
        }
    }

    /// The content of a small file as JSON; `None` if there is no file, an error if it is not JSON.
    pub fn json(&self, path: &str) -> Option<Result<serde_json::Value, serde_json::Error>> {
        self.file(path).map(|image| serde_json::from_slice(&image.content.bytes))
    }

    /// The names in a folder.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let below = self.0.keys().filter(|path| path.parent() == Some(Path::new(folder)));
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        below.map(name).collect()
    }

    /// What is below one of its folders.
    pub fn below(&self, folder: &Path) -> Self {
        let below = |(path, node): (&PathBuf, &Node)| {
            Some((path.strip_prefix(folder).ok()?.to_owned(), node.clone()))
        };
        Self(self.0.iter().filter_map(below).collect())
    }

    fn resolve(&self, path: &Path, links_left: usize) -> Option<(PathBuf, Option<&Node>)> {
        let mut at = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::Normal(name) => at.push(name),
                std::path::Component::ParentDir => assert!(at.pop(), "{} leads out", path.display()),
                _ => continue,
            }
            if let Some(Node::Link(target)) = self.0.get(&at) {
                let to = at.parent().unwrap().join(target);
                at = self.resolve(&to, links_left.checked_sub(1)?)?.0;
            }
        }
        let node = self.0.get(&at);
        Some((at, node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_is_written_and_read_again_is_the_same() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let at = |path: &str| one.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::write(at("a/b/file"), "words").unwrap();
        std::fs::hard_link(at("a/b/file"), at("twin")).unwrap();
        std::os::unix::fs::symlink("a/b", at("link")).unwrap();

        let tree = Tree::read(one.path());
        tree.write(other.path());

        let again = Tree::read(other.path());
        assert_eq!(tree.digest(|_| false), again.digest(|_| false));
        assert_eq!(again.file("link/../b/file").unwrap().content.bytes, b"words");
        assert!(again.follow("nowhere/at/all").is_none());
        let number = |path: &str| match again.follow(path) {
            Some(Node::File { number, .. }) => *number,
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(number("twin"), number("link/file"));
    }
}
