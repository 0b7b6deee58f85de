//! Delivers a promoted build to its targets: webhooks and commands that announce it.
//!
//! Every kind of target is a file here and keeps one contract: a delivery that
//! has begun is made to its end, but no target is waited for to confirm a build
//! that was replaced; after a stop request nothing keeps running. No delivery
//! undoes or delays a promotion.
//!
//! [`state`] records what each target received. When a target is due is
//! `decide::delivery`'s decision, the order of the steps is `flows::deliver`'s.

pub(crate) mod command;
mod confirm;
mod off_worker;
pub mod state;
pub(crate) mod webhook;

use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;

pub(crate) use off_worker::off_worker;

use crate::adapters::builds::Build;
use crate::adapters::http::HttpError;
use crate::config::ConfigError;
use crate::domain::pass::Retry;
use crate::domain::stop::Stop;

/// The most bytes of a target's answer or output that are recorded, from its end.
const MAX_OUTPUT_BYTES: usize = 4 * 1024;

/// Something that receives each promoted build.
pub(crate) trait Target: Send + Sync {
    /// Its key in `announced.json`, exactly as 0.1.0 wrote it.
    fn name(&self) -> &str;

    /// Delivers a build, and waits for its confirmation if the settings ask for one.
    ///
    /// # Errors
    ///
    /// A [`DeliverError`] if the target may not have received the build. Once
    /// `stop` is requested it is [`DeliverError::Stopped`], in little more than
    /// [`command::KILL_GRACE`].
    fn deliver<'a>(
        &'a self,
        delivery: &'a Delivery<'_>,
        stop: &'a Stop,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>>;
}

/// A build on its way to one target.
pub(crate) struct Delivery<'a> {
    pub(crate) served: &'a Build,
    /// Requested once another build is served: then this one is not waited for to be confirmed.
    pub(crate) replaced: Stop,
}

impl Delivery<'_> {
    fn build(&self) -> &str {
        &self.served.manifest.id
    }
}

/// How a target answered.
#[derive(Debug)]
pub(crate) enum Delivered {
    Received(Receipt),
    /// The target declined the build; the message says how.
    Refused(String),
}

/// What a target returned when it received a build.
#[derive(Debug)]
pub(crate) struct Receipt {
    /// The end of what a command printed, on one line; empty for a request.
    pub(crate) output: String,
}

/// Why it is not known that a target received a build.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliverError {
    #[error("announce: cannot set up requests")]
    Client { source: HttpError },
    /// The source names the file and what is wrong with it, never its content.
    #[error("announce to {target}: cannot use the token")]
    Token { target: String, source: ConfigError },
    #[error("announce to {target}: expected an answer, found none")]
    Request { target: String, source: HttpError },
    #[error("announce command {program}: cannot be run")]
    Start { program: String, source: io::Error },
    #[error(
        "announce command {program}: expected to end within {limit:?}, found it running; \
         killed it and all that it started{}",
        quoted("output", output)
    )]
    Overran { program: String, limit: Duration, output: String },
    #[error(
        "announce accepted, but not confirmed: expected build {build} at {target} within {limit:?}, found {found}"
    )]
    Unconfirmed { target: String, build: String, limit: Duration, found: String },
    #[error("announce accepted, but build {build} was replaced before {target} confirmed it")]
    Replaced { target: String, build: String },
    /// Whether the target received the build is not known.
    #[error("announce to {target}: stopped before it was complete")]
    Stopped { target: String },
}

impl DeliverError {
    /// When another attempt is worth it. A target may come back at any time, so
    /// none of these waits for other settings.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Client { .. }
            | Self::Token { .. }
            | Self::Request { .. }
            | Self::Start { .. }
            | Self::Overran { .. }
            | Self::Unconfirmed { .. }
            | Self::Replaced { .. }
            | Self::Stopped { .. } => Retry::Soon { wait: None },
        }
    }
}

/// What a target returned, as the end of a message; nothing if it returned nothing.
fn quoted(what: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("; {what}: {text}") }
}

#[cfg(test)]
pub(crate) mod tests;
