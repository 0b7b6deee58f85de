//! Who may read what is published: a group of this host, and the mode of a file.
//!
//! Both may be left to what is found on disk. A group is looked up by its name
//! in `/etc/group`, or given by its number, which is how a group of a directory
//! service is written. Giving files to it is left to `builds`.

use std::fmt;

use super::ConfigError;
use super::declare::Key;
use super::kinds::{Typed, ValueKind};
use super::origin::Sourced;
use super::paths::Bases;

const AUTO: &str = "auto";
const GROUPS: &str = "/etc/group";

/// A group of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedGroup {
    /// As the settings name it.
    pub name: String,
    pub id: u32,
}

impl fmt::Display for NamedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The group that may read; `None` for `auto`.
pub struct GroupName;

impl Typed for GroupName {
    type Written = String;
    type Value = Option<NamedGroup>;
}

impl ValueKind for GroupName {
    fn check(
        _: &Key,
        name: &str,
        given: &Sourced<String>,
        _: &Bases<'_>,
    ) -> Result<Option<NamedGroup>, ConfigError> {
        if given.value == AUTO {
            return Ok(None);
        }
        let groups = std::fs::read_to_string(GROUPS).unwrap_or_default();
        let id = given.value.parse().ok().or_else(|| id_of(&groups, &given.value));
        let expected = format!("auto, or a group of {GROUPS}; any other one by its number");
        id.map(|id| Some(NamedGroup { name: given.value.clone(), id }))
            .ok_or_else(|| given.refused(name, expected))
    }

    fn print(value: &Option<NamedGroup>) -> String {
        value.as_ref().map_or_else(|| AUTO.to_owned(), NamedGroup::to_string)
    }
}

/// The mode of a published file; `None` for `auto`.
pub struct FileMode;

impl Typed for FileMode {
    type Written = String;
    type Value = Option<u32>;
}

impl ValueKind for FileMode {
    fn check(
        _: &Key,
        name: &str,
        given: &Sourced<String>,
        _: &Bases<'_>,
    ) -> Result<Option<u32>, ConfigError> {
        match given.value.as_str() {
            AUTO => Ok(None),
            "0400" => Ok(Some(0o400)),
            "0440" => Ok(Some(0o440)),
            "0444" => Ok(Some(0o444)),
            _ => Err(given
                .refused(name, "auto, or one of \"0400\", \"0440\" and \"0444\": it is never written again")),
        }
    }

    fn print(value: &Option<u32>) -> String {
        value.map_or_else(|| AUTO.to_owned(), |mode| format!("{mode:04o}"))
    }
}

/// The name of a group, for messages.
pub(crate) fn group_name(id: u32) -> Option<String> {
    let groups = std::fs::read_to_string(GROUPS).ok()?;
    fields(&groups).find(|(_, found)| *found == id).map(|(name, _)| name.to_owned())
}

fn id_of(groups: &str, name: &str) -> Option<u32> {
    fields(groups).find(|(found, _)| *found == name).map(|(_, id)| id)
}

/// Names and numbers of the groups in a file such as `/etc/group`.
fn fields(groups: &str) -> impl Iterator<Item = (&str, u32)> {
    groups.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_by_its_whole_name() {
        let groups = "root:x:0:\nexperts-api:x:61010:api,deploy\n# a comment\nbroken:x\nexperts:x:61011:\n";
        for (name, id) in
            [("root", Some(0)), ("experts", Some(61_011)), ("experts-api", Some(61_010)), ("api", None)]
        {
            assert_eq!(id_of(groups, name), id, "{name}");
        }
    }
}
