//! Keeps the API told of what is served for as long as the agent runs.
//!
//! Each target has a loop of its own: one that does not answer delays neither
//! a build nor any other target, and one that was away hears of the newest
//! build when it is back. What is due, and what was told, `announcing` knows.

use std::future;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{LiveConfig, current};
use crate::adapters::builds::{Build, Builds};
use crate::adapters::deliver;
use crate::cli::announcing;
use crate::config::AnnounceSettings;
use crate::domain::stop::Stop;

/// Says that a pass has ended, after which another build may be served or other settings in force.
#[derive(Clone, Debug)]
pub(super) struct PassNotifier(watch::Sender<()>);

/// Hears it.
pub(super) type PassNotices = watch::Receiver<()>;

impl PassNotifier {
    pub(super) fn new() -> (Self, PassNotices) {
        let (news, heard) = watch::channel(());
        (Self(news), heard)
    }

    pub(super) fn notify(&self) {
        self.0.send_replace(());
    }
}

/// Tells every target that the settings in force name, until `stop`.
pub(super) async fn run_deliveries(in_force: LiveConfig, builds: Builds, heard: PassNotices, stop: Stop) {
    while !stop.is_requested() {
        let targets = current(&in_force).announce.clone();
        announcing::retain_targets(&targets, &builds);
        let tell_all = async {
            join_all(targets.iter().map(|target| run_target(target, &builds, heard.clone(), &stop))).await;
            stop.requested().await;
        };
        tokio::select! {
            () = tell_all => {}
            // What is being told to the old ones is given up.
            () = targets_changed(&in_force, &targets, heard.clone()) => {}
        }
    }
}

/// Waits until the settings in force name others than these.
async fn targets_changed(in_force: &LiveConfig, targets: &[AnnounceSettings], mut heard: PassNotices) {
    while current(in_force).announce == targets {
        next(&mut heard).await;
    }
}

/// Tells one target, again and again until it knows or a newer build takes the place of the one it was told of.
async fn run_target(target: &AnnounceSettings, builds: &Builds, mut heard: PassNotices, stop: &Stop) {
    let mut failures = 0;
    while !stop.is_requested() {
        heard.mark_unchanged();
        let served = builds.served();
        let build = served.build();
        let told = match build {
            Some(build) => {
                let replaced = another_build(builds, Some(build), heard.clone());
                announcing::deliver_if_due(target, builds, build, stop, replaced).await
            }
            None => true,
        };
        if told {
            failures = 0;
            tokio::select! {
                () = stop.requested() => {}
                () = next(&mut heard) => {}
            }
            continue;
        }
        failures += 1;
        tokio::select! {
            () = stop.requested() => {}
            () = another_build(builds, build, heard.clone()) => failures = 0,
            () = sleep(deliver::wait_after(failures)) => {}
        }
    }
}

/// Waits until another build than this is served. A pass that changes nothing cuts no wait short.
async fn another_build(builds: &Builds, than: Option<&Build>, mut heard: PassNotices) {
    let id = |build: Option<&Build>| build.map(|build| build.manifest.id.clone());
    loop {
        next(&mut heard).await;
        if id(builds.served().build()) != id(than) {
            return;
        }
    }
}

/// Waits for the end of a pass, or for other settings.
async fn next(heard: &mut PassNotices) {
    if heard.changed().await.is_err() {
        // The agent is at its end.
        future::pending::<()>().await;
    }
}
