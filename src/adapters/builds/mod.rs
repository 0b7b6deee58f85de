//! Builds on disk: `Staging → Draft → Drafted → Sealed → Verified → promote → Build`, in that order only.
//!
//! [`Builds`] is one published pair with everything that stands beside it.
//! What a build is made of belongs to `staging`, what is checked of it to
//! `verify`, how it becomes the served one to `promote`. Which bytes go where,
//! and in which order they become durable, is decided in this folder and
//! nowhere else. What should be built is decided elsewhere.

pub mod adopt;
mod agent_status;
pub mod answers;
mod build;
pub mod checked_file;
mod claim;
pub mod collect;
mod current_pass;
pub mod disk;
mod disk_error;
mod error;
pub mod history;
mod hold;
mod host_note;
pub mod index;
pub mod index_writer;
pub mod json_file;
pub mod last_tries;
pub mod layout;
pub mod lock;
mod mode;
mod open;
pub mod placed_records;
pub mod promote;
mod proof;
pub mod record_names;
pub mod records;
mod sent_texts_file;
mod served;
mod spool;
pub mod staging;
pub mod sweep;
pub mod uptime;
pub mod verify;
mod writer;

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use agent_status::{AgentStatus, LastPass, show_sign_of_life, sign_of_life};
pub use build::{Build, is_id, new_id};
pub use claim::ClaimedSource;
pub use current_pass::{CurrentPass, CurrentPassFile, current_pass};
pub use disk_error::DiskError;
pub use error::BuildsError;
pub use hold::Hold;
pub use host_note::NoteRenewal;
pub use layout::{Layout, LayoutError};
pub use mode::{Access, Mode};
pub use proof::{Doubt, Proof};
pub use sent_texts_file::{SentTextsFile, sent_texts};
pub use served::Served;
pub use spool::SpooledText;

use crate::config::PublishSettings;
use crate::domain::nearest::closest;
use crate::domain::sibling_path::parent;
pub use crate::domain::text::error_chain;
use crate::domain::text::literal;

/// More of what was given as an id is not shown.
const MAX_ID_CHARS: usize = 80;

/// How file systems say that they have no symbolic links.
const LINK_ERRNOS: [Errno; 3] = [Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP];

/// How a path says that it leads to no file: it is missing, below a file, or a circle of links.
const NO_FILE_ERRNOS: [Errno; 3] = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP];

fn leads_to_no_file(error: &std::io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| NO_FILE_ERRNOS.contains(&errno))
}

/// One published pair, with the builds behind it.
#[derive(Clone, Debug)]
pub struct Builds {
    pub layout: Layout,
    access: Access,
}

/// The builds in `builds/`, each in the list of what is known of it.
#[derive(Debug, Default)]
pub struct KeptBuilds {
    /// Newest first by sequence.
    pub whole: Vec<Build>,
    /// Ids of those whose manifest is proven to be damaged.
    pub damaged: Vec<String>,
    /// Ids of those of which nothing is known, and why: they are neither used nor removed.
    pub not_known: Vec<(String, Doubt)>,
}

impl Builds {
    /// The builds of two published names; nothing is made or changed.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for names that cannot be published under.
    pub fn at(index: &Path, metadata: &Path) -> Result<Self, LayoutError> {
        Ok(Self { layout: Layout::new(index, metadata)?, access: Access::default() })
    }

    /// The builds that these settings publish; nothing is made or changed.
    ///
    /// # Errors
    ///
    /// [`LayoutError`] for names that cannot be published under.
    pub fn published(settings: &PublishSettings) -> Result<Self, LayoutError> {
        let builds = Self::at(&settings.index, &settings.metadata)?;
        Ok(Self { access: settings.into(), ..builds })
    }

    /// Whether a pass has made its directories here before.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        // What cannot be looked at may be there.
        !matches!(self.layout.private.symlink_metadata(), Err(error) if error.kind() == ErrorKind::NotFound)
    }

    /// Makes the directories that are missing, refuses a place that cannot serve, and takes the lock;
    /// `None` if another pass has it.
    ///
    /// # Errors
    ///
    /// [`BuildsError::NoLinks`], [`BuildsError::Claimed`], [`BuildsError::OtherUser`],
    /// [`BuildsError::DirectoryIsLink`] for such a place, [`BuildsError::OtherHost`] while a pass of another
    /// host has it, [`DiskError`] otherwise.
    pub fn lock(&self) -> Result<Option<lock::PassLock>, BuildsError> {
        self.lock_unless(|layout| claim::is_claimed(layout, None).map(drop))
    }

    /// As [`Self::lock`], for a configuration that fills the directory from this source.
    ///
    /// # Errors
    ///
    /// As for [`Self::lock`]; [`BuildsError::Claimed`] also if another source is served.
    pub fn lock_for(&self, source: Option<&ClaimedSource>) -> Result<Option<lock::PassLock>, BuildsError> {
        self.lock_unless(|layout| claim::is_claimed(layout, source).map(drop))
    }

    /// As [`Self::lock`], whichever configuration the directory belonged to: an operator accepted this one.
    ///
    /// # Errors
    ///
    /// As for [`Self::lock`], but for [`BuildsError::Claimed`].
    pub fn lock_and_take_over(&self) -> Result<Option<lock::PassLock>, BuildsError> {
        self.lock_unless(|_| Ok(()))
    }

    /// Whether another configuration has claimed the directory; nothing is made or changed.
    ///
    /// # Errors
    ///
    /// [`BuildsError::Claimed`] if it has.
    pub fn check_claim(&self, source: Option<&ClaimedSource>) -> Result<(), BuildsError> {
        claim::is_claimed(&self.layout, source).map(drop)
    }

    /// Records that what is served was made from this source. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// [`BuildsError::Disk`] if the claim cannot be replaced.
    pub fn claim_source(&self, source: &ClaimedSource) -> Result<(), BuildsError> {
        claim::claim_source(&self.layout, source)
    }

    fn lock_unless(
        &self,
        refuse: impl Fn(&Layout) -> Result<(), BuildsError>,
    ) -> Result<Option<lock::PassLock>, BuildsError> {
        let layout = &self.layout;
        let mode = self.mode()?;
        disk::make_directories(&layout.root, mode)?;
        let is_new = self.own_directory(&layout.builds, mode)?;
        if self.own_directory(&layout.private, mode)? || is_new {
            disk::sync_directory(&layout.root)?;
        }
        disk::make_directories(parent(&layout.metadata), mode)?;
        // Another configuration is refused even while a pass of this one runs.
        refuse(layout)?;
        let Some(lock) = lock::try_lock(layout)? else { return Ok(None) };
        if !layout.current.is_symlink() {
            self.try_a_link()?;
        }
        claim::claim_names(layout)?;
        Ok(Some(lock))
    }

    /// The id that `current` names, whether or not a build can be read there:
    /// the API serves it all the same.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if the link cannot be read.
    pub fn served_id(&self) -> Result<Option<String>, DiskError> {
        served::served_id(&self.layout)
    }

    /// What `current` leads to.
    #[must_use]
    pub fn served(&self) -> Served {
        Served::read(&self.layout)
    }

    /// The public names that do not lead to what is served, as after another run of ingest.py.
    #[must_use]
    pub fn dangling_links(&self) -> Vec<PathBuf> {
        served::dangling_links(&self.layout)
    }

    /// A build by its id.
    ///
    /// # Errors
    ///
    /// [`BuildsError::NoSuchBuild`], [`BuildsError::Damaged`]; every other one says nothing about it.
    pub fn build(&self, id: &str) -> Result<Build, BuildsError> {
        let is_name =
            !id.is_empty() && !id.contains('/') && !id.starts_with('.') && !id.ends_with(layout::STAGING);
        if !is_name {
            return Err(self.no_such_build(id));
        }
        let directory = self.layout.build(id);
        match directory.metadata() {
            Ok(found) if found.is_dir() => Build::read(directory, id).of_build(id),
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DiskError::at("stat", &directory)(error).into())
            }
            _ => Err(self.no_such_build(id)),
        }
    }

    fn no_such_build(&self, id: &str) -> BuildsError {
        // A list that cannot be read says nothing, and is not what was asked for.
        let mut kept = self.ids().unwrap_or_default();
        kept.sort_unstable();
        let names: Vec<_> = kept.iter().map(String::as_str).collect();
        let hint = match (closest(id, &names), names.as_slice()) {
            (Some(near), _) => format!("; the nearest is {near}"),
            (None, []) => "; none is kept".to_owned(),
            (None, _) => format!("; those that are kept: {}", names.join(", ")),
        };
        BuildsError::NoSuchBuild { id: literal(id, MAX_ID_CHARS), hint }
    }

    /// All sealed builds, by what their manifests are known to be.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if `builds/` cannot be listed.
    pub fn kept(&self) -> Result<KeptBuilds, DiskError> {
        let mut kept = KeptBuilds::default();
        for id in self.ids()? {
            match Build::read(self.layout.build(&id), &id) {
                Proof::Whole(build) => kept.whole.push(build),
                Proof::Damaged(_) => kept.damaged.push(id),
                Proof::NotKnown(doubt) => kept.not_known.push((id, doubt)),
            }
        }
        kept.whole.sort_by_key(|build| Reverse(build.manifest.sequence));
        Ok(kept)
    }

    /// The names in `builds/` that are builds, readable or not.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if `builds/` cannot be listed.
    pub fn ids(&self) -> Result<Vec<String>, DiskError> {
        let names = disk::list_names(&self.layout.builds)?.into_iter();
        Ok(names.filter_map(|name| name.into_string().ok()).filter(|name| is_id(name)).collect())
    }

    /// Who may read what is published next: as the settings say, else as the served build has it, or the file
    /// that was found.
    ///
    /// # Errors
    ///
    /// [`DiskError`] if they cannot be looked at: readers of what is served might lose the next build.
    pub fn mode(&self) -> Result<Mode, DiskError> {
        for path in [&self.layout.current.join(layout::INDEX), &self.layout.index] {
            match path.metadata() {
                Ok(meta) => return Ok(self.access.or_as_found(Mode::like(meta.mode(), meta.gid()))),
                Err(error) if leads_to_no_file(&error) => {}
                Err(error) => return Err(DiskError::at("stat", path)(error)),
            }
        }
        Ok(self.access.or_as_found(Mode::DEFAULT))
    }

    /// Makes `builds/` or `.reindexd/` if it is missing, and returns whether it was. What stands there is
    /// examined through a descriptor before anything of it is changed: another user's files are not mixed
    /// with ours, since what one of them makes, root included, the other could neither read nor remove.
    fn own_directory(&self, path: &Path, mode: Mode) -> Result<bool, BuildsError> {
        let opened = disk::open_or_make_directory(path, mode);
        let (directory, is_new) = opened.map_err(|error| match error.source.kind() {
            ErrorKind::NotADirectory if path.is_symlink() => {
                BuildsError::DirectoryIsLink { path: path.to_owned() }
            }
            _ => error.into(),
        })?;
        let found = directory.metadata().map_err(DiskError::at("stat", path))?;
        let (theirs, ours) = (found.uid(), rustix::process::geteuid().as_raw());
        if theirs != ours && (is_new || *path == self.layout.private) {
            return Err(BuildsError::OtherUser { path: path.to_owned(), theirs, ours });
        }
        if is_new {
            mode.apply_to_directory(&directory, path)?;
            return Ok(true);
        }
        if theirs == ours && *path == self.layout.builds {
            mode.apply_to_found(&directory, path)?;
            if let Some(why) = self.access.fault(found.mode()) {
                return Err(BuildsError::Closed { path: path.to_owned(), why });
            }
        }
        Ok(false)
    }

    fn try_a_link(&self) -> Result<(), BuildsError> {
        let probe = self.layout.private.join("link.staging");
        disk::remove_if_exists(&probe)?;
        std::os::unix::fs::symlink("nowhere", &probe).map_err(|source| {
            // A file system without links says so; a full one, or one of another user, is another matter.
            if Errno::from_io_error(&source).is_some_and(|errno| LINK_ERRNOS.contains(&errno)) {
                return BuildsError::NoLinks { path: self.layout.root.clone(), source };
            }
            DiskError::at("link", &probe)(source).into()
        })?;
        Ok(disk::remove_if_exists(&probe)?)
    }
}
