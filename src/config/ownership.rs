//! Whose settings are obeyed: a file names programs to run and the server that receives the key.
//!
//! A file that was found, not named, must belong to root or the caller: anybody
//! may leave one in a directory that all may write. None of them may be
//! writable by a stranger, named or not. What is judged here is the open
//! file's owner, group and mode; files are opened by `file`.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// How a file was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// An operator named it: by flag, variable or in the settings.
    ByName,
    /// It stood where it is looked for.
    ByPlace,
}

/// The user and the primary group that this process runs as.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    user: u32,
    group: u32,
}

/// Who may change a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ownership {
    user: u32,
    group: u32,
    /// Permission bits; those of a link say nothing.
    mode: u32,
}

impl Caller {
    pub(super) fn of_process() -> Self {
        Self { user: rustix::process::geteuid().as_raw(), group: rustix::process::getegid().as_raw() }
    }
}

impl Ownership {
    pub(super) fn of(meta: &Metadata) -> Self {
        let mode = if meta.is_symlink() { 0 } else { meta.mode() & 0o7777 };
        Self { user: meta.uid(), group: meta.gid(), mode }
    }

    /// Why the file cannot be obeyed: what was found, what was expected and how to get there.
    pub(super) fn fault(self, caller: Caller, chosen: Chosen) -> Option<String> {
        let Self { user, group, mode } = self;
        if chosen == Chosen::ByPlace && user != 0 && user != caller.user {
            return Some(format!(
                "belongs to user {user}, expected root or the caller, user {}; it was found, not named: to use \
                 settings of another user, name their file with --config",
                caller.user
            ));
        }
        if mode & 0o002 != 0 {
            return Some("may be written by every user, expected by its owner alone: chmod o-w".to_owned());
        }
        if mode & 0o020 != 0 && group != 0 && group != caller.group {
            return Some(format!("may be written by group {group}, expected by its owner alone: chmod g-w"));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_obeyed_that_no_stranger_made_or_may_write() {
        use Chosen::{ByName, ByPlace};
        let caller = Caller { user: 1000, group: 100 };
        let cases = [
            ((1000, 100, 0o644), ByPlace, None),
            ((1000, 100, 0o664), ByPlace, None),
            ((0, 0, 0o664), ByPlace, None),
            ((0, 7, 0o640), ByPlace, None),
            ((0, 7, 0o660), ByPlace, Some("group 7")),
            ((1000, 7, 0o664), ByName, Some("chmod g-w")),
            ((1000, 100, 0o646), ByPlace, Some("chmod o-w")),
            ((1001, 100, 0o602), ByName, Some("chmod o-w")),
            ((1001, 7, 0o644), ByPlace, Some("--config")),
            ((1001, 7, 0o644), ByName, None),
            ((65534, 100, 0), ByPlace, Some("user 65534")),
        ];
        for ((user, group, mode), chosen, expected) in cases {
            let found = Ownership { user, group, mode }.fault(caller, chosen);
            let is_right = match (expected, &found) {
                (None, None) => true,
                (Some(part), Some(fault)) => fault.contains(part),
                _ => false,
            };
            assert!(is_right, "{user} {group} {mode:o} {chosen:?}: {found:?}");
        }
    }
}
