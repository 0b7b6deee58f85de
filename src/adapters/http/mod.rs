//! The only outgoing sockets.
//!
//! One request, one bounded answer: every request has a timeout that covers
//! its body too, every body a limit that is held while it is read, and a
//! redirect is an answer like any other, because following it would carry the
//! key to a host that nobody configured. Secret headers are marked sensitive,
//! and no error names more of a URL than its origin.
//!
//! `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are honoured as other programs
//! honour them, save that a loopback address is always reached directly. What
//! a status or a body means is left to the caller.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::config::is_loopback;

/// A client that keeps its connections alive between requests.
pub struct Http {
    outside: Client,
    loopback: Client,
    /// Why no certificate authority is known here; plain HTTP works all the same.
    no_authorities: Option<String>,
}

/// What stands in a header of a request.
#[derive(Clone, Copy)]
pub enum HeaderText<'a> {
    /// Anyone may see it.
    Plain(&'a str),
    /// Kept out of every debug print.
    Secret(&'a SecretString),
}

/// A header's name, in lower case, and its text.
pub type HeaderField<'a> = (&'static str, HeaderText<'a>);

pub enum HttpMethod {
    Get,
    Post(Vec<u8>),
}

/// One request and the limits of its answer.
pub struct HttpRequest<'a> {
    pub method: HttpMethod,
    pub url: &'a str,
    pub headers: &'a [HeaderField<'a>],
    /// The most bytes that the body of the answer may have, decompressed.
    pub max_bytes: usize,
    /// From the connection to the last byte of the answer.
    pub timeout: Duration,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// How long the server asks us to wait; zero counts as asked.
    pub retry_after: Option<Duration>,
    /// Where a redirect points; it was not followed.
    pub location: Option<String>,
    /// The body, decompressed.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// TLS or the resolver cannot be set up on this host.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// Not an address that a request can go to.
    #[error("expected an http or https address, found one that {0}")]
    Address(String),
    /// A header's text cannot be sent; it is not printed, since it may be a key.
    #[error("header {0} has characters that cannot be sent: expected visible ASCII without line breaks")]
    Header(&'static str),
    /// No whole answer within the time allowed.
    #[error("no answer from {origin} within {limit:?}")]
    Timeout {
        /// Scheme, host and port.
        origin: String,
        /// The time allowed.
        limit: Duration,
    },
    /// The connection could not be made, or broke.
    #[error("no answer from {origin}: {message}")]
    Broken {
        /// Scheme, host and port.
        origin: String,
        /// What the network said, with its causes.
        message: String,
    },
    /// The body is larger than any answer we asked for.
    #[error("answer from {origin} is larger than {max_bytes} bytes")]
    TooLarge {
        /// Scheme, host and port.
        origin: String,
        /// The limit.
        max_bytes: usize,
    },
}

impl HttpError {
    /// Whether the same request could succeed later.
    #[must_use]
    pub fn retry(&self) -> bool {
        match self {
            Self::Client(_) | Self::Address(_) | Self::Header(_) => false,
            Self::Timeout { .. } | Self::Broken { .. } | Self::TooLarge { .. } => true,
        }
    }
}

impl Http {
    /// How long one connection attempt may take before the next address is tried.
    const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
    /// A timeout that is told so late was slept through: the process was stopped, or the machine suspended.
    const SUSPEND_THRESHOLD: Duration = Duration::from_secs(1);
    /// How long an answer that came meanwhile may take to be read.
    const RESUME_GRACE: Duration = Duration::from_secs(2);

    /// Sets up TLS and the two clients; opens no connection.
    ///
    /// # Errors
    ///
    /// [`HttpError::Client`] where TLS cannot be had at all. A host without a
    /// single certificate authority is no such case: only https fails there.
    pub fn new() -> Result<Self, HttpError> {
        // The first provider installed serves the whole process. Losing the
        // race to another thread is as good as winning it.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let builder = || {
            Client::builder()
                .user_agent(concat!("reindexd/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Self::CONNECT_TIMEOUT)
        };
        let failed = |error: reqwest::Error| HttpError::Client(error_chain(&error));
        let (outside, no_authorities) = match builder().build() {
            Ok(client) => (client, None),
            Err(error) => (builder().tls_certs_only([]).build().map_err(failed)?, Some(error_chain(&error))),
        };
        let near = builder().no_proxy();
        let near = if no_authorities.is_some() { near.tls_certs_only([]) } else { near };
        Ok(Self { outside, loopback: near.build().map_err(failed)?, no_authorities })
    }

    /// Sends a request and reads its whole answer.
    ///
    /// # Errors
    ///
    /// An [`HttpError`] if there is no whole answer. Any status is an answer.
    pub async fn send(&self, request: HttpRequest<'_>) -> Result<Reply, HttpError> {
        let HttpRequest { method, url, headers, max_bytes, timeout } = request;
        let url = address(url)?;
        let origin = url.origin().ascii_serialization();
        let headers = header_map(headers)?;
        // A proxy's loopback is another host than ours.
        let client = if is_loopback(&url) { &self.loopback } else { &self.outside };
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
            // The answer may have come meanwhile, and have been paid for.
            reply = tokio::time::timeout(Self::RESUME_GRACE, whole).await;
        }
        reply.unwrap_or_else(|_elapsed| Err(HttpError::Timeout { origin: origin.clone(), limit: timeout }))
    }
}

async fn read(mut response: reqwest::Response, origin: &str, most: usize) -> Result<Reply, HttpError> {
    let text = |name: HeaderName| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = retry_after(text(header::RETRY_AFTER), text(header::DATE));
    let location = text(header::LOCATION).map(str::to_owned);
    let status = response.status().as_u16();
    // Its length, where it is told, is the sender's word: only as much room as an answer may take.
    let told = response.content_length().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or_default();
    let mut body = Vec::with_capacity(told.min(most));
    while let Some(piece) = response.chunk().await.map_err(|error| broken(origin, error))? {
        if body.len() + piece.len() > most {
            return Err(HttpError::TooLarge { origin: origin.to_owned(), max_bytes: most });
        }
        body.extend_from_slice(&piece);
    }
    Ok(Reply { status, retry_after, location, body })
}

/// Checks that a request could go to this address.
///
/// # Errors
///
/// [`HttpError::Address`] with what is wrong with it.
pub fn check_address(url: &str) -> Result<(), HttpError> {
    address(url).map(drop)
}

fn address(url: &str) -> Result<Url, HttpError> {
    let wrong = |fault: String| Err(HttpError::Address(fault));
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
    HttpError::Broken { origin: origin.to_owned(), message: error_chain(&error.without_url()) }
}

/// An error and its causes in one line.
fn error_chain(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some layers print their cause themselves.
        if !line.contains(&words) {
            line = format!("{line}: {words}");
        }
        cause = error.source();
    }
    line
}

/// Reads a `Retry-After` header: seconds, or a date, which is measured by the
/// server's own clock where it tells us. Gateways send nonsense such as `-1`,
/// which names no wait.
#[allow(clippy::disallowed_methods, reason = "a server that gives a date without saying what time it has")]
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
