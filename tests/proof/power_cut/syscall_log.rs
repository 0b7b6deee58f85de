//! Turns the calls that strace saw into the steps of a volume.
//!
//! Descriptors, offsets, links and hard links are followed as the kernel does.
//! A call that changes nothing is on a list; one that is on no list and touches
//! the folder fails the test, so that no change is missed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::directory_image::{Node, Tree};
use super::strace_args::{data, decode, descriptor, mode, path, printed, split};
use super::volume::{Change, Kind, Number, Promise, Rename, Step, Volume};
use crate::strace::Call;

/// Calls that change neither bytes nor names nor modes, whatever their arguments are.
const HARMLESS: &str = " access bind chdir close connect epoll_create1 epoll_ctl epoll_pwait epoll_wait \
    eventfd2 execve faccessat faccessat2 fadvise64 flock fstat fstatfs futex getcwd getdents64 getpeername \
    getsockname getsockopt inotify_add_watch ioctl listen lstat newfstatat pipe2 poll ppoll pread64 \
    preadv readlink readlinkat recvfrom recvmsg select sendmsg setsockopt shutdown socket socketpair stat \
    statfs statx timerfd_create memfd_create prlimit64 ";

/// What a program did below `root`, in order.
pub struct Log<'a> {
    root: &'a Path,
    things: Vec<Live>,
    open: HashMap<i64, usize>,
    /// What duplicated descriptors share: the file, the offset, whether writes always go to the end.
    descriptions: Vec<Description>,
    steps: Vec<Step>,
    requests: usize,
    promise: Promise,
    terms: &'a Terms,
}

/// When a text counts as embedded.
pub struct Terms {
    /// Texts in each request; one request is in flight at a time.
    pub batch: usize,
    /// How many texts are embedded in all.
    pub total: usize,
}

#[derive(Clone)]
struct Live {
    kind: Kind,
    bytes: Vec<u8>,
    names: HashMap<String, Number>,
}

#[derive(Clone, Copy)]
struct Description {
    thing: Number,
    at: usize,
    appends: bool,
}

/// The steps of a program that found `before` below `root`; a panic names a call that is not known.
pub fn steps(calls: &[Call], root: &Path, before: &Tree, terms: &Terms) -> Vec<Step> {
    let (_, numbers) = Volume::new(before, &[]);
    let things = numbers.values().max().map_or(0, |last| last + 1);
    let nothing = Live { kind: Kind::File, bytes: Vec::new(), names: HashMap::new() };
    let mut log = Log {
        root,
        things: vec![nothing; things],
        open: HashMap::new(),
        descriptions: Vec::new(),
        steps: Vec::new(),
        requests: 0,
        promise: Promise::default(),
        terms,
    };
    for (path, number) in &numbers {
        log.things[*number].kind = before.0[path].kind();
        if let Node::File { image, .. } = &before.0[path] {
            log.things[*number].bytes.clone_from(&image.content.bytes);
        }
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let name = name.to_str().unwrap().to_owned();
            log.things[numbers[parent]].names.insert(name, *number);
        }
    }
    for call in calls.iter().filter(|call| call.succeeded()) {
        log.call(call);
    }
    log.steps
}

impl Log<'_> {
    fn call(&mut self, call: &Call) {
        let arguments = split(&call.arguments);
        let returned = call.returned.unwrap();
        let count = usize::try_from(returned).expect("a call that succeeded returns a count");
        match call.name.as_str() {
            "openat" => self.opened(&arguments, returned),
            "close" => {
                self.open.remove(&descriptor(arguments[0]));
            }
            "dup" | "dup2" | "dup3" => self.duplicated(arguments[0], returned),
            "fcntl" if arguments[1].starts_with("F_DUPFD") => self.duplicated(arguments[0], returned),
            "fcntl" => {}
            "read" | "readv" => self.moved(arguments[0], |at| at + count),
            "lseek" => self.moved(arguments[0], |_| count),
            "write" | "writev" => self.written(arguments[0], &data(&call.arguments, count), None),
            "pwrite64" | "pwritev" => {
                let at = arguments.last().unwrap().parse().unwrap();
                self.written(arguments[0], &data(&call.arguments, count), Some(at));
            }
            "copy_file_range" => {
                self.copied(arguments[0], arguments[2], &[arguments[1], arguments[3]], count);
            }
            "sendfile" => self.copied(arguments[1], arguments[0], &[arguments[2]], count),
            "sendto" => self.sent(&data(&call.arguments, count)),
            "ftruncate" => self.change(arguments[0], Change::Resize(arguments[1].parse().unwrap())),
            "fchmod" => {
                let mode = u32::from_str_radix(arguments[1], 8).unwrap();
                self.change(arguments[0], Change::Mode(mode));
            }
            // SQLite sets the owner that its files have already.
            "fchown" if self.thing(arguments[0]).is_some() => {
                let ours = [rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()];
                assert_eq!(arguments[1..], ours.map(|id| id.to_string()), "no model of another owner");
            }
            "fsync" | "fdatasync" => {
                if let Some(number) = self.thing(arguments[0]) {
                    let label = self.label(number, arguments[0]);
                    self.steps.push(Step::Flush(number, label));
                }
            }
            "sync" | "syncfs" => self.steps.push(Step::FlushAll),
            "mmap" => self.mapped(&arguments),
            name if HARMLESS.contains(&format!(" {name} ")) => {}
            name => self.named(name, &arguments, call),
        }
    }

    /// Handles calls that change names; any other call that touches the folder is unknown.
    fn named(&mut self, name: &str, arguments: &[&str], call: &Call) {
        let plain = |nth: usize| (None, arguments[nth]);
        let at = |nth: usize| (Some(arguments[nth]), arguments[nth + 1]);
        let place = |log: &Self, (base, path): (Option<&str>, &str)| log.place(base, path);
        match name {
            "rename" => self.renamed(place(self, plain(0)), place(self, plain(1))),
            "renameat" => self.renamed(place(self, at(0)), place(self, at(2))),
            "renameat2" if ["0", "RENAME_NOREPLACE"].contains(&arguments[4]) => {
                self.renamed(place(self, at(0)), place(self, at(2)));
            }
            "unlink" | "rmdir" => self.left(place(self, plain(0))),
            "unlinkat" => self.left(place(self, at(0))),
            "mkdir" => self.entered(place(self, plain(0)), Kind::Folder, mode(arguments[1])),
            "mkdirat" => self.entered(place(self, at(0)), Kind::Folder, mode(arguments[2])),
            "symlink" => self.linked(arguments[0], place(self, plain(1))),
            "symlinkat" => self.linked(arguments[0], place(self, at(1))),
            "link" => self.hard_linked(place(self, plain(0)), place(self, plain(1))),
            "linkat" => self.hard_linked(place(self, at(0)), place(self, at(2))),
            // The time stamp of an open file: no promise rests on it after a power cut.
            "utimensat" if arguments[1] == "NULL" => {}
            _ => {
                let decoded = decode(&call.arguments);
                let root = self.root.as_os_str().as_bytes();
                let touches = decoded.windows(root.len()).any(|bytes| bytes == root);
                assert!(!touches, "no model of a call that touches the folder: {call:?}");
            }
        }
    }

    fn opened(&mut self, arguments: &[&str], descriptor: i64) {
        self.open.remove(&descriptor);
        let Some(path) = self.below(Some(arguments[0]), arguments[1]) else { return };
        let flags = arguments[2];
        assert!(!flags.contains("O_TMPFILE"), "no model of a file without a name: {flags}");
        let number = self.find(&path).unwrap_or_else(|| {
            assert!(flags.contains("O_CREAT"), "{} was opened and does not exist", path.display());
            let place = self.place_of(&path);
            if path.file_name() == Some(OsStr::new("faiss.index")) {
                // The index is started when every vector has arrived.
                self.promised(|promise, terms| (promise.stored, promise.sent) = (terms.total, 0));
            }
            self.entered(place, Kind::File, mode(arguments[3]));
            self.things.len() - 1
        });
        if flags.contains("O_TRUNC") {
            self.changed(number, Change::Resize(0));
        }
        self.open.insert(descriptor, self.descriptions.len());
        self.descriptions.push(Description { thing: number, at: 0, appends: flags.contains("O_APPEND") });
    }

    fn duplicated(&mut self, from: &str, to: i64) {
        match self.open.get(&descriptor(from)) {
            Some(&description) => self.open.insert(to, description),
            None => self.open.remove(&to),
        };
    }

    fn moved(&mut self, of: &str, to: impl FnOnce(usize) -> usize) {
        if let Some(&nth) = self.open.get(&descriptor(of)) {
            self.descriptions[nth].at = to(self.descriptions[nth].at);
        }
    }

    fn written(&mut self, to: &str, bytes: &[u8], at: Option<usize>) {
        let Some(&nth) = self.open.get(&descriptor(to)) else {
            match descriptor(to) {
                1 => self.promised(|promise, _| promise.reported = true),
                _ => self.sent(bytes),
            }
            return;
        };
        let description = &mut self.descriptions[nth];
        let end = self.things[description.thing].bytes.len();
        let from = at.unwrap_or(if description.appends { end } else { description.at });
        if at.is_none() {
            description.at = from + bytes.len();
        }
        let thing = description.thing;
        self.changed(thing, Change::Write { at: from, bytes: Arc::from(bytes) });
    }

    /// Bytes that the kernel copied from file to file, so that strace did not see them.
    fn copied(&mut self, from: &str, to: &str, offsets: &[&str], count: usize) {
        let Some(&nth) = self.open.get(&descriptor(from)) else {
            assert!(self.thing(to).is_none(), "no model of bytes that come from elsewhere: {from} to {to}");
            return;
        };
        assert!(offsets.iter().all(|offset| *offset == "NULL"), "no model of a copy at an offset");
        let source = &mut self.descriptions[nth];
        let range = source.at..source.at + count;
        source.at = range.end;
        let bytes = self.things[source.thing].bytes[range].to_vec();
        self.written(to, &bytes, None);
    }

    /// A request is sent after the answers to those before it are stored.
    fn sent(&mut self, bytes: &[u8]) {
        if bytes.starts_with(b"POST ") {
            let stored = self.requests * self.terms.batch;
            self.requests += 1;
            self.promised(|promise, terms| {
                promise.stored = stored;
                promise.sent = terms.batch.min(terms.total.saturating_sub(stored));
            });
        }
    }

    fn promised(&mut self, change: impl FnOnce(&mut Promise, &Terms)) {
        change(&mut self.promise, self.terms);
        self.steps.push(Step::Promise(self.promise));
    }

    fn change(&mut self, of: &str, change: Change) {
        let Some(number) = self.thing(of) else { return };
        self.changed(number, change);
    }

    fn changed(&mut self, number: Number, change: Change) {
        change.apply(&mut self.things[number].bytes);
        self.steps.push(Step::Change(number, change));
    }

    /// A label of a flush that is the same in another run.
    fn label(&self, number: Number, of: &str) -> String {
        let path = printed(of).expect("strace prints the path of a descriptor");
        let path = nameless(&path.strip_prefix(self.root).unwrap().display().to_string());
        // A scenario may publish to `data/`, with the same flushes.
        let path = path.strip_prefix("data").map_or(path.as_str(), |below| below.trim_start_matches('/'));
        let path = if path.is_empty() { "." } else { path };
        if self.things[number].kind != Kind::Folder {
            return path.to_owned();
        }
        let since = self.steps.iter().rev().map_while(|step| match step {
            Step::Flush(other, _) if *other == number => None,
            Step::Name(folder, rename) if *folder == number => Some(Some(rename.names().last()?.to_owned())),
            _ => Some(None),
        });
        let last = since.flatten().next().unwrap_or_else(|| "nothing new".to_owned());
        format!("{path}/ after {}", nameless(&last))
    }

    fn mapped(&self, arguments: &[&str]) {
        let writes = arguments[2].contains("PROT_WRITE") && arguments[3].contains("MAP_SHARED");
        let ours = writes && arguments.get(4).is_some_and(|file| self.thing(file).is_some());
        assert!(!ours, "no model of a mapping that is written to: {arguments:?}");
    }
}

// --- names ------------------------------------------------------------------

/// A name in a folder below the root.
type Place = Option<(Number, String)>;

impl Log<'_> {
    fn entered(&mut self, place: Place, kind: Kind, mode: u32) {
        let Some((folder, name)) = place else { return };
        let number = self.things.len();
        self.things.push(Live { kind: kind.clone(), bytes: Vec::new(), names: HashMap::new() });
        self.steps.push(Step::Born(kind, mode));
        self.things[folder].names.insert(name.clone(), number);
        self.steps.push(Step::Name(folder, Rename::Enter { name, number }));
    }

    fn linked(&mut self, target: &str, place: Place) {
        self.entered(place, Kind::Link(path(target)), 0o777);
    }

    fn hard_linked(&mut self, from: Place, to: Place) {
        let Some((folder, name)) = to else { return };
        let (of, link_name) = from.expect("a second name for a file of ours");
        let number = self.things[of].names[&link_name];
        self.things[folder].names.insert(name.clone(), number);
        self.steps.push(Step::Name(folder, Rename::Enter { name, number }));
    }

    fn left(&mut self, place: Place) {
        let Some((folder, name)) = place else { return };
        self.things[folder].names.remove(&name);
        self.steps.push(Step::Name(folder, Rename::Leave { name }));
    }

    fn renamed(&mut self, from: Place, to: Place) {
        let (Some((folder, from)), Some((other, to))) = (from, to) else { return };
        assert_eq!(folder, other, "no model of a rename from folder to folder: {from} to {to}");
        let number = self.things[folder].names.remove(&from).unwrap();
        self.things[folder].names.insert(to.clone(), number);
        self.steps.push(Step::Name(folder, Rename::Move { from, to }));
    }

    fn thing(&self, of: &str) -> Option<Number> {
        self.open.get(&descriptor(of)).map(|&nth| self.descriptions[nth].thing)
    }

    fn place(&self, base: Option<&str>, path: &str) -> Place {
        self.below(base, path).and_then(|path| self.place_of(&path))
    }

    fn place_of(&self, path: &Path) -> Place {
        let folder = self.find(path.parent()?).expect("the folder exists");
        Some((folder, path.file_name()?.to_str().unwrap().to_owned()))
    }

    /// A path from the root, if it is below it. Relative paths are refused: their folder is unknown.
    fn below(&self, base: Option<&str>, text: &str) -> Option<PathBuf> {
        let path = match base.and_then(printed) {
            Some(folder) => folder.join(path(text)),
            None => path(text),
        };
        assert!(path.is_absolute(), "no model of a relative path: {}", path.display());
        path.strip_prefix(self.root).ok().map(Path::to_owned)
    }

    /// What exists at a path from the root, with every link followed.
    fn find(&self, path: &Path) -> Option<Number> {
        let mut way = vec![0];
        for part in path.components() {
            match part {
                Component::Normal(name) => {
                    let number = *self.things[*way.last()?].names.get(name.to_str().unwrap())?;
                    if let Kind::Link(target) = &self.things[number].kind {
                        assert!(target.is_relative(), "no model of an absolute link");
                        let folder = self.path_of(&way);
                        way.push(self.find(&folder.join(target))?);
                    } else {
                        way.push(number);
                    }
                }
                Component::ParentDir => {
                    way.pop();
                }
                _ => {}
            }
        }
        way.last().copied()
    }

    /// The path of nested folders.
    fn path_of(&self, way: &[Number]) -> PathBuf {
        let step = |pair: &[Number]| {
            let mut names = self.things[pair[0]].names.iter();
            names.find(|(_, number)| **number == pair[1]).map(|(name, _)| name.clone())
        };
        way.windows(2).filter_map(step).collect()
    }
}

/// A path with `ID` for each build's id.
fn nameless(path: &str) -> String {
    let part = |part: &str| match part.get(..23) {
        Some(id) if reindexd::adapters::builds::is_id(id) => format!("ID{}", &part[23..]),
        _ => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn followed(calls: &[(&str, &str, i64)]) -> Vec<Step> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("old"), "old").unwrap();
        let before = Tree::read(folder.path());
        let call = |(name, arguments, returned): &(&str, &str, i64)| Call {
            thread: 1,
            name: (*name).to_owned(),
            arguments: (*arguments).to_owned(),
            returned: Some(*returned),
            rest: String::new(),
        };
        let calls: Vec<Call> = calls.iter().map(call).collect();
        steps(&calls, Path::new("/r"), &before, &Terms { batch: 1, total: 0 })
    }

    #[test]
    fn descriptors_offsets_and_names_are_followed() {
        let steps = followed(&[
            ("openat", "AT_FDCWD</>, \"\\x2f\\x72/old\", O_RDWR", 3),
            ("read", "3</r/old>, \"o\", 1", 1),
            ("openat", "AT_FDCWD</>, \"/r/new\", O_WRONLY|O_CREAT|O_EXCL, 0600", 4),
            ("fcntl", "4</r/new>, F_DUPFD_CLOEXEC, 0", 5),
            ("copy_file_range", "3</r/old>, NULL, 4</r/new>, NULL, 9, 0", 2),
            ("writev", "5</r/new>, [{iov_base=\"a\", iov_len=1}, {iov_base=\"b, \", iov_len=3}], 2", 4),
            ("rename", "\"/r/new\", \"/r/old\"", 0),
            ("fsync", "4</r/old>", 0),
            ("openat", "AT_FDCWD</>, \"/elsewhere\", O_WRONLY|O_CREAT, 0600", 6),
            ("write", "6</elsewhere>, \"x\", 1", 1),
        ]);

        let printed_steps: Vec<String> = steps.iter().map(|step| format!("{step:?}")).collect();
        let expected = [
            "Born(File, 384)",
            "Name(0, Enter { name: \"new\", number: 2 })",
            "Change(2, Write { at: 0, bytes: [108, 100] })",
            "Change(2, Write { at: 2, bytes: [97, 98, 44, 32] })",
            "Name(0, Move { from: \"new\", to: \"old\" })",
            "Flush(2, \"old\")",
        ];
        assert_eq!(printed_steps, expected);
    }

    #[test]
    fn a_call_that_is_not_known_fails_where_it_touches_the_folder() {
        let elsewhere = ("fallocate", "3</elsewhere>, 0, 0, 9", 0);
        assert!(followed(&[elsewhere]).is_empty());
        for call in [
            ("fallocate", "3</r/old>, 0, 0, 9", 0),
            ("truncate", "\"/r/old\", 9", 0),
            ("renameat2", "AT_FDCWD</>, \"/r/old\", AT_FDCWD</>, \"/r/new\", RENAME_EXCHANGE", 0),
        ] {
            let failed = std::panic::catch_unwind(|| followed(&[call]));
            assert!(failed.is_err(), "{call:?}");
        }
    }
}
