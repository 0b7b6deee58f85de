//! Tells the API that a build is served, once, and says how that went.
//!
//! A target is an HTTP address that takes the manifest's summary, or a command
//! run without a shell. Either has `timeout` to take the news, and the optional
//! confirmation has the same time again to show the build's id.
//!
//! Nothing here undoes or delays a promotion. Whether a build is still to be
//! announced, and when to try again, is decided by [`due`] and [`wait_after`];
//! remembering what was announced, and the log, are the callers' part.

mod command;
pub mod state;

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use serde_json::Value;

use crate::adapters::http::{HeaderField, HeaderText, Http, HttpError, HttpMethod, HttpRequest, Reply};
use crate::config::{self, AnnounceMethod, AnnounceSettings, ConfigError};
use crate::domain::stop::Stop;
pub use command::{KILL_GRACE, PASSED_VARIABLES};

/// The news: which build is served now.
#[derive(Clone, Copy, Debug)]
pub struct BuildNotice<'a> {
    /// The build's id.
    pub build: &'a str,
    /// The build's own directory, not the link that will point elsewhere one day.
    pub directory: &'a Path,
    /// The manifest's summary, sent as it is.
    pub summary: &'a Value,
}

/// Why a target could not be told, or did not show that it had heard.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    /// The token for a request cannot be had.
    #[error("announce to {target}: no token to send")]
    Token {
        /// The address, without its query.
        target: String,
        /// The file, and what is wrong with it; never its content.
        source: ConfigError,
    },
    /// No whole answer came.
    #[error("announce to {target}: expected an answer, found none")]
    Request {
        /// The address, without its query.
        target: String,
        /// What the request came to.
        source: HttpError,
    },
    /// An answer came, and it was no.
    #[error("announce to {target}: expected a status of 200 to 299, found {status}{}", quoted(said))]
    Refused {
        /// The address, without its query.
        target: String,
        /// The answer's status.
        status: u16,
        /// The end of the answer's body, escaped.
        said: String,
    },
    /// The command could not be started.
    #[error("announce command {program}: cannot be run")]
    Start {
        /// The first word of the command.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// The command ended, and not well.
    #[error("announce command {program}: expected exit status 0, found {found}{}", quoted(said))]
    Failed {
        /// The first word of the command.
        program: String,
        /// How it ended.
        found: ExitStatus,
        /// The end of what it printed, escaped.
        said: String,
    },
    /// The command did not end in time, and was killed with all it had started.
    #[error(
        "announce command {program}: expected to end within {limit:?}, found it running and killed it{}",
        quoted(said)
    )]
    Overran {
        /// The first word of the command.
        program: String,
        /// The time it had.
        limit: Duration,
        /// The end of what it printed, escaped.
        said: String,
    },
    /// The target was told, but never showed the build's id.
    #[error(
        "announce was taken, but {target} did not show build {build} within {limit:?}; last found {found}"
    )]
    Unconfirmed {
        /// The address asked, without its query.
        target: String,
        /// The id looked for.
        build: String,
        /// The time it had.
        limit: Duration,
        /// What the last answer was.
        found: String,
    },
    /// Another build was served before the target showed this one, and will be announced instead.
    #[error("announce was taken, but build {build} was replaced before {target} showed it")]
    Replaced {
        /// The address asked, without its query.
        target: String,
        /// The id looked for.
        build: String,
    },
    /// We were asked to stop; whether the target has heard is not known.
    #[error("announce to {target}: stopped before it was done")]
    Stopped {
        /// The address or the first word of the command.
        target: String,
    },
}

/// Whether the served build is still to be announced.
#[must_use]
pub fn due(last_announced: Option<&str>, served: Option<&str>) -> bool {
    served.is_some() && served != last_announced
}

/// How long to wait after so many failures in a row: one second, doubling to five minutes.
#[must_use]
pub fn wait_after(failures: u32) -> Duration {
    const MAX_WAIT: Duration = Duration::from_secs(5 * 60);
    let doublings = failures.saturating_sub(1).min(16);
    Duration::from_secs(1 << doublings).min(MAX_WAIT)
}

/// Tells one target, and waits until it confirms where that is asked for.
///
/// What has begun to be told is told to its end, but no target is waited for
/// to confirm a build once `replaced` says that another one is served.
///
/// The text returned is the end of what a command printed, with control
/// characters escaped, for the log; a request that went well leaves it empty.
///
/// # Errors
///
/// An [`AnnounceError`] names the target, what was expected of it and what was
/// found. Once `stop` is cancelled it is [`AnnounceError::Stopped`], within
/// [`KILL_GRACE`] and with no command left running.
pub async fn announce(
    target: &AnnounceSettings,
    news: &BuildNotice<'_>,
    http: &Http,
    stop: &Stop,
    replaced: impl Future<Output = ()>,
) -> Result<String, AnnounceError> {
    let said = match &target.method {
        AnnounceMethod::Post(url) => {
            unless_stopped(stop, url, post(url, target, news, http)).await?;
            String::new()
        }
        AnnounceMethod::Command(argv) => command::run(argv, target.timeout, news, stop).await?,
    };
    if let Some(url) = &target.confirm {
        tokio::select! {
            confirmed = unless_stopped(stop, url, confirm(url, target, news.build, http)) => confirmed?,
            () = replaced => {
                return Err(AnnounceError::Replaced { target: shown(url), build: news.build.to_owned() });
            }
        }
    }
    Ok(said)
}

async fn unless_stopped(
    stop: &Stop,
    url: &str,
    work: impl Future<Output = Result<(), AnnounceError>>,
) -> Result<(), AnnounceError> {
    let stopped = || Err(AnnounceError::Stopped { target: shown(url) });
    stop.run_until_requested(work).await.unwrap_or_else(stopped)
}

// --- requests ---------------------------------------------------------------

/// As much of an answer as is read: a health page is small, and a long one is a mistake.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

async fn post(
    url: &str,
    target: &AnnounceSettings,
    news: &BuildNotice<'_>,
    http: &Http,
) -> Result<(), AnnounceError> {
    let token = token(url, target)?;
    let mut headers = vec![("content-type", HeaderText::Plain("application/json"))];
    headers.extend(authorization(token.as_ref()));
    let body = news.summary.to_string().into_bytes();
    let method = HttpMethod::Post(body);
    let (max_bytes, timeout) = (MAX_ANSWER_BYTES, target.timeout);
    let reply = http
        .send(HttpRequest { method, url, headers: &headers, max_bytes, timeout })
        .await
        .map_err(|source| AnnounceError::Request { target: shown(url), source })?;
    if is_success(&reply) {
        return Ok(());
    }
    let said = match &reply.location {
        Some(location) => tail(format!("go to {location}").as_bytes()),
        None => tail(&reply.body),
    };
    Err(AnnounceError::Refused { target: shown(url), status: reply.status, said })
}

/// Asks again and again until an answer holds the build's id, or the time is up.
async fn confirm(
    url: &str,
    target: &AnnounceSettings,
    build: &str,
    http: &Http,
) -> Result<(), AnnounceError> {
    /// An API that is being replaced may take a connection and never answer it.
    const MAX_CONFIRM_REQUEST: Duration = Duration::from_secs(5);
    const FIRST_PAUSE: Duration = Duration::from_millis(250);
    const MAX_PAUSE: Duration = Duration::from_secs(2);

    let limit = target.timeout;
    let token = token(url, target)?;
    let headers = Vec::from_iter(authorization(token.as_ref()));
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let (max_bytes, timeout) = (MAX_ANSWER_BYTES, left.min(MAX_CONFIRM_REQUEST));
        let request = HttpRequest { method: HttpMethod::Get, url, headers: &headers, max_bytes, timeout };
        let found = match http.send(request).await {
            Ok(reply) if !is_success(&reply) => format!("status {}", reply.status),
            Ok(reply) if contains_build(&reply.body, build) => return Ok(()),
            Ok(reply) => format!("status {} without the id", reply.status),
            Err(error) => error.to_string(),
        };
        // The last question, too, is left enough time for its answer.
        let spare = limit.saturating_sub(begun.elapsed()).saturating_sub(FIRST_PAUSE);
        if spare.is_zero() {
            let build = build.to_owned();
            return Err(AnnounceError::Unconfirmed { target: shown(url), build, limit, found });
        }
        tokio::time::sleep(pause.min(spare)).await;
        pause = (2 * pause).min(MAX_PAUSE);
    }
}

fn authorization(token: Option<&SecretString>) -> Option<HeaderField<'_>> {
    token.map(|token| ("authorization", HeaderText::Secret(token)))
}

fn is_success(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}

fn contains_build(body: &[u8], build: &str) -> bool {
    body.windows(build.len().max(1)).any(|window| window == build.as_bytes())
}

/// The token's file is read for each announcement, so that it can be changed without a restart.
fn token(url: &str, target: &AnnounceSettings) -> Result<Option<SecretString>, AnnounceError> {
    let Some(path) = &target.token_file else { return Ok(None) };
    let token =
        config::read_secret(path).map_err(|source| AnnounceError::Token { target: shown(url), source })?;
    Ok(Some(SecretString::from(format!("Bearer {}", token.expose()))))
}

/// An address fit for a log: without its query, where people put secrets.
fn shown(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

// --- what strangers said ----------------------------------------------------

/// As much of it as is kept, from its end.
const MAX_OUTPUT_BYTES: usize = 4 * 1024;

/// The end of a stranger's text on one line, so that it cannot forge a log line or move a cursor.
fn tail(bytes: &[u8]) -> String {
    let end = &bytes[bytes.len().saturating_sub(MAX_OUTPUT_BYTES)..];
    let text = String::from_utf8_lossy(end);
    let mut line = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '"' | '\'' => line.push(c),
            _ => line.extend(c.escape_debug()),
        }
    }
    line
}

fn quoted(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("; it said: {said}") }
}

#[cfg(test)]
mod tests;
