//! Tells the API of the served build, from the command line: once, and only what is due.

use std::collections::BTreeMap;

use super::Context;
use crate::announce::{self, News};
use crate::builds::state::{self, AnnouncedTo};
use crate::builds::{Build, Builds, with_cause};
use crate::config::{Announce, How};
use crate::http::Http;

/// Announces the served build to each target that does not know of it. What
/// fails is said and noted; the build is served all the same.
pub(super) fn once(context: &Context) {
    let publish = &context.config.publish;
    let Ok(builds) = Builds::at(&publish.index, &publish.metadata) else { return };
    let served = builds.served();
    let Some(build) = served.build() else { return };
    context.runtime.block_on(all_due(&context.config.announce, &builds, build, &context.stop));
}

/// Announces a build to the targets that do not know of it; true once all of them do.
pub(super) async fn all_due(
    targets: &[Announce],
    builds: &Builds,
    build: &Build,
    stop: &tokio_util::sync::CancellationToken,
) -> bool {
    let announced = state::load_announced(&builds.layout);
    let id = build.manifest.id.as_str();
    let knows = |target: &&Announce| {
        let last = announced.get(&name(target)).filter(|last| last.error.is_none());
        !announce::due(last.and_then(|last| last.build.as_deref()), Some(id))
    };
    let due: Vec<&Announce> = targets.iter().filter(|target| !knows(target)).collect();
    if due.is_empty() {
        return true;
    }
    let http = match Http::new() {
        Ok(http) => http,
        Err(error) => {
            tracing::warn!("cannot announce: {}", with_cause(&error));
            return false;
        }
    };
    let summary = super::table::summary(&build.manifest);
    let news = News { build: id, directory: &build.directory, summary: &summary };
    let mut words = BTreeMap::new();
    for target in due {
        let told = announce::announce(target, &news, &http, stop).await;
        let error = told.as_ref().err().map(with_cause_of);
        match &told {
            Ok(said) if said.is_empty() => tracing::info!(build = id, target = name(target), "announced"),
            Ok(said) => tracing::info!(build = id, target = name(target), said, "announced"),
            Err(error) => tracing::warn!(build = id, "not announced: {}", with_cause_of(error)),
        }
        words.insert(name(target), AnnouncedTo { build: Some(id.to_owned()), at: super::clock(), error });
    }
    let all_told = words.values().all(|last| last.error.is_none());
    // Read again: meanwhile somebody else may have told others.
    let mut announced = state::load_announced(&builds.layout);
    announced.extend(words);
    announced.retain(|known, _| targets.iter().any(|target| name(target) == *known));
    if let Err(error) = state::save_announced(&builds.layout, &announced) {
        tracing::warn!("{}", with_cause(&error));
    }
    all_told
}

fn with_cause_of(error: &announce::AnnounceError) -> String {
    with_cause(error)
}

/// A target by the words that settings name it with.
fn name(target: &Announce) -> String {
    match &target.how {
        How::Post(url) => format!("post {}", url.split('?').next().unwrap_or(url)),
        How::Command(argv) => format!("command {}", argv.join(" ")),
    }
}
