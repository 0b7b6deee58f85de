//! A target that is a command: its environment, its time limit, what it prints.
//!
//! It runs without a shell, in a process group of its own. The whole group is
//! killed if the command exceeds its time, if a stop is requested and if the
//! delivery is dropped before its end. Only the end of what it prints is kept.
//! None of our keys reaches it: its environment has the few names in
//! [`PASSED_VARIABLES`] and the two of the build.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::{self, Path};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::confirm::{Confirmation, client};
use super::{DeliverError, Delivered, Delivery, MAX_OUTPUT_BYTES, Receipt, Target, off_worker, quoted};
use crate::config::AnnounceSettings;
use crate::domain::stop::Stop;
use crate::domain::text::tail;

/// What a command inherits, and everything that begins with `LC_`: enough to
/// find programs, print in the operator's language and reach the user's own
/// service manager. Nothing else is passed on, API keys and the notify socket
/// least of all.
pub(crate) const PASSED_VARIABLES: [&str; 9] = [
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

/// How long a killed command may take to end before it is left to the system.
pub(crate) const KILL_GRACE: Duration = Duration::from_secs(1);

pub(crate) struct CommandTarget {
    name: String,
    argv: Vec<String>,
    limit: Duration,
    confirmation: Option<Confirmation>,
}

impl CommandTarget {
    pub(crate) fn new(argv: &[String], settings: &AnnounceSettings) -> Self {
        Self {
            name: format!("command {}", argv.join(" ")),
            argv: argv.to_owned(),
            limit: settings.timeout,
            confirmation: Confirmation::new(settings),
        }
    }

    async fn run(&self, delivery: &Delivery<'_>, stop: &Stop) -> Result<Delivered, DeliverError> {
        let program = self.argv.first().map_or("", String::as_str).to_owned();
        if stop.is_requested() {
            return Err(DeliverError::Stopped { target: program });
        }
        let (argv, build) = (self.argv.clone(), delivery.build().to_owned());
        let directory = delivery.served.directory.clone();
        // The program itself may be on a file system that hangs.
        let started = off_worker(move || start(&argv, &build, &directory)).await;
        let (mut child, group, mut output) = match started {
            Ok(started) => started,
            Err(source) => return Err(DeliverError::Start { program, source }),
        };
        let end = tokio::select! {
            biased;
            status = output.read_until_exit(&mut child) => CommandEnd::Exited(status),
            () = stop.requested() => CommandEnd::Stopped,
            () = tokio::time::sleep(self.limit) => CommandEnd::Overran,
        };
        match end {
            CommandEnd::Exited(status) => {
                // Once it was waited for, its number may belong to another group: never kill by it again.
                group.disarm();
                output.drain();
                match status {
                    Ok(status) => Ok(exited(&program, status, output.tail())),
                    Err(source) => Err(DeliverError::Start { program, source }),
                }
            }
            CommandEnd::Stopped => {
                kill_and_reap(child, group).await;
                Err(DeliverError::Stopped { target: program })
            }
            CommandEnd::Overran => {
                output.drain();
                kill_and_reap(child, group).await;
                Err(DeliverError::Overran { program, limit: self.limit, output: output.tail() })
            }
        }
    }
}

impl Target for CommandTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver<'a>(
        &'a self,
        delivery: &'a Delivery<'_>,
        stop: &'a Stop,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>> {
        async move {
            let http = self.confirmation.as_ref().map(|_| client()).transpose()?;
            let delivered = self.run(delivery, stop).await?;
            if let (Delivered::Received(_), Some(confirmation), Some(http)) =
                (&delivered, &self.confirmation, &http)
            {
                confirmation.wait(delivery, http, stop).await?;
            }
            Ok(delivered)
        }
        .boxed()
    }
}

fn exited(program: &str, status: ExitStatus, output: String) -> Delivered {
    if status.success() {
        return Delivered::Received(Receipt { output });
    }
    Delivered::Refused(format!(
        "announce command {program}: expected exit status 0, found {status}{}",
        quoted("output", &output)
    ))
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
    build: &str,
    directory: &Path,
) -> io::Result<(Child, ProcessGroup, CapturedOutput)> {
    let [program, arguments @ ..] = argv else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "expected a program, found an empty command",
        ));
    };
    // One pipe for both streams keeps their lines in order.
    let (reader, writer) = io::pipe()?;
    let output = CapturedOutput::new(reader)?;
    // Absolute, for a command that changes its directory; and not the link, which will lead to another build.
    let directory = path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(passed_variables(std::env::vars_os()))
        .env("REINDEXD_BUILD", build)
        .env("REINDEXD_BUILD_DIR", directory)
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

/// Kills the whole group and waits for its leader, but not without limit: a
/// process in an uninterruptible wait must not delay our own end.
async fn kill_and_reap(mut child: Child, group: ProcessGroup) {
    drop(group);
    if let Ok(Err(error)) = tokio::time::timeout(KILL_GRACE, child.wait()).await {
        tracing::debug!(%error, "announce command: killed, but cannot be waited for");
    }
}

/// A command's process group, killed when this is dropped: also when the whole
/// delivery is dropped before its end.
struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    fn of(child: &Child) -> Self {
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
            tracing::warn!(%error, "announce command: cannot be killed");
        }
    }
}

/// The end of what a command prints.
struct CapturedOutput {
    pipe: pipe::Receiver,
    end: Vec<u8>,
}

impl CapturedOutput {
    fn new(reader: PipeReader) -> io::Result<Self> {
        Ok(Self { pipe: pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?, end: Vec::new() })
    }

    /// Reads while the command runs, so that a full pipe never blocks it.
    async fn read_until_exit(&mut self, child: &mut Child) -> io::Result<ExitStatus> {
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

    /// Reads what is in the pipe now, without waiting: a process that the command
    /// left in the background may keep the other end open without end.
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
        self.end.extend_from_slice(piece);
        let surplus = self.end.len().saturating_sub(MAX_OUTPUT_BYTES);
        self.end.drain(..surplus);
    }

    fn tail(&self) -> String {
        tail(&self.end, MAX_OUTPUT_BYTES)
    }
}
