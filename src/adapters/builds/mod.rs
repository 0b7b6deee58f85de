//! Builds on disk: `Staging → Sealed → Verified → Promoted`, in that order only.
//!
//! [`Builds`] is one published pair with everything that stands beside it.
//! What a build is made of is `staging`'s, what is proven of it `verify`'s,
//! how it becomes the served one `promote`'s. Which bytes go where, and in
//! which order they become durable, is decided below this module and nowhere
//! else. What should be built is not decided here at all.

pub mod adopt;
pub mod collect;
pub mod disk;
pub mod index;
pub mod layout;
pub mod lock;
pub mod promote;
pub mod records;
pub mod staging;
pub mod state;
pub mod sweep;
pub mod verify;

use std::path::{Path, PathBuf};

use thiserror::Error;

pub use crate::domain::text::error_chain;
pub use disk::{DiskError, Mode};
pub use layout::{Layout, LayoutError, STAGING};

use crate::domain::manifest::Manifest;
use crate::domain::pass::ErrorClass;
use crate::domain::row_hashes::{RowHashes, parse_hashes};

/// A manifest is small; anything larger is not one.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;
/// Forty bytes for each of more rows than fit a host.
const MAX_HASHES_BYTES: u64 = 16 << 30;

/// How file systems say that they have no symbolic links: EPERM, ENOSYS, EOPNOTSUPP.
const LINK_ERRNOS: [i32; 3] = [
    rustix::io::Errno::PERM.raw_os_error(),
    rustix::io::Errno::NOSYS.raw_os_error(),
    rustix::io::Errno::OPNOTSUPP.raw_os_error(),
];

/// Why a build could not be made, read or served.
#[derive(Debug, Error)]
pub enum BuildsError {
    /// A system call failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Settings that cannot be laid out.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The file system has no symbolic links.
    #[error(
        "the file system of {path} refuses symbolic links, by which index and metadata are switched together; put publish.index on another file system"
    )]
    NoLinks {
        /// The directory.
        path: PathBuf,
        /// Why a link could not be made.
        source: std::io::Error,
    },
    /// Another configuration publishes from the same directory.
    #[error(
        "{path} belongs to another configuration, which publishes {theirs}; this one publishes {ours}; give one of them another directory, or remove {claim} if that configuration is gone"
    )]
    Claimed {
        /// The directory.
        path: PathBuf,
        /// The names of the other configuration.
        theirs: String,
        /// Our names.
        ours: String,
        /// The file that says so.
        claim: PathBuf,
    },
    /// Another user publishes here.
    #[error(
        "{path} belongs to uid {theirs}, and this runs as uid {ours}: run it as that user (sudo -u '#{theirs}' reindexd …), or give the whole directory to one of them by chown -R"
    )]
    OtherUser {
        /// The directory that tells.
        path: PathBuf,
        /// Its owner.
        theirs: u32,
        /// Who runs.
        ours: u32,
    },
    /// Something stands under a name that must be a file or a link.
    #[error("{path} is {found}, expected a file or a link; move it away")]
    NotFileOrLink {
        /// The name.
        path: PathBuf,
        /// What stands there.
        found: &'static str,
    },
    /// What is written below it would be written elsewhere.
    #[error("{path} is a link, expected a directory; put what it leads to in its place")]
    DirectoryIsLink {
        /// The name of a directory of ours.
        path: PathBuf,
    },
    /// A manifest or hashes file is not readable.
    #[error("build {id} is damaged: {source}")]
    Damaged {
        /// The build.
        id: String,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A build that is not there.
    #[error("there is no build {id}; `reindexd history` lists those that are kept")]
    NoSuchBuild {
        /// What was asked for.
        id: String,
    },
    /// The index could not be written or read.
    #[error(transparent)]
    Index(#[from] index::IndexError),
}

/// What is served at present.
#[derive(Debug)]
pub enum Served {
    /// `current` does not exist.
    Nothing,
    /// `current` leads to a build.
    Build(Box<Build>),
    /// `current` is there, but leads to no build that can be read.
    Damaged {
        /// What was expected and found.
        why: String,
    },
}

impl BuildsError {
    /// [`ErrorClass::Settings`] is refused again until the settings, or who runs with them, change.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Layout(_)
            | Self::NoLinks { .. }
            | Self::Claimed { .. }
            | Self::OtherUser { .. }
            | Self::DirectoryIsLink { .. } => ErrorClass::Settings,
            Self::Disk(error) => error.class(),
            Self::NotFileOrLink { .. } | Self::Damaged { .. } | Self::NoSuchBuild { .. } | Self::Index(_) => {
                ErrorClass::Other
            }
        }
    }
}

impl Served {
    /// The build, if one is served.
    #[must_use]
    pub fn build(&self) -> Option<&Build> {
        match self {
            Self::Build(build) => Some(build),
            Self::Nothing | Self::Damaged { .. } => None,
        }
    }
}

/// One sealed build.
#[derive(Clone, Debug)]
pub struct Build {
    /// Its directory.
    pub directory: PathBuf,
    /// What it says of itself.
    pub manifest: Manifest,
}

impl Build {
    /// Reads a build's manifest.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] where it is missing or damaged.
    pub fn read(directory: PathBuf, id: &str) -> Result<Self, BuildsError> {
        let bytes = disk::read_small(&directory.join(layout::MANIFEST), MAX_MANIFEST_BYTES)?;
        let manifest = Manifest::parse(&bytes).and_then(|manifest| manifest.belongs_to(id));
        let manifest =
            manifest.map_err(|error| BuildsError::Damaged { id: id.to_owned(), source: error.into() })?;
        Ok(Self { directory, manifest })
    }

    /// Reads the build's row hashes, proving their digest.
    ///
    /// # Errors
    ///
    /// [`BuildsError`] where they are missing or damaged.
    pub fn rows(&self) -> Result<Vec<RowHashes>, BuildsError> {
        let most = self.manifest.files.hashes.bytes.min(MAX_HASHES_BYTES);
        let bytes = disk::read_small(&self.path(layout::HASHES), most)?;
        parse_hashes(&bytes)
            .map_err(|error| BuildsError::Damaged { id: self.manifest.id.clone(), source: error.into() })
    }

    /// The path of one of its four files.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }
}

/// One published pair, with the builds behind it.
#[derive(Clone, Debug)]
pub struct Builds {
    /// Where everything lies.
    pub layout: Layout,
}

impl Builds {
    /// The builds of two published names; nothing is made or changed.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for names that cannot be published under.
    pub fn at(index: &Path, metadata: &Path) -> Result<Self, LayoutError> {
        Ok(Self { layout: Layout::new(index, metadata)? })
    }

    /// Makes the directories that are missing, refuses a place that cannot serve, and takes the lock;
    /// `None` where another pass has it.
    ///
    /// # Errors
    ///
    /// [`BuildsError::NoLinks`], [`BuildsError::Claimed`], [`BuildsError::DirectoryIsLink`] for such a place,
    /// [`DiskError`] otherwise.
    pub fn lock(&self) -> Result<Option<lock::PassLock>, BuildsError> {
        let mode = self.mode();
        if let Some(path) =
            [&self.layout.builds, &self.layout.private].into_iter().find(|path| path.is_symlink())
        {
            return Err(BuildsError::DirectoryIsLink { path: path.clone() });
        }
        disk::make_directories(&self.layout.root, mode)?;
        let fresh = disk::make_missing(&self.layout.builds, mode)?;
        if disk::make_missing(&self.layout.private, mode)? || fresh {
            disk::sync_directory(&self.layout.root)?;
        }
        disk::make_directories(disk::parent(&self.layout.metadata), mode)?;
        self.owns()?;
        // Another configuration is told so even while a pass of this one runs.
        lock::is_claimed(&self.layout)?;
        let Some(lock) = lock::try_lock(&self.layout)? else { return Ok(None) };
        if !self.layout.current.is_symlink() {
            self.try_a_link()?;
        }
        lock::claim(&self.layout)?;
        Ok(Some(lock))
    }

    /// The id that `current` names, whether or not a build can be read there:
    /// the API serves it all the same.
    #[must_use]
    pub fn served_id(&self) -> Option<String> {
        let target = std::fs::read_link(&self.layout.current).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// What `current` leads to.
    #[must_use]
    pub fn served(&self) -> Served {
        let target = match std::fs::read_link(&self.layout.current) {
            Ok(target) => target,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Served::Nothing,
            Err(error) => {
                return Served::Damaged {
                    why: format!("{} is no link: {error}", self.layout.current.display()),
                };
            }
        };
        let id = target.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if id.is_empty() || target != Layout::current_target(&id) {
            let why = format!(
                "{} leads to {}, expected builds/ID",
                self.layout.current.display(),
                target.display()
            );
            return Served::Damaged { why };
        }
        match Build::read(self.layout.build(&id), &id) {
            Ok(build) => Served::Build(Box::new(build)),
            Err(error) => Served::Damaged { why: error_chain(&error) },
        }
    }

    /// A build by its id.
    ///
    /// # Errors
    ///
    /// [`BuildsError::NoSuchBuild`], or [`BuildsError`] where it is damaged.
    pub fn build(&self, id: &str) -> Result<Build, BuildsError> {
        let plain = !id.is_empty() && !id.contains('/') && !id.starts_with('.') && !id.ends_with(STAGING);
        let directory = self.layout.build(id);
        let none = || BuildsError::NoSuchBuild { id: id.to_owned() };
        if !plain {
            return Err(none());
        }
        match directory.metadata() {
            Ok(found) if found.is_dir() => Build::read(directory, id),
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(DiskError::at("stat", &directory)(error).into())
            }
            _ => Err(none()),
        }
    }

    /// All sealed builds that can be read, newest first by sequence.
    ///
    /// # Errors
    ///
    /// [`DiskError`] where `builds/` cannot be listed, or a build cannot be read for a reason that
    /// says nothing of it.
    pub fn kept(&self) -> Result<Vec<Build>, BuildsError> {
        let mut out = Vec::new();
        for id in self.ids()? {
            match self.build(&id) {
                Ok(build) => out.push(build),
                Err(error) if error.class() == ErrorClass::Shortage => return Err(error),
                Err(_) => {}
            }
        }
        out.sort_by_key(|build| std::cmp::Reverse(build.manifest.sequence));
        Ok(out)
    }

    /// The names in `builds/` that are builds, readable or not.
    ///
    /// # Errors
    ///
    /// [`DiskError`] where `builds/` cannot be listed.
    pub fn ids(&self) -> Result<Vec<String>, DiskError> {
        let names = sweep::names(&self.layout.builds)?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| staging::is_id(name))
            .collect())
    }

    /// The public names that do not lead to what is served, as after an ingest.py that was run again.
    #[must_use]
    pub fn dangling_links(&self) -> Vec<PathBuf> {
        let names = self.layout.public().into_iter();
        names.filter(|(link, target, _)| !promote::leads_to(link, target)).map(|(link, ..)| link).collect()
    }

    /// Who may read what is published next: as it was found, or as the served build has it.
    #[must_use]
    pub fn mode(&self) -> Mode {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.layout.current.join(layout::INDEX))
            .or_else(|_| std::fs::metadata(&self.layout.index))
            .map_or(Mode::DEFAULT, |meta| Mode::like(meta.mode(), meta.gid()))
    }

    /// Refuses to mix the files of two users: what one of them makes, root
    /// included, the other could neither read nor take away.
    fn owns(&self) -> Result<(), BuildsError> {
        use std::os::unix::fs::MetadataExt;
        let path = &self.layout.private;
        let theirs = path.metadata().map_err(DiskError::at("stat", path))?.uid();
        let ours = rustix::process::geteuid().as_raw();
        if theirs == ours { Ok(()) } else { Err(BuildsError::OtherUser { path: path.clone(), theirs, ours }) }
    }

    fn try_a_link(&self) -> Result<(), BuildsError> {
        let probe = self.layout.private.join("link.staging");
        disk::remove_if_exists(&probe)?;
        std::os::unix::fs::symlink("nowhere", &probe).map_err(|source| match source.raw_os_error() {
            // A file system without links says so; a full or a foreign one is another matter.
            Some(code) if LINK_ERRNOS.contains(&code) => {
                BuildsError::NoLinks { path: self.layout.root.clone(), source }
            }
            _ => DiskError::at("link", &probe)(source).into(),
        })?;
        Ok(disk::remove_if_exists(&probe)?)
    }
}
