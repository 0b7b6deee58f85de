//! Tells the API of the served build, from the command line: once, and only what is due.

use tokio_util::sync::CancellationToken;

use super::Context;
use crate::announce::{self, News};
use crate::builds::state::{self, Announced, AnnouncedTo};
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
    context.runtime.block_on(async {
        for target in &context.config.announce {
            if_due(target, &builds, build, &context.stop).await;
        }
    });
    forget_all_but(&context.config.announce, &builds);
}

/// Announces a build to a target that does not know of it; true once it does.
pub(super) async fn if_due(
    target: &Announce,
    builds: &Builds,
    build: &Build,
    stop: &CancellationToken,
) -> bool {
    let (id, name) = (build.manifest.id.as_str(), name(target));
    let announced = state::load_announced(&builds.layout);
    let last = announced.get(&name).filter(|last| last.error.is_none());
    if !announce::due(last.and_then(|last| last.build.as_deref()), Some(id)) {
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
    let told = announce::announce(target, &news, &http, stop).await;
    match &told {
        Ok(said) if said.is_empty() => tracing::info!(build = id, target = name, "announced"),
        Ok(said) => tracing::info!(build = id, target = name, said, "announced"),
        Err(error) => tracing::warn!(build = id, "not announced: {}", with_cause(error)),
    }
    let error = told.as_ref().err().map(|error| with_cause(error));
    let last = AnnouncedTo { build: Some(id.to_owned()), at: super::clock(), error };
    note(builds, |announced| {
        announced.insert(name, last);
    });
    told.is_ok()
}

/// Drops what is remembered of targets that the settings no longer name.
pub(super) fn forget_all_but(targets: &[Announce], builds: &Builds) {
    note(builds, |announced| {
        announced.retain(|known, _| targets.iter().any(|target| name(target) == *known));
    });
}

fn note(builds: &Builds, change: impl FnOnce(&mut Announced)) {
    if let Err(error) = state::change_announced(&builds.layout, change) {
        tracing::warn!("{}", with_cause(&error));
    }
}

/// A target by the words that settings name it with.
fn name(target: &Announce) -> String {
    match &target.how {
        How::Post(url) => format!("post {}", url.split('?').next().unwrap_or(url)),
        How::Command(argv) => format!("command {}", argv.join(" ")),
    }
}
