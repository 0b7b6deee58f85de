//! A program under strace: every system call it made, in order, or one of them broken.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One finished system call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread that made it.
    pub thread: u32,
    /// `openat`, `write`, …
    pub name: String,
    /// All arguments as strace prints them; with `-y` each descriptor is followed by `<path>`.
    pub arguments: String,
    /// What it returned; `None` if it did not return (the program ended in it) or returned no number.
    pub returned: Option<i64>,
    /// What follows the number: the path of a new descriptor, the error's name and message, or `(INJECTED)`.
    pub rest: String,
}

impl Call {
    /// Whether it returned without an error.
    pub fn succeeded(&self) -> bool {
        self.returned.is_some_and(|value| value >= 0)
    }

    /// Whether strace injected a fault into it.
    pub fn was_injected(&self) -> bool {
        self.rest.contains("(INJECTED)")
    }
}

/// strace before `command`, with the same arguments, environment and folder; the log goes to `log`.
///
/// Without `--seccomp-bpf` on purpose: with it, strace 6.1 drops the signals of an injection.
pub fn traced(command: &Command, log: &Path, options: &[&str]) -> Command {
    let mut traced = Command::new(strace().expect("`available` was asked first"));
    traced
        .args(["-f", "-qq", "-o"])
        .arg(log)
        .args(options)
        .arg(command.get_program())
        .args(command.get_args());
    traced.env_clear();
    traced.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// Whether strace may trace here and kill what it traces; its own message if it may not.
pub fn available() -> Result<(), String> {
    let tried = Command::new(strace().ok_or("there is no strace on PATH")?)
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=?close",
            "-e",
            "inject=?close:signal=KILL:when=1",
            "true",
        ])
        .output()
        .map_err(|error| error.to_string())?;
    let killed = std::os::unix::process::ExitStatusExt::signal(&tried.status) == Some(9);
    if killed { Ok(()) } else { Err(format!("strace may not trace here: {tried:?}")) }
}

/// The path of strace, since the traced program may have no PATH.
fn strace() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("strace")).find(|file| file.exists())
}

/// The calls in a log, in the order in which they ended; those that never ended come last.
pub fn calls(log: &Path) -> Vec<Call> {
    parsed(&String::from_utf8_lossy(&std::fs::read(log).unwrap()))
}

fn parsed(log: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let mut begun: HashMap<u32, String> = HashMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.trim_start().split_once(' ') else { continue };
        let Ok(thread) = thread.parse() else { continue };
        let rest = rest.trim_start();
        if let Some(beginning) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, beginning.trim_end().to_owned());
        } else if let Some((_, ending)) =
            rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            let whole = begun.remove(&thread).unwrap_or_default() + ending;
            calls.extend(call(thread, &whole));
        } else {
            calls.extend(call(thread, rest));
        }
    }
    let mut unfinished: Vec<(u32, String)> = begun.into_iter().collect();
    unfinished.sort();
    calls.extend(unfinished.iter().filter_map(|(thread, beginning)| call(*thread, beginning)));
    calls
}

/// `name(arguments) = returned rest`, the part from `)` on missing where the call never ended.
fn call(thread: u32, line: &str) -> Option<Call> {
    let (name, after) = line.split_once('(')?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    // Quoted data has no bare quote, so the last `) = ` belongs to the call,
    // with or without spaces before it.
    let (arguments, ending) = after.rsplit_once(" = ").unwrap_or((after, "?"));
    let arguments = arguments.trim_end();
    let arguments = arguments.strip_suffix(')').unwrap_or(arguments);
    let (number, rest) = ending.split_once([' ', '<']).unwrap_or((ending, ""));
    Some(Call {
        thread,
        name: name.to_owned(),
        arguments: arguments.to_owned(),
        returned: number.parse().ok(),
        rest: rest.trim_end_matches('>').to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_calls_are_joined_and_have_their_results() {
        let log = "\
12 openat(AT_FDCWD</w>, \"/w/a\", O_RDONLY) = 3</w/a>
12 write(3</w/a>, \"a = b) \", 7 <unfinished ...>
13 fsync(4</w/b>) = -1 EIO (Input/output error) (INJECTED)
12 <... write resumed>)            = 7
13 rename(\"/w/b\", \"/w/c\" <unfinished ...>
12 +++ killed by SIGKILL +++
";
        let printed: Vec<String> = parsed(log)
            .iter()
            .map(|c| format!("{} {}|{}|{:?}|{}", c.thread, c.name, c.arguments, c.returned, c.rest))
            .collect();

        assert_eq!(
            printed,
            [
                "12 openat|AT_FDCWD</w>, \"/w/a\", O_RDONLY|Some(3)|/w/a",
                "13 fsync|4</w/b>|Some(-1)|EIO (Input/output error) (INJECTED)",
                "12 write|3</w/a>, \"a = b) \", 7|Some(7)|",
                "13 rename|\"/w/b\", \"/w/c\"|None|",
            ]
        );
    }
}
