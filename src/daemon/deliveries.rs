//! Delivers what is served to every target for as long as the agent runs.
//!
//! Each target has a loop of its own: one that does not answer delays neither
//! a build nor any other target, and one that was away receives the newest
//! build when it is back. Other targets in the settings take effect at once.
//! When a target is due and how long to wait is `decide::delivery`'s decision.
//! Files are asked on other threads: one that hangs costs its delivery alone.

use std::future;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{LiveConfig, current};
use crate::adapters::builds::{Build, Builds, Served};
use crate::adapters::deliver::{Delivery, Target, off_worker};
use crate::config::AnnounceSettings;
use crate::decide::delivery::wait_after;
use crate::domain::pass::Retry;
use crate::domain::stop::Stop;
use crate::flows::deliver::{deliver_if_due, retain_targets, targets};

/// Notifies that a pass has ended, or that other settings are in force: another
/// build may be served, or another target be named.
#[derive(Clone, Debug)]
pub(super) struct PassNotifier(watch::Sender<()>);

pub(super) type PassNotices = watch::Receiver<()>;

impl PassNotifier {
    pub(super) fn new() -> (Self, PassNotices) {
        let (notifier, notices) = watch::channel(());
        (Self(notifier), notices)
    }

    pub(super) fn notify(&self) {
        self.0.send_replace(());
    }
}

/// Serves every target that the settings in force name, until `stop`.
pub(super) async fn run_deliveries(
    in_force: LiveConfig,
    builds: Builds,
    notices: PassNotices,
    stop: Stop,
    clock: fn() -> Timestamp,
) {
    while !stop.is_requested() {
        let settings = current(&in_force).announce.clone();
        let targets = targets(&settings);
        retain_targets(&targets, &builds.layout).await;
        let run_all = async {
            let run = |target| run_target(target, &builds, notices.clone(), &stop, clock);
            join_all(targets.iter().map(|target| run(&**target))).await;
            stop.requested().await;
        };
        tokio::select! {
            () = run_all => {}
            // Deliveries to the old targets are dropped.
            () = targets_changed(&in_force, &settings, notices.clone()) => {}
        }
    }
}

/// Waits until the settings in force name other targets than these.
async fn targets_changed(in_force: &LiveConfig, targets: &[AnnounceSettings], mut notices: PassNotices) {
    while current(in_force).announce == targets {
        next(&mut notices).await;
    }
}

/// Delivers each served build to one target: again after a failure, until the
/// target has received it or a newer build takes its place.
async fn run_target(
    target: &dyn Target,
    builds: &Builds,
    mut notices: PassNotices,
    stop: &Stop,
    clock: fn() -> Timestamp,
) {
    let mut failures = 0;
    while !stop.is_requested() {
        notices.mark_unchanged();
        let served = served(builds).await;
        let served = served.build();
        let result = match served {
            Some(build) => deliver(target, builds, build, notices.clone(), stop, clock).await,
            None => Ok(()),
        };
        let Err(retry) = result else {
            failures = 0;
            tokio::select! {
                () = stop.requested() => {}
                () = next(&mut notices) => {}
            }
            continue;
        };
        failures += 1;
        tokio::select! {
            () = stop.requested() => {}
            () = another_build(builds, served, notices.clone()) => failures = 0,
            () = wait(retry, failures) => {}
        }
    }
}

/// Delivers one build, and says so once another is served in the course of it.
async fn deliver(
    target: &dyn Target,
    builds: &Builds,
    build: &Build,
    notices: PassNotices,
    stop: &Stop,
    clock: fn() -> Timestamp,
) -> Result<(), Retry> {
    let delivery = Delivery { served: build, replaced: Stop::new() };
    let delivering = deliver_if_due(target, &delivery, &builds.layout, stop, clock);
    let mut delivering = std::pin::pin!(delivering);
    tokio::select! {
        result = &mut delivering => return result,
        () = another_build(builds, Some(build), notices) => delivery.replaced.request(),
    }
    delivering.await
}

async fn wait(retry: Retry, failures: u32) {
    match wait_after(retry, failures) {
        Some(time) => sleep(time).await,
        None => future::pending().await,
    }
}

/// Waits until another build than this is served. A pass that changes nothing ends no wait.
async fn another_build(builds: &Builds, than: Option<&Build>, mut notices: PassNotices) {
    let id = |build: Option<&Build>| build.map(|build| build.manifest.id.clone());
    loop {
        next(&mut notices).await;
        if id(served(builds).await.build()) != id(than) {
            return;
        }
    }
}

async fn served(builds: &Builds) -> Served {
    let builds = builds.clone();
    off_worker(move || builds.served()).await
}

/// Waits for the end of a pass, or for other settings.
async fn next(notices: &mut PassNotices) {
    if notices.changed().await.is_err() {
        // The agent is ending.
        future::pending::<()>().await;
    }
}
