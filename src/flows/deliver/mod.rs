//! Delivers the served build to the targets of the settings, and records the result.
//!
//! Which target is due follows from what is served and from what is recorded,
//! whatever the caller: a command delivers once, the agent until each target
//! has received the build. All targets are served at the same time, so one that
//! does not answer delays no other. A failure is logged and recorded; the build
//! stays served.
//!
//! How a target is reached is left to `adapters::deliver`, waiting after a
//! failure to the daemon.

mod target_status;

use futures_util::future::join_all;
use jiff::Timestamp;

use crate::adapters::builds::Builds;
use crate::adapters::builds::layout::Layout;
use crate::adapters::deliver::command::CommandTarget;
use crate::adapters::deliver::state::{self, DeliveryStates};
use crate::adapters::deliver::webhook::Webhook;
use crate::adapters::deliver::{DeliverError, Delivered, Delivery, Target, off_worker};
use crate::config::{AnnounceMethod, AnnounceSettings};
use crate::decide::delivery::is_due;
use crate::domain::pass::Retry;
use crate::domain::stop::Stop;
use crate::domain::text::error_chain;

pub(crate) use target_status::{TargetStatus, target_states};

pub(crate) fn targets(settings: &[AnnounceSettings]) -> Vec<Box<dyn Target>> {
    let target = |settings: &AnnounceSettings| -> Box<dyn Target> {
        match &settings.method {
            AnnounceMethod::Post(url) => Box::new(Webhook::new(url, settings)),
            AnnounceMethod::Command(argv) => Box::new(CommandTarget::new(argv, settings)),
        }
    };
    settings.iter().map(target).collect()
}

/// Delivers the served build once to each target that has not received it.
pub(crate) async fn deliver_once(
    targets: &[Box<dyn Target>],
    builds: &Builds,
    stop: &Stop,
    clock: fn() -> Timestamp,
) {
    let builds = builds.clone();
    let layout = builds.layout.clone();
    let served = off_worker(move || builds.served()).await;
    let Some(served) = served.build() else { return };
    let delivery = Delivery { served, replaced: Stop::new() };
    let deliver = |target| deliver_if_due(target, &delivery, &layout, stop, clock);
    join_all(targets.iter().map(|target| deliver(&**target))).await;
}

/// Delivers a build to a target that has not received it.
///
/// # Errors
///
/// When to try again, if it is not certain that the target has received the build.
pub(crate) async fn deliver_if_due(
    target: &dyn Target,
    delivery: &Delivery<'_>,
    layout: &Layout,
    stop: &Stop,
    clock: fn() -> Timestamp,
) -> Result<(), Retry> {
    let (name, build) = (target.name(), delivery.served.manifest.id.as_str());
    let asked = layout.clone();
    let recorded = off_worker(move || state::load(&asked)).await.remove(name).unwrap_or_default();
    if !is_due(recorded.confirmed(), Some(build)) {
        return Ok(());
    }
    let result = target.deliver(delivery, stop).await;
    let (failure, retry) = match &result {
        Ok(Delivered::Received(_)) => (None, Ok(())),
        Ok(Delivered::Refused(message)) => (Some(message.clone()), Err(Retry::Soon { wait: None })),
        Err(error) => (Some(error_chain(error)), Err(error.retry())),
    };
    // Without a client nothing was attempted.
    if !matches!(result, Err(DeliverError::Client { .. })) {
        let now = clock();
        let (name, build, failure) = (name.to_owned(), build.to_owned(), failure.clone());
        let record = move |states: &mut DeliveryStates| {
            let state = states.entry(name).or_default();
            match failure {
                None => state.record_success(&build, now),
                Some(message) => state.record_failure(&build, message, now),
            }
        };
        change_states(layout, record).await;
    }
    match &result {
        Ok(Delivered::Received(receipt)) if receipt.output.is_empty() => {
            tracing::info!(build, target = name, "announced");
        }
        Ok(Delivered::Received(receipt)) => {
            tracing::info!(build, target = name, output = receipt.output, "announced");
        }
        Err(error @ DeliverError::Replaced { .. }) => tracing::debug!(build, "{error}"),
        Ok(Delivered::Refused(_)) | Err(_) => {
            tracing::warn!(build, "not announced: {}", failure.unwrap_or_default());
        }
    }
    retry
}

/// Removes the records of targets that the agent's settings no longer name. A
/// command never does: it may run with other settings, or with none.
pub(crate) async fn retain_targets(targets: &[Box<dyn Target>], layout: &Layout) {
    let names: Vec<_> = targets.iter().map(|target| target.name().to_owned()).collect();
    change_states(layout, move |states| states.retain(|name, _| names.contains(name))).await;
}

async fn change_states(layout: &Layout, change: impl FnOnce(&mut DeliveryStates) + Send + 'static) {
    let layout = layout.clone();
    if let Err(error) = off_worker(move || state::change(&layout, change)).await {
        tracing::warn!("cannot record deliveries: {}", error_chain(&error));
    }
}

#[cfg(test)]
mod tests;
