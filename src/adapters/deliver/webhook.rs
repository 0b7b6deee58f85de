//! A target that receives the summary of a build by HTTP POST.
//!
//! Any status from 200 to 299 means received; every other status is a refusal,
//! a redirect too: to follow it could carry the token to another host.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::confirm::{
    Confirmation, MAX_ANSWER_BYTES, authorization, client, is_success, token, unless_stopped, without_query,
};
use super::{DeliverError, Delivered, Delivery, MAX_OUTPUT_BYTES, Receipt, Target, quoted};
use crate::adapters::http::{HeaderText, Http, HttpMethod, HttpRequest};
use crate::config::AnnounceSettings;
use crate::domain::build_summary::summary;
use crate::domain::stop::Stop;
use crate::domain::text::tail;

pub(crate) struct Webhook {
    name: String,
    url: String,
    token_file: Option<PathBuf>,
    timeout: Duration,
    confirmation: Option<Confirmation>,
}

impl Webhook {
    pub(crate) fn new(url: &str, settings: &AnnounceSettings) -> Self {
        Self {
            name: name(url),
            url: url.to_owned(),
            token_file: settings.token_file.clone(),
            timeout: settings.timeout,
            confirmation: Confirmation::new(settings),
        }
    }

    async fn post(&self, delivery: &Delivery<'_>, http: &Http) -> Result<Delivered, DeliverError> {
        let token = token(&self.url, self.token_file.as_deref()).await?;
        let mut headers = vec![("content-type", HeaderText::Plain("application/json"))];
        headers.extend(authorization(token.as_ref()));
        let manifest = &delivery.served.manifest;
        let body = summary(manifest, &manifest.timings).to_string().into_bytes();
        let request = HttpRequest {
            method: HttpMethod::Post(body),
            url: &self.url,
            headers: &headers,
            max_bytes: MAX_ANSWER_BYTES,
            timeout: self.timeout,
        };
        let target = without_query(&self.url);
        let reply = match http.send(request).await {
            Ok(reply) => reply,
            Err(source) => return Err(DeliverError::Request { target, source }),
        };
        if is_success(&reply) {
            return Ok(Delivered::Received(Receipt { output: String::new() }));
        }
        let answer = match &reply.location {
            Some(location) => tail(format!("go to {location}").as_bytes(), MAX_OUTPUT_BYTES),
            None => tail(&reply.body, MAX_OUTPUT_BYTES),
        };
        Ok(Delivered::Refused(format!(
            "announce to {target}: expected a status of 200 to 299, found {}{}",
            reply.status,
            quoted("answer", &answer)
        )))
    }
}

impl Target for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    fn deliver<'a>(
        &'a self,
        delivery: &'a Delivery<'_>,
        stop: &'a Stop,
    ) -> BoxFuture<'a, Result<Delivered, DeliverError>> {
        async move {
            let http = client()?;
            let delivered = unless_stopped(stop, &self.url, self.post(delivery, &http)).await?;
            if let (Delivered::Received(_), Some(confirmation)) = (&delivered, &self.confirmation) {
                confirmation.wait(delivery, &http, stop).await?;
            }
            Ok(delivered)
        }
        .boxed()
    }
}

/// The address as the settings have it. A query may contain a secret, so two
/// addresses that differ only in it have different hashes instead.
fn name(url: &str) -> String {
    match url.split_once('?') {
        None => format!("post {url}"),
        Some((address, query)) => {
            format!("post {address}?{}", &blake3::hash(query.as_bytes()).to_hex()[..8])
        }
    }
}
