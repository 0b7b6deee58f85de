//! A command that is told of a build: its environment, its time, what it prints.
//!
//! It runs in a process group of its own, which is killed as a whole where it
//! overruns, where we are asked to stop, and where the announcement is dropped
//! half way. Only the end of what it prints is kept. No key of ours reaches it:
//! its environment is made of the few names in [`PASSED_VARIABLES`] and of the build's
//! own two.

use crate::domain::stop::Stop;
use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::Command;

use super::{AnnounceError, BuildNotice, MAX_OUTPUT_BYTES, tail};

/// What a command inherits, beside all that begins with `LC_`: enough to find
/// programs, print in the operator's language and reach the user's own service
/// manager. Everything else stays here, API keys and the notify socket first.
pub const PASSED_VARIABLES: [&str; 9] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
];

/// How long a killed command may take to be gone before it is left to the system.
pub const KILL_GRACE: Duration = Duration::from_secs(1);

pub(super) async fn run(
    argv: &[String],
    limit: Duration,
    news: &BuildNotice<'_>,
    stop: &Stop,
) -> Result<String, AnnounceError> {
    let program = argv.first().map_or("", String::as_str).to_owned();
    if stop.is_requested() {
        return Err(AnnounceError::Stopped { target: program });
    }
    let (mut child, group, mut output) =
        start(argv, news).map_err(|source| AnnounceError::Start { program: program.clone(), source })?;

    let ended = tokio::select! {
        biased;
        status = output.read_until_exit(&mut child) => CommandEnd::Exited(status),
        () = stop.requested() => CommandEnd::Stopped,
        () = tokio::time::sleep(limit) => CommandEnd::Overran,
    };
    match ended {
        CommandEnd::Exited(status) => {
            // Once it is waited for, its number may be another's: never kill by it again.
            group.disarm();
            output.drain();
            let said = tail(&output.tail);
            match status {
                Ok(status) if status.success() => Ok(said),
                Ok(found) => Err(AnnounceError::Failed { program, found, said }),
                Err(source) => Err(AnnounceError::Start { program, source }),
            }
        }
        CommandEnd::Stopped => {
            kill_and_reap(child, group).await;
            Err(AnnounceError::Stopped { target: program })
        }
        CommandEnd::Overran => {
            output.drain();
            kill_and_reap(child, group).await;
            Err(AnnounceError::Overran { program, limit, said: tail(&output.tail) })
        }
    }
}

enum CommandEnd {
    Exited(io::Result<ExitStatus>),
    Stopped,
    Overran,
}

#[allow(
    clippy::disallowed_methods,
    reason = "what a child inherits is chosen from the environment here, by name"
)]
fn start(
    argv: &[String],
    news: &BuildNotice<'_>,
) -> io::Result<(tokio::process::Child, ProcessGroup, CapturedOutput)> {
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a program, found an empty command",
        ));
    };
    // One pipe for both streams keeps their lines in order.
    let (reader, writer) = io::pipe()?;
    let output = CapturedOutput::new(reader)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(passed_variables(std::env::vars_os()))
        .env("REINDEXD_BUILD", news.build)
        .env("REINDEXD_BUILD_DIR", news.directory)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn()?;
    let group = ProcessGroup::of(&child);
    Ok((child, group, output))
}

pub(super) fn passed_variables(
    ours: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    ours.filter(|(name, _)| {
        let locale = name.as_encoded_bytes().starts_with(b"LC_");
        locale || PASSED_VARIABLES.iter().any(|passed| name == OsStr::new(passed))
    })
}

/// Kills the whole group and waits for its leader, but not for ever: a process
/// in an uninterruptible wait must not hold up our own end.
async fn kill_and_reap(mut child: tokio::process::Child, group: ProcessGroup) {
    drop(group);
    if let Ok(Err(error)) = tokio::time::timeout(KILL_GRACE, child.wait()).await {
        tracing::debug!(%error, "a killed announce command could not be waited for");
    }
}

/// A command's process group, killed when this is dropped: also when the whole
/// announcement is dropped half way.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(id.cast_signed())))
    }

    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.0
            && let Err(error) = rustix::process::kill_process_group(leader, Signal::KILL)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(%error, "an announce command could not be killed");
        }
    }
}

/// The end of what a command prints.
struct CapturedOutput {
    pipe: pipe::Receiver,
    tail: Vec<u8>,
}

impl CapturedOutput {
    fn new(reader: PipeReader) -> io::Result<Self> {
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?, tail: Vec::new() })
    }

    /// Reads along, so that a full pipe never blocks the command.
    async fn read_until_exit(&mut self, child: &mut tokio::process::Child) -> io::Result<ExitStatus> {
        let mut piece = [0; 4096];
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                status = child.wait() => return status,
                read = self.pipe.read(&mut piece), if open => match read {
                    Ok(0) | Err(_) => open = false,
                    Ok(length) => self.keep(&piece[..length]),
                },
            }
        }
    }

    /// Reads what is in the pipe now, without waiting: something that the command
    /// left in the background may hold the other end open for ever.
    fn drain(&mut self) {
        /// No pipe of an unprivileged user holds more than a mebibyte.
        const MAX_READS: usize = 256;
        let mut piece = [0; 4096];
        for _ in 0..MAX_READS {
            match rustix::io::read(&self.pipe, &mut piece) {
                Ok(0) | Err(_) => return,
                Ok(length) => self.keep(&piece[..length]),
            }
        }
    }

    fn keep(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(piece);
        let surplus = self.tail.len().saturating_sub(MAX_OUTPUT_BYTES);
        self.tail.drain(..surplus);
    }
}
