//! What neither an event nor a time stamp shows of a database, by the names that lead to its file.
//!
//! SQLite keeps a log and a journal beside the name that it is given, a watch
//! sees what goes through a directory, and a mount of a single file stays with
//! that file. So a file with another name than ours, or with none, can change
//! without a sign here. That is said wherever an operator looks.

use std::fmt;
use std::path::PathBuf;

/// What is known of the file that a database's path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathFacts {
    /// How many names the file has, in all directories.
    pub(crate) names: u64,
    /// Whether the path is a mount of this single file, where the system says.
    pub(crate) is_mount: Option<bool>,
}

/// Why changes of the database may not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HiddenChanges {
    /// The mounted file was removed or replaced where it is mounted from.
    Unlinked,
    /// A mount of the single file.
    Mounted,
    /// The file has this many names.
    OtherNames(u64),
}

/// Something an operator should know of the path to the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PathWarning {
    pub(crate) database: PathBuf,
    pub(crate) hidden: HiddenChanges,
}

/// What may hide changes.
pub(crate) fn hidden_changes(facts: &PathFacts) -> Vec<HiddenChanges> {
    match facts {
        // Some file systems in user space count no names at all, of any file.
        PathFacts { names: 0, is_mount: Some(false) } => Vec::new(),
        PathFacts { names: 0, .. } => vec![HiddenChanges::Unlinked],
        PathFacts { names, is_mount } => {
            let mounted = (*is_mount == Some(true)).then_some(HiddenChanges::Mounted);
            let others = (*names > 1).then_some(HiddenChanges::OtherNames(*names));
            mounted.into_iter().chain(others).collect()
        }
    }
}

impl PathWarning {
    /// Whether what is read is not what the database is now.
    pub(crate) fn is_outdated(&self) -> bool {
        self.hidden == HiddenChanges::Unlinked
    }
}

impl fmt::Display for PathWarning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = self.database.display();
        match self.hidden {
            HiddenChanges::Unlinked => write!(
                out,
                "database {database} leads to a file that has no name any more: it was removed or replaced where it is mounted from, and what is read here is the old one; mount the directory of the database instead of the file, and start again"
            ),
            HiddenChanges::Mounted => write!(
                out,
                "database {database} is a mount of the single file: changes cause no event here and are found by comparing alone (trigger.resync), a file that replaces it is not seen, and a transaction that a killed writer left is not rolled back; mount its directory instead"
            ),
            HiddenChanges::OtherNames(names) => write!(
                out,
                "database {database} has {names} names (hard links), expected one: what is written through another name causes no event here and is found by comparing alone (trigger.resync); in WAL mode it is in a -wal beside that name, which is not read until that writer has closed the database; name the one that is written through in source.database, or remove the others"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HiddenChanges::{Mounted, OtherNames, Unlinked};
    use super::*;

    #[test]
    fn a_file_with_one_name_that_is_not_a_mount_hides_nothing_and_every_other_does() {
        let cases: [(u64, Option<bool>, &[HiddenChanges]); 10] = [
            (1, Some(false), &[]),
            (1, None, &[]),
            (1, Some(true), &[Mounted]),
            (2, Some(false), &[OtherNames(2)]),
            (2, None, &[OtherNames(2)]),
            (3, Some(true), &[Mounted, OtherNames(3)]),
            (u64::MAX, Some(false), &[OtherNames(u64::MAX)]),
            (0, Some(true), &[Unlinked]),
            (0, None, &[Unlinked]),
            (0, Some(false), &[]),
        ];
        for (names, is_mount, expected) in cases {
            let facts = PathFacts { names, is_mount };
            assert_eq!(hidden_changes(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn each_warning_names_the_database_and_what_to_do_and_only_a_lost_name_is_outdated() {
        for (hidden, remedy, is_outdated) in [
            (Unlinked, "mount the directory", true),
            (Mounted, "mount its directory", false),
            (OtherNames(2), "remove the others", false),
        ] {
            let warning = PathWarning { database: "/data/experts.db".into(), hidden };
            let text = warning.to_string();
            assert!(text.starts_with("database /data/experts.db ") && text.contains(remedy), "{text}");
            assert_eq!(warning.is_outdated(), is_outdated, "{text}");
        }
    }
}
