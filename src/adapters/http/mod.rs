//! The only outgoing sockets.
//!
//! One request, one bounded answer: every request has a timeout that covers the
//! body of its answer, and a limit on that body. A redirect is an answer like
//! any other: to follow it could carry the key to a host that is not in the
//! settings. Secret headers are marked sensitive, and no error shows more of an
//! address than its origin.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` have their usual meaning, but an
//! address of this host is always reached directly: `own_address`. What a status or a body means
//! is left to the caller.

mod own_address;

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::config;
use crate::domain::text::network_error_chain;
use own_address::{Lookup, OnlyOwn, OwnHosts, system_lookup};

/// What is read of an answer that is not a success: enough for any message.
pub(crate) const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// A client that keeps its connections alive between requests.
pub(crate) struct Http {
    outside: Client,
    /// Without a proxy, for this host.
    direct: Client,
    own_hosts: OwnHosts,
    /// Set if this host has no certificate authority: then only plain HTTP works.
    no_authorities: Option<String>,
}

/// The text of a header.
#[derive(Clone, Copy)]
pub(crate) enum HeaderText<'a> {
    Plain(&'a str),
    /// Kept out of every debug print.
    Secret(&'a SecretString),
}

/// A header's name, in lower case, and its text.
pub(crate) type HeaderField<'a> = (&'static str, HeaderText<'a>);

pub(crate) enum HttpMethod {
    Get,
    Post(Vec<u8>),
}

/// One request and the limits of its answer.
pub(crate) struct HttpRequest<'a> {
    pub(crate) method: HttpMethod,
    pub(crate) url: &'a str,
    pub(crate) headers: &'a [HeaderField<'a>],
    /// The most bytes that the body of the answer may have, decompressed. Of an answer whose status is
    /// not a success the first [`MAX_REFUSAL_BYTES`] are read, and the rest is left.
    pub(crate) max_bytes: usize,
    /// From the connection to the last byte of the answer.
    pub(crate) timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// How long the server asks us to wait; zero is a request too.
    pub(crate) retry_after: Option<Duration>,
    /// Where a redirect points; it was not followed.
    pub(crate) location: Option<String>,
    /// The body, decompressed; of a refusal its beginning.
    pub(crate) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// TLS or the resolver cannot be used on this host.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    #[error("expected an http or https address, found one that {0}")]
    Address(String),
    /// The text of the header is not shown: it may be a key.
    #[error("header {0} has characters that cannot be sent: expected visible ASCII without line breaks")]
    Header(&'static str),
    #[error("no answer from {origin} within {limit:?}")]
    Timeout { origin: String, limit: Duration },
    #[error("no answer from {origin}: {message}")]
    Broken {
        origin: String,
        message: String,
        /// Whether there was a connection, so that the request may have left.
        is_connected: bool,
    },
    #[error("answer from {origin} is larger than {max_bytes} bytes")]
    TooLarge { origin: String, max_bytes: usize },
}

impl HttpError {
    /// Whether the same request could succeed later.
    #[must_use]
    pub(crate) fn retry(&self) -> bool {
        match self {
            Self::Client(_) | Self::Address(_) | Self::Header(_) => false,
            Self::Timeout { .. } | Self::Broken { .. } | Self::TooLarge { .. } => true,
        }
    }
}

impl HttpError {
    /// Whether the request may have left this host.
    #[must_use]
    pub(crate) fn has_left(&self) -> bool {
        match self {
            Self::Client(_) | Self::Address(_) | Self::Header(_) => false,
            Self::Broken { is_connected, .. } => *is_connected,
            Self::Timeout { .. } | Self::TooLarge { .. } => true,
        }
    }
}

impl Http {
    /// How long one connection attempt may take before the next address is tried.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// A timer that fires this late means that the process was suspended; the answer may already be here.
    const SUSPEND_THRESHOLD: Duration = Duration::from_secs(1);
    /// How long reading that answer may take.
    const RESUME_GRACE: Duration = Duration::from_secs(2);

    /// Opens no connection.
    ///
    /// # Errors
    ///
    /// [`HttpError::Client`] if TLS cannot be used at all. Without a single
    /// certificate authority only https fails, and only when it is used.
    pub(crate) fn new() -> Result<Self, HttpError> {
        Self::with_lookup(system_lookup)
    }

    fn with_lookup(lookup: Lookup) -> Result<Self, HttpError> {
        // The first provider installed serves the whole process, so it does not
        // matter if another thread was faster.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let builder = || {
            Client::builder()
                .user_agent(concat!("reindexd/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Self::CONNECT_TIMEOUT)
        };
        let failed = |error: reqwest::Error| HttpError::Client(network_error_chain(&error));
        let (outside, no_authorities) = match builder().build() {
            Ok(client) => (client, None),
            Err(error) => {
                (builder().tls_certs_only([]).build().map_err(failed)?, Some(network_error_chain(&error)))
            }
        };
        let direct = builder().no_proxy().dns_resolver(Arc::new(OnlyOwn(lookup)));
        let direct = if no_authorities.is_some() { direct.tls_certs_only([]) } else { direct };
        let own_hosts = OwnHosts::new(config::has_proxy(), lookup);
        Ok(Self { outside, direct: direct.build().map_err(failed)?, own_hosts, no_authorities })
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    ///
    /// An [`HttpError`] if there is no whole answer. Any status is an answer.
    pub(crate) async fn send(&self, request: HttpRequest<'_>) -> Result<Reply, HttpError> {
        let HttpRequest { method, url, headers, max_bytes, timeout } = request;
        let url = address(url)?;
        let origin = url.origin().ascii_serialization();
        let headers = header_map(headers)?;
        // What a proxy reaches under such an address is not this host.
        let client = if self.own_hosts.leads_here(&url).await { &self.direct } else { &self.outside };
        if let (Some(why), "https") = (&self.no_authorities, url.scheme()) {
            return Err(HttpError::Client(why.clone()));
        }
        let request = match method {
            HttpMethod::Get => client.get(url),
            HttpMethod::Post(body) if body.is_empty() => client.post(url),
            HttpMethod::Post(body) => client.post(url).body(body),
        };
        let request = request.headers(headers);
        let whole = async {
            let response = request.send().await.map_err(|error| broken(&origin, error))?;
            read(response, &origin, max_bytes).await
        };
        let mut whole = std::pin::pin!(whole);
        let deadline = Instant::now() + timeout;
        let mut reply = tokio::time::timeout_at(deadline, &mut whole).await;
        if reply.is_err() && deadline.elapsed() >= Self::SUSPEND_THRESHOLD {
            // The answer may be here by now, and have been paid for.
            reply = tokio::time::timeout(Self::RESUME_GRACE, whole).await;
        }
        reply.unwrap_or_else(|_elapsed| Err(HttpError::Timeout { origin: origin.clone(), limit: timeout }))
    }
}

async fn read(mut response: reqwest::Response, origin: &str, max_bytes: usize) -> Result<Reply, HttpError> {
    let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = retry_after(text(header::RETRY_AFTER), text(header::DATE));
    let location = text(header::LOCATION).map(str::to_owned);
    let status = response.status().as_u16();
    let is_refusal = !response.status().is_success();
    let max_bytes = if is_refusal { max_bytes.min(MAX_REFUSAL_BYTES) } else { max_bytes };
    // The length is only a claim of the sender: never reserve more than the limit.
    let length = response.content_length().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
    let mut body = Vec::with_capacity(length.min(max_bytes));
    while let Some(piece) = response.chunk().await.map_err(|error| broken(origin, error))? {
        let room = max_bytes - body.len();
        if piece.len() > room && is_refusal {
            body.extend_from_slice(&piece[..room]);
            break;
        }
        if piece.len() > room {
            return Err(HttpError::TooLarge { origin: origin.to_owned(), max_bytes });
        }
        body.extend_from_slice(&piece);
    }
    Ok(Reply { status, retry_after, location, body })
}

/// Checks that a request could be sent to this address.
///
/// # Errors
///
/// [`HttpError::Address`].
pub(crate) fn check_address(url: &str) -> Result<(), HttpError> {
    address(url).map(drop)
}

fn address(url: &str) -> Result<Url, HttpError> {
    let wrong = |why: String| Err(HttpError::Address(why));
    match Url::parse(url) {
        Err(error) => wrong(format!("cannot be read: {error}")),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            wrong(format!("has the scheme {:?}", url.scheme()))
        }
        Ok(url) => Ok(url),
    }
}

fn header_map(headers: &[HeaderField<'_>]) -> Result<HeaderMap, HttpError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for &(name, text) in headers {
        let (text, sensitive) = match text {
            HeaderText::Plain(text) => (text, false),
            HeaderText::Secret(secret) => (secret.expose_secret(), true),
        };
        let mut value = HeaderValue::from_str(text).map_err(|_| HttpError::Header(name))?;
        value.set_sensitive(sensitive);
        map.insert(HeaderName::from_static(name), value);
    }
    Ok(map)
}

fn broken(origin: &str, error: reqwest::Error) -> HttpError {
    let is_connected = !error.is_connect();
    let message = network_error_chain(&error.without_url());
    HttpError::Broken { origin: origin.to_owned(), message, is_connected }
}

/// Reads a `Retry-After` header: seconds, or a date, which is measured by the
/// server's own clock if it sends its time. Gateways send nonsense such as
/// `-1`, which asks for no wait.
#[allow(clippy::disallowed_methods, reason = "for a server that sends a date without its own time")]
fn retry_after(asked: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let asked = asked?.trim();
    if let Ok(seconds) = asked.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = http_date(asked)?;
    let now = date.and_then(http_date).unwrap_or_else(jiff::Timestamp::now);
    Some(Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO))
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests;
