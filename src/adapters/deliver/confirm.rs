//! Requests to an API that receives builds: its token, and the confirmation
//! that it serves the build it was notified of.
//!
//! The token's file is read for each use, so that it can be replaced without a
//! restart. No message shows a token or the query of an address, where secrets
//! may stand.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use secrecy::SecretString;

use super::{DeliverError, Delivery, off_worker};
use crate::adapters::http::{HeaderField, HeaderText, Http, HttpMethod, HttpRequest, Reply};
use crate::config::{self, AnnounceSettings};
use crate::domain::stop::Stop;

/// Enough for any health page; a longer answer is a mistake.
pub(super) const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// An API that is being replaced may accept a connection and never answer it.
const MAX_CONFIRM_REQUEST: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// An address that is read until its answer contains the build's id.
pub(super) struct Confirmation {
    url: String,
    token_file: Option<PathBuf>,
    limit: Duration,
}

impl Confirmation {
    /// `None` if the settings ask for no confirmation.
    pub(super) fn new(settings: &AnnounceSettings) -> Option<Self> {
        let (token_file, limit) = (settings.token_file.clone(), settings.timeout);
        settings.confirm.clone().map(|url| Self { url, token_file, limit })
    }

    /// Waits until the target shows the build, but not after a stop or a newer build.
    pub(super) async fn wait(
        &self,
        delivery: &Delivery<'_>,
        http: &Http,
        stop: &Stop,
    ) -> Result<(), DeliverError> {
        let build = delivery.build();
        tokio::select! {
            confirmed = unless_stopped(stop, &self.url, self.poll(build, http)) => confirmed,
            () = delivery.replaced.requested() => {
                let (target, build) = (without_query(&self.url), build.to_owned());
                Err(DeliverError::Replaced { target, build })
            }
        }
    }

    async fn poll(&self, build: &str, http: &Http) -> Result<(), DeliverError> {
        let token = token(&self.url, self.token_file.as_deref()).await?;
        let headers = Vec::from_iter(authorization(token.as_ref()));
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let left = self.limit.saturating_sub(begun.elapsed());
            let request = HttpRequest {
                method: HttpMethod::Get,
                url: &self.url,
                headers: &headers,
                max_bytes: MAX_ANSWER_BYTES,
                timeout: left.min(MAX_CONFIRM_REQUEST),
            };
            let found = match http.send(request).await {
                Ok(reply) if !is_success(&reply) => format!("status {}", reply.status),
                Ok(reply) if contains_build(&reply.body, build) => return Ok(()),
                Ok(reply) => format!("status {} without the id", reply.status),
                Err(error) => error.to_string(),
            };
            // The last request, too, has enough time for its answer.
            let spare = self.limit.saturating_sub(begun.elapsed()).saturating_sub(FIRST_PAUSE);
            if spare.is_zero() {
                let (target, build) = (without_query(&self.url), build.to_owned());
                return Err(DeliverError::Unconfirmed { target, build, limit: self.limit, found });
            }
            tokio::time::sleep(pause.min(spare)).await;
            pause = (2 * pause).min(MAX_PAUSE);
        }
    }
}

/// What `work` gives, or [`DeliverError::Stopped`] if the stop is requested first.
pub(super) async fn unless_stopped<T>(
    stop: &Stop,
    url: &str,
    work: impl Future<Output = Result<T, DeliverError>>,
) -> Result<T, DeliverError> {
    let stopped = || Err(DeliverError::Stopped { target: without_query(url) });
    stop.run_until_requested(work).await.unwrap_or_else(stopped)
}

pub(super) fn client() -> Result<Http, DeliverError> {
    Http::new().map_err(|source| DeliverError::Client { source })
}

pub(super) async fn token(url: &str, file: Option<&Path>) -> Result<Option<SecretString>, DeliverError> {
    let Some(path) = file.map(Path::to_owned) else { return Ok(None) };
    let failed = |source| DeliverError::Token { target: without_query(url), source };
    let token = off_worker(move || config::read_secret(&path)).await.map_err(failed)?;
    Ok(Some(SecretString::from(format!("Bearer {}", token.expose()))))
}

pub(super) fn authorization(token: Option<&SecretString>) -> Option<HeaderField<'_>> {
    token.map(|token| ("authorization", HeaderText::Secret(token)))
}

pub(super) fn is_success(reply: &Reply) -> bool {
    (200..300).contains(&reply.status)
}

/// An address fit for a log.
pub(super) fn without_query(url: &str) -> String {
    url.split('?').next().unwrap_or_default().to_owned()
}

fn contains_build(body: &[u8], build: &str) -> bool {
    body.windows(build.len().max(1)).any(|window| window == build.as_bytes())
}
