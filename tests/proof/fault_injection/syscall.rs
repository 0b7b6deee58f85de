//! The calls of a run that can be broken: on files of the program or the database, and to the provider.

use std::collections::HashMap;
use std::path::Path;

use crate::strace::Call;

/// One call, found again in a later run by its name and by how often its thread has made that call.
#[derive(Clone, Debug)]
pub struct SyscallSite {
    pub name: String,
    /// As strace counts: separately for each thread and name, from 1.
    pub nth: usize,
    /// The files that it is about, without the ids of builds; or the socket.
    pub place: String,
    pub kind: Kind,
    /// Whether SIGTERM already had a handler.
    pub handled: bool,
    /// Whether no other thread makes as many calls of this name: then strace
    /// cannot break another one instead.
    pub alone: bool,
    /// Whether it opens a folder to list it.
    pub opens_folder: bool,
}

/// The effect of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It leaves the disk as it is.
    Read,
    /// It changes bytes, names, modes or locks, or makes them durable.
    Change,
    /// It communicates with the provider.
    Wire,
}

impl SyscallSite {
    /// The expressions for strace that trace calls of this name, and inject `how` into this one.
    pub fn injection(&self, how: &str) -> (String, String) {
        let Self { name, nth, .. } = self;
        (format!("trace={name}"), format!("inject={name}:{how}:when={nth}"))
    }
}

impl std::fmt::Display for SyscallSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} number {} on {}", self.name, self.nth, self.place)
    }
}

/// The sites among all calls of a run in `folder`.
///
/// Of reads of one file that follow each other only the first counts: between
/// them nothing changes that could be left behind.
pub fn sites(calls: &[Call], folder: &Path) -> Vec<SyscallSite> {
    const MARGIN: usize = 3;
    let mut threads = Vec::new();
    let mut times: HashMap<(u32, &str), usize> = HashMap::new();
    let mut sites: Vec<SyscallSite> = Vec::new();
    let mut handled = false;
    for call in calls {
        let nth = times.entry((call.thread, &call.name)).or_default();
        *nth += 1;
        handled |= call.name == "rt_sigaction" && call.arguments.starts_with("SIGTERM");
        let Some((place, kind)) = place(call, folder) else { continue };
        let repeats = sites.last().is_some_and(|last| last.place == place && last.kind == kind);
        if kind != Kind::Read || !repeats {
            let opens_folder = call.arguments.contains("O_DIRECTORY");
            let (name, nth, alone) = (call.name.clone(), *nth, true);
            threads.push(call.thread);
            sites.push(SyscallSite { name, nth, place, kind, handled, alone, opens_folder });
        }
    }
    for (site, thread) in sites.iter_mut().zip(threads) {
        // A margin, because the other threads do not always wake equally often.
        let others = times.iter().filter(|((other, name), _)| *other != thread && *name == site.name);
        site.alone = others.map(|(_, max)| max + MARGIN).max().is_none_or(|max| max < site.nth);
    }
    // Of two threads' calls with one name and number, strace would break the one that comes first.
    let mut seen = std::collections::HashSet::new();
    sites.retain(|site| seen.insert((site.name.clone(), site.nth)));
    sites
}

/// What a call is about, if that is a file of this world or the provider.
pub fn place(call: &Call, folder: &Path) -> Option<(String, Kind)> {
    const WIRE: [&str; 8] =
        ["connect", "sendto", "sendmsg", "recvfrom", "recvmsg", "read", "write", "writev"];
    if call.arguments.contains("<TCP:[") {
        return WIRE.contains(&call.name.as_str()).then(|| ("the provider".to_owned(), Kind::Wire));
    }
    let folder = folder.to_string_lossy();
    let folder = folder.trim_end_matches('/');
    let mut files = Vec::new();
    let by_descriptor = first_is_descriptor(&call.name);
    // The result of `readlink` has the place of other calls' second path.
    let max = if call.name == "readlink" { 1 } else { usize::MAX };
    for (path, quoted) in named(&call.arguments).into_iter().take(max) {
        let below = path.strip_prefix(folder).map(|rest| rest.trim_start_matches('/'));
        match below {
            Some(below) if !below.is_empty() => files.push(without_ids(below)),
            // After a descriptor, quoted text is data.
            None if quoted && !by_descriptor && !path.is_empty() && !path.starts_with('/') => {
                files.push(without_ids(path));
            }
            _ => {}
        }
    }
    if files.is_empty() {
        return None;
    }
    let kind = if changes(call) { Kind::Change } else { Kind::Read };
    Some((files.join(" and "), kind))
}

fn first_is_descriptor(name: &str) -> bool {
    matches!(
        name,
        "execve" | "sendto" | "read" | "pread64" | "readv" | "write" | "pwrite64" | "writev" | "getcwd"
    )
}

fn changes(call: &Call) -> bool {
    const CHANGING: [&str; 12] = [
        "write",
        "pwrite",
        "fsync",
        "fdatasync",
        "ftruncate",
        "fallocate",
        "rename",
        "link",
        "unlink",
        "symlink",
        "mkdir",
        "rmdir",
    ];
    let name = call.name.as_str();
    CHANGING.iter().any(|beginning| name.starts_with(beginning))
        || ["chmod", "fchmod", "fchown", "copy_file_range", "sendfile", "flock"].contains(&name)
        || (name == "fcntl" && call.arguments.contains("F_SETLK"))
        || call.arguments.contains("O_CREAT")
}

/// The texts in `<…>` or in quotes, without the folder that a relative path begins at.
fn named(arguments: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = arguments;
    while let Some(begin) = rest.find(['<', '"']) {
        let quoted = rest.as_bytes()[begin] == b'"';
        let before = &rest[..begin];
        let inside = &rest[begin + 1..];
        let Some(end) = inside.find(if quoted { '"' } else { '>' }) else { break };
        if !before.ends_with("AT_FDCWD") {
            found.push((&inside[..end], quoted));
        }
        rest = &inside[end + 1..];
    }
    found
}

/// A path in which every build has the same name instead of its id.
pub fn without_ids(path: &str) -> String {
    const ID: usize = "20261122T101500Z-7f3a9c".len();
    let plain = |part: &str| match part.split_at_checked(ID) {
        Some((id, rest)) if reindexd::adapters::builds::is_id(id) => format!("ID{rest}"),
        _ => part.to_owned(),
    };
    path.split('/').map(plain).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_about_files_of_this_world_or_the_provider_or_nothing() {
        let place_of = |name: &str, arguments: &str| {
            let (name, arguments) = (name.to_owned(), arguments.to_owned());
            let call = Call { thread: 1, name, arguments, returned: Some(0), rest: String::new() };
            place(&call, Path::new("/w/")).map_or("nothing".to_owned(), |(p, k)| format!("{p}|{k:?}"))
        };
        let cases = [
            ("openat", r#"AT_FDCWD</w>, "data/x", O_RDONLY"#, "data/x|Read"),
            ("openat", r#"AT_FDCWD</w>, "data/x", O_WRONLY|O_CREAT, 0600"#, "data/x|Change"),
            ("openat", r#"AT_FDCWD</w>, "/usr/lib/x", O_RDONLY"#, "nothing"),
            ("unlinkat", r#"4</w/data/b>, "x", 0"#, "data/b and x|Change"),
            (
                "write",
                r#"4</w/data/20261122T101500Z-7f3a9c.staging/x>, "a/b", 3"#,
                "data/ID.staging/x|Change",
            ),
            ("write", r#"2<pipe:[7]>, "data", 4"#, "nothing"),
            ("rename", r#""data/x", "data/y""#, "data/x and data/y|Change"),
            ("sendto", r#"9<TCP:[1.2.3.4:5->6:7]>, "POST", 4"#, "the provider|Wire"),
            ("getcwd", r#""/w", 1024"#, "nothing"),
        ];
        for (name, arguments, expected) in cases {
            assert_eq!(place_of(name, arguments), expected, "{name}({arguments})");
        }
    }

    #[test]
    fn calls_are_counted_by_thread_and_name_and_repeated_reads_are_one() {
        let call = |thread, name: &str, path: &str| Call {
            thread,
            name: name.to_owned(),
            arguments: format!("3<{path}>"),
            returned: Some(0),
            rest: String::new(),
        };
        let calls = [
            call(1, "read", "/lib/x"),
            call(1, "read", "/w/a"),
            call(1, "read", "/w/a"),
            call(1, "fsync", "/w/a"),
            call(2, "fsync", "/w/b"),
            call(1, "fsync", "/w/a"),
        ];
        let found: Vec<String> = sites(&calls, Path::new("/w")).iter().map(SyscallSite::to_string).collect();
        assert_eq!(found, ["read number 2 on a", "fsync number 1 on a", "fsync number 2 on a"]);
    }
}
