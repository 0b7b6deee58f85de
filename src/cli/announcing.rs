//! Tells the API of the served build, and remembers which target knows of which.
//!
//! What is due follows from what is served and from what is remembered,
//! whoever asks: the command line once, the agent's herald again and again,
//! `status` only to say it. Targets are told beside each other, so that one
//! that does not answer delays no other. What fails is said and noted; the
//! build is served all the same.

use std::{future, path};

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::{Context, table};
use crate::adapters::builds::state::History;
use crate::adapters::builds::{Build, Builds, error_chain};
use crate::adapters::deliver::state::{self, DeliveryStates};
use crate::adapters::deliver::{self, AnnounceError, BuildNotice};
use crate::adapters::http::Http;
use crate::config::{AnnounceMethod, AnnounceSettings};
use crate::domain::stop::Stop;
use crate::domain::text::one_line;

/// Announces the served build once to each target that does not know of it.
pub(crate) fn deliver_once(context: &Context) {
    let publish = &context.config.publish;
    let Ok(builds) = Builds::at(&publish.index, &publish.metadata) else { return };
    let served = builds.served();
    let Some(build) = served.build() else { return };
    let tell = |target| deliver_if_due(target, &builds, build, &context.stop, future::pending());
    context.runtime.block_on(join_all(context.config.announce.iter().map(tell)));
}

/// Announces a build to a target that does not know of it; true once it does.
///
/// `replaced` ends when another build is served.
pub(crate) async fn deliver_if_due(
    target: &AnnounceSettings,
    builds: &Builds,
    build: &Build,
    stop: &Stop,
    replaced: impl Future<Output = ()>,
) -> bool {
    let (id, name) = (build.manifest.id.as_str(), target_name(target));
    let known = state::load(&builds.layout).remove(&name).unwrap_or_default();
    if !deliver::due(known.confirmed(), Some(id)) {
        return true;
    }
    let http = match Http::new() {
        Ok(http) => http,
        Err(error) => {
            tracing::warn!("cannot announce: {}", error_chain(&error));
            return false;
        }
    };
    let summary = table::summary(&build.manifest, &build.manifest.timings);
    // For a command that changes its directory.
    let directory = path::absolute(&build.directory).unwrap_or_else(|_| build.directory.clone());
    let news = BuildNotice { build: id, directory: &directory, summary: &summary };
    let told = deliver::announce(target, &news, &http, stop, replaced).await;
    let now = super::clock();
    change_states(builds, |announced| {
        let known = announced.entry(name.clone()).or_default();
        match &told {
            Ok(_) => known.record_success(id, now),
            Err(error) => known.record_failure(id, error_chain(error), now),
        }
    });
    match &told {
        Ok(said) if said.is_empty() => tracing::info!(build = id, target = name, "announced"),
        Ok(said) => tracing::info!(build = id, target = name, said, "announced"),
        Err(error @ AnnounceError::Replaced { .. }) => tracing::debug!(build = id, "{error}"),
        Err(error) => tracing::warn!(build = id, "not announced: {}", error_chain(error)),
    }
    told.is_ok()
}

/// Drops what is remembered of targets that the agent's settings no longer
/// name. A command never does: it may be run with other settings, or with none.
pub(crate) fn retain_targets(targets: &[AnnounceSettings], builds: &Builds) {
    change_states(builds, |announced| {
        announced.retain(|known, _| targets.iter().any(|target| target_name(target) == *known));
    });
}

fn change_states(builds: &Builds, change: impl FnOnce(&mut DeliveryStates)) {
    if let Err(error) = state::change(&builds.layout, change) {
        tracing::warn!("{}", error_chain(&error));
    }
}

/// A target by the words that settings name it with. A query may hold a
/// secret, so two addresses that differ in it alone are told apart by its hash.
fn target_name(target: &AnnounceSettings) -> String {
    match &target.method {
        AnnounceMethod::Post(url) => match url.split_once('?') {
            None => format!("post {url}"),
            Some((address, query)) => {
                format!("post {address}?{}", &blake3::hash(query.as_bytes()).to_hex()[..8])
            }
        },
        AnnounceMethod::Command(argv) => format!("command {}", argv.join(" ")),
    }
}

// --- what status says -------------------------------------------------------

/// Where one target stands.
#[derive(Debug, Serialize)]
pub(crate) struct TargetStatus {
    target: String,
    /// None while nothing is served.
    up_to_date: Option<bool>,
    /// The last build that it has heard of.
    build: Option<String>,
    #[serde(rename = "told_at")]
    delivered_at: Option<Timestamp>,
    /// When what it knows of was replaced, or telling it first failed.
    stale_since: Option<Timestamp>,
    /// How often telling it has failed in a row.
    tries: u32,
    error: Option<String>,
}

/// Where each target of the settings stands.
pub(crate) fn target_states(
    targets: &[AnnounceSettings],
    announced: &DeliveryStates,
    served: Option<&str>,
    state: &History,
) -> Vec<TargetStatus> {
    let standing = |target| {
        let target = target_name(target);
        let known = announced.get(&target).cloned().unwrap_or_default();
        let is_stale = deliver::due(known.confirmed(), served);
        let replaced = known.build.as_deref().and_then(|build| state.replaced_at(build));
        let failing = known.failing.filter(|_| is_stale);
        TargetStatus {
            target,
            up_to_date: served.map(|_| !is_stale),
            stale_since: replaced.or(failing.as_ref().map(|failing| failing.since)).filter(|_| is_stale),
            build: known.build,
            delivered_at: known.at,
            tries: failing.as_ref().map_or(0, |failing| failing.tries),
            error: failing.map(|failing| failing.error),
        }
    };
    targets.iter().map(standing).collect()
}

impl TargetStatus {
    /// Since when it has not known what is served; none where it does, or where nobody has tried yet.
    pub(crate) fn stale_since(&self) -> Option<Timestamp> {
        self.stale_since
    }

    /// The same for people, in one line.
    pub(crate) fn to_line(&self, now: Timestamp) -> String {
        const MAX_NAME_CHARS: usize = 80;
        const MAX_ERROR_CHARS: usize = 400;
        let ago =
            |at: Option<Timestamp>| at.map(|at| format!(" {}", table::ago(at, now))).unwrap_or_default();
        let stands = match (self.up_to_date, &self.build, self.stale_since) {
            (None, ..) => "nothing to tell yet".to_owned(),
            (Some(true), ..) => format!("up to date, told{}", ago(self.delivered_at)),
            (Some(false), None, None) => "not told yet".to_owned(),
            (Some(false), None, since) => format!("never told, though tried since{}", ago(since)),
            (Some(false), Some(build), since) => format!("stale since{}, knows {build}", ago(since)),
        };
        let target = one_line(&self.target, MAX_NAME_CHARS);
        match &self.error {
            None => format!("{target}: {stands}"),
            Some(error) => format!(
                "{target}: {stands}; failed {} so far: {}",
                if self.tries == 1 { "once".to_owned() } else { format!("{} times", self.tries) },
                one_line(error, MAX_ERROR_CHARS)
            ),
        }
    }
}
