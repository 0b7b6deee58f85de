//! `reindexd run`: the agent, put together from its parts.
//!
//! This file joins them: the watch, the loop, the deliveries and the observers.
//! When a pass runs is decided by `flows::agent` and `decide::agent_state`, what
//! a pass does by `flows::reconcile`. The commands are not known here.

mod deliveries;
mod host;
mod liveness;
mod marker_file;
mod notifier;
mod progress_log;
mod reload;
mod status_file;
mod systemd;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::adapters::builds::{Builds, Layout, Served, error_chain, lock, promote};
use crate::adapters::embed::SentLog;
use crate::adapters::signals::Handlers;
use crate::adapters::watch::{TrackedFiles, Watch, WatchSpec};
use crate::app::print::{ago, fail, print_json};
use crate::app::{self, BUSY, Context, DONE, FAILED, StartError, StartOptions, clock, code_of};
use crate::config::{self, Config};
use crate::domain::record::Space;
use crate::domain::stop::Stop;
use crate::flows::agent::{self, EventSources, ExitReason, LogObserver, Observer};
use crate::flows::reconcile::{claim, renew_lock};
use crate::logging;
use deliveries::PassNotifier;
use host::DaemonHost;
use liveness::Liveness;
use marker_file::MarkerFile;
use notifier::Notifier;
use reload::{LiveConfig, SettingsInForce, current};
use status_file::StatusFile;
use systemd::{DescribeServed, ServiceManager, SystemdObserver};

/// How long a second agent, or a `status` at this moment, may keep the agent's lock.
const AGENT_LOCK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the last write of the status file may take before the process ends without it.
const FINAL_WRITE_TIMEOUT: Duration = Duration::from_millis(250);

/// Runs the agent until a signal ends it, and returns the exit code.
#[must_use]
pub fn main(options: &StartOptions, handlers: &Handlers) -> u8 {
    let ended = run(options, handlers);
    logging::flush();
    ended.unwrap_or_else(|StartError { code, message }| fail(options.json, code, &message))
}

fn run(options: &StartOptions, handlers: &Handlers) -> Result<u8, StartError> {
    // Before the first file is opened: any call to a file system may hang.
    app::end_after_stop(handlers, Some(DONE))?;
    let loaded = app::load(options)?;
    let Context { config, space, builds, json, runtime, stop, .. } =
        Context::new(loaded.config, options.json)?;
    log_start(&config, &space);
    loaded.notes.iter().for_each(|note| tracing::warn!("{note}"));
    if let Err(error) = builds.lock_for(claim::source(&config, &builds).as_ref()) {
        return Err(StartError { code: code_of(error.class()), message: error_chain(&error) });
    }
    let agent_lock = lock_agent(&builds.layout)?;
    let _renewal = renew_lock::renew(runtime.handle(), &agent_lock);
    let config = SettingsInForce::new(config, loaded.origins);
    let config_file = options.config_file.as_deref();
    let ended = runtime.block_on(run_agent(&config, config_file, space, &builds, handlers, &stop));
    stop.request();
    match ended {
        Ok(ExitReason::Stopped) => runtime.shutdown_timeout(FINAL_WRITE_TIMEOUT),
        Ok(ExitReason::StopTimedOut) => runtime.shutdown_background(),
        Err(error) => {
            return Err(StartError { code: FAILED, message: format!("cannot start the agent: {error}") });
        }
    }
    tracing::info!("agent: stopped");
    if json {
        print_json(&serde_json::json!({ "outcome": "stopped" }));
    }
    Ok(DONE)
}

async fn run_agent(
    live_config: &LiveConfig,
    config_file: Option<&Path>,
    space: Space,
    builds: &Builds,
    handlers: &Handlers,
    stop: &Stop,
) -> io::Result<ExitReason> {
    let config = current(live_config);
    let (watch, hints) = Watch::start(WatchSpec::new(&config.source.database, &config.trigger))?;
    let (notifier, notices) = PassNotifier::new();
    let deliveries =
        deliveries::run_deliveries(Arc::clone(live_config), builds.clone(), notices, stop.clone(), clock);
    tokio::spawn(deliveries);
    let liveness = Arc::new(Liveness::default());
    let layout = &builds.layout;
    let status_file = StatusFile::open(layout, watch.backend(), stop.clone());
    let manager =
        ServiceManager { is_present: config::is_managed(), watchdog: sd_notify::watchdog_enabled() };
    let in_force = Arc::clone(live_config);
    let embed_limit = Box::new(move || {
        let embedding = &current(&in_force).embedding;
        embedding.retry_budget + embedding.request_timeout
    });
    let systemd_notifier = Arc::new(Notifier::start());
    let served = describe_served(builds.clone());
    let observers: Vec<Box<dyn Observer>> = vec![
        Box::new(LogObserver::default()),
        Box::new(status_file),
        Box::new(SystemdObserver::new(
            manager,
            Arc::clone(&systemd_notifier),
            Arc::clone(&liveness),
            served,
            embed_limit,
        )),
    ];
    let links = vec![layout.index.clone(), layout.metadata.clone(), layout.current.clone()];
    let host = DaemonHost {
        config: Arc::clone(live_config),
        config_file: config_file.map(Path::to_owned),
        space,
        builds: builds.clone(),
        runtime: tokio::runtime::Handle::current(),
        sent: SentLog::default(),
        liveness,
        notifier,
        systemd_notifier,
        watch,
        tracked: TrackedFiles { database: config.source.database.clone(), links },
        marker: Mutex::new(MarkerFile::open(layout)),
    };
    let sources = EventSources { hints, signals: handlers.stream()? };
    let is_served = builds.served().build().is_some();
    Ok(agent::run(config.trigger.clone(), is_served, sources, Arc::new(host), observers).await)
}

/// The first line of the log: which program does what, with which files.
fn log_start(config: &Config, space: &Space) {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let settings = config.file.as_deref().map_or_else(|| "none".into(), absolute);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        settings = %settings.display(),
        database = %absolute(&config.source.database).display(),
        index = %absolute(&config.publish.index).display(),
        metadata = %absolute(&config.publish.metadata).display(),
        %space,
        watch = config.trigger.watch.name(),
        "agent: started"
    );
}

/// What is served, for the service manager's status line.
fn describe_served(builds: Builds) -> DescribeServed {
    Box::new(move || match builds.served() {
        Served::Build(build) => {
            let promotion = promote::note(&builds.layout).filter(|note| note.build == build.manifest.id);
            let age = promotion.map(|note| format!(", promoted {}", ago(note.at, clock())));
            let age = age.unwrap_or_default();
            format!("{} with {} records{age}", build.manifest.id, build.manifest.ntotal)
        }
        Served::Nothing => "nothing yet".to_owned(),
        Served::Damaged { why } => format!("a damaged build: {why}"),
        Served::NotKnown(doubt) => format!("not known: {}", error_chain(&doubt)),
    })
}

/// One agent for each directory: two would undo each other's waits.
#[allow(clippy::disallowed_methods, reason = "at the start, for a second at most")]
fn lock_agent(layout: &Layout) -> Result<lock::PassLock, StartError> {
    let until = std::time::Instant::now() + AGENT_LOCK_TIMEOUT;
    loop {
        match lock::try_lock_agent(layout) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let message = format!("another agent is running in {}", layout.root.display());
                return Err(StartError { code: BUSY, message });
            }
            Err(error) => {
                return Err(StartError { code: code_of(error.class()), message: error_chain(&error) });
            }
        }
    }
}
