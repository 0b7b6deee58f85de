//! `reindexd run`: the agent, put together from its parts.
//!
//! What it does when is `agent`'s and `phase`'s; here the parts are joined:
//! settings that SIGHUP can change, the pass, the sweep, the memory of the
//! marker, and the herald that tells the API of what is served.

mod deliveries;
mod progress_log;
mod status_file;
mod systemd;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use crate::adapters::builds::json_file;
use crate::adapters::builds::{Builds, Layout, Served, error_chain, lock, promote, sweep};
use crate::adapters::embed::SentLog;
use crate::adapters::signals::Handlers;
use crate::adapters::watch::{TrackedFiles, Watch, WatchSpec};
use crate::cli::{BUSY, Context, DONE, FAILED, USAGE, clock, embedder, fail, print_json, table};
use crate::config::{self as settings, Config};
use crate::domain::file_stamp::FileStamp;
use crate::domain::pass::{ErrorClass, PassRequest};
use crate::domain::record::Space;
use crate::domain::stop::Stop;
use crate::flows::agent::{self, AgentWorld, ExitReason, MarkerStore, PassFn, SweepFn};
use crate::flows::reconcile::{PassContext, PassOptions, reconcile};
use deliveries::PassNotifier;

/// How long a second agent, or a `status` that looks just now, may keep the agent's lock.
const AGENT_LOCK_TIMEOUT: Duration = Duration::from_secs(1);

use status_file::StatusFile;
use systemd::{Liveness, SystemdObserver};

/// How long the last note may take to be written before the process ends without it.
const FINAL_WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// The settings in force, which SIGHUP replaces whole.
type LiveConfig = Arc<RwLock<Arc<Config>>>;

pub(crate) fn run(context: Context, flag: Option<&Path>, handlers: Handlers) -> u8 {
    let Context { config, space, json, runtime, stop, .. } = context;
    let builds = match Builds::at(&config.publish.index, &config.publish.metadata) {
        Ok(builds) => builds,
        Err(error) => return fail(json, USAGE, &error_chain(&error)),
    };
    if let Err(error) = builds.lock() {
        return fail(
            json,
            if error.class() == ErrorClass::Settings { USAGE } else { FAILED },
            &error_chain(&error),
        );
    }
    let _alone = match lock_agent(&builds.layout) {
        Ok(lock) => lock,
        Err((code, words)) => return fail(json, code, &words),
    };
    let in_force: LiveConfig = Arc::new(RwLock::new(Arc::new(config)));
    let ended = runtime.block_on(run_agent(&in_force, space, &builds, flag, handlers, &stop));
    stop.request();
    match ended {
        Ok(ExitReason::Stopped) => runtime.shutdown_timeout(FINAL_WRITE_TIMEOUT),
        Ok(ExitReason::StopTimedOut) => runtime.shutdown_background(),
        Err(error) => return fail(json, FAILED, &format!("the agent cannot start: {error}")),
    }
    tracing::info!("stopped");
    if json {
        print_json(&serde_json::json!({ "outcome": "stopped" }));
    }
    DONE
}

async fn run_agent(
    in_force: &LiveConfig,
    space: Space,
    builds: &Builds,
    flag: Option<&Path>,
    handlers: Handlers,
    stop: &Stop,
) -> io::Result<ExitReason> {
    let config = current(in_force);
    let (watch, hints) = Watch::start(WatchSpec::new(&config.source.database, &config.trigger))?;
    let (news, heard) = PassNotifier::new();
    tokio::spawn(deliveries::run_deliveries(
        Arc::clone(in_force),
        builds.clone(),
        heard,
        stop.clone(),
        clock,
    ));
    let vitals = Arc::new(Liveness::default());
    let layout = &builds.layout;
    let ledger = StatusFile::open(layout, watch.backend(), stop.clone());
    let links = vec![layout.index.clone(), layout.metadata.clone(), layout.current.clone()];
    let sites = TrackedFiles { database: config.source.database.clone(), links };
    let world = AgentWorld {
        trigger: config.trigger.clone(),
        served: builds.served().build().is_some(),
        hints,
        signals: handlers.stream()?,
        pass: pass(Arc::clone(in_force), space, news.clone(), Arc::clone(&vitals)),
        sweep: sweeper(builds.clone()),
        sight: Box::new(move |marker| sites.stat(marker)),
        reload: reload(Arc::clone(in_force), flag.map(Path::to_owned), watch, news),
        marker_store: Box::new(MarkerFile::open(layout)),
        observer: Box::new(observer(&config, builds.clone(), ledger, vitals)),
    };
    Ok(agent::run(world).await)
}

/// Tells log and service manager.
fn observer(config: &Config, builds: Builds, ledger: StatusFile, vitals: Arc<Liveness>) -> SystemdObserver {
    let served = move || match builds.served() {
        Served::Build(build) => {
            let age = promote::note(&builds.layout).filter(|note| note.build == build.manifest.id);
            let age =
                age.map_or_else(String::new, |note| format!(", promoted {}", table::ago(note.at, clock())));
            format!("{} with {} records{age}", build.manifest.id, build.manifest.ntotal)
        }
        Served::Nothing => "nothing yet".to_owned(),
        Served::Damaged { why } => format!("a damaged build: {why}"),
    };
    let purchase = config.embedding.retry_budget + config.embedding.request_timeout;
    let managed = settings::is_managed();
    SystemdObserver::new(ledger, vitals, managed, sd_notify::watchdog_enabled(), Box::new(served), purchase)
}

fn current(in_force: &LiveConfig) -> Arc<Config> {
    Arc::clone(&in_force.read().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// One agent to a directory: two would undo each other's waits.
#[allow(clippy::disallowed_methods, reason = "at the start, for a second at most")]
fn lock_agent(layout: &Layout) -> Result<lock::PassLock, (u8, String)> {
    let until = std::time::Instant::now() + AGENT_LOCK_TIMEOUT;
    loop {
        match lock::try_lock_agent(layout) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => return Err((BUSY, format!("another agent serves {}", layout.root.display()))),
            Err(error) => return Err((FAILED, error_chain(&error))),
        }
    }
}

/// A pass with the settings in force when it begins.
fn pass(in_force: LiveConfig, space: Space, news: PassNotifier, vitals: Arc<Liveness>) -> PassFn {
    let runtime = tokio::runtime::Handle::current();
    let sent = SentLog::default();
    Arc::new(move |request: PassRequest, stop: Stop| {
        let config = current(&in_force);
        let told = progress_log::ProgressLog::default();
        let life = Arc::clone(&vitals);
        let world = PassContext {
            config: &config,
            space: space.clone(),
            embedder: &|| embedder(&config),
            sent: sent.clone(),
            runtime: runtime.clone(),
            stop: stop.reporting_to(move || life.tick()),
            progress: &|now| {
                told.update(now);
                vitals.update(now);
            },
            clock,
        };
        let job = PassOptions {
            trigger: request.trigger,
            full_check: request.full_check,
            ..PassOptions::default()
        };
        let report = reconcile(&world, &job).unwrap_or_else(|error| error.report());
        news.notify();
        report
    })
}

fn sweeper(builds: Builds) -> SweepFn {
    Arc::new(move || {
        // Whoever holds the lock sweeps for itself.
        if let Some(_lock) = builds.lock().map_err(|error| error_chain(&error))? {
            for path in sweep::sweep(&builds).map_err(|error| error_chain(&error))? {
                tracing::info!(path = %path.display(), "removed stale staging");
            }
        }
        Ok(())
    })
}

/// Reads the settings again: what can change live does, what cannot is said.
fn reload(in_force: LiveConfig, flag: Option<PathBuf>, watch: Watch, news: PassNotifier) -> agent::ReloadFn {
    Box::new(move || {
        let loaded = match settings::from_process(flag.as_deref(), false, true) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("settings refused, the old ones stay in force: {}", error_chain(&error));
                return None;
            }
        };
        let old = current(&in_force);
        let changes = settings::Changes::between(&old, &loaded.config);
        if !changes.needs_restart.is_empty() {
            tracing::warn!(
                "changed only by a restart, so the old values stay: {}",
                changes.needs_restart.join(", ")
            );
        }
        if changes.is_empty() || changes.live.is_empty() {
            return None;
        }
        tracing::info!("changed: {}", changes.live.join(", "));
        let new = settings::reloaded(&old, &loaded.config);
        watch.retarget(WatchSpec::new(&new.source.database, &new.trigger));
        crate::logging::set_level(&new.log);
        let trigger = new.trigger.clone();
        *in_force.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(new);
        // No pass need follow, and there may be somebody else to tell.
        news.notify();
        Some(trigger)
    })
}

/// Which touch of the marker was acted on, in a file of its own.
struct MarkerFile {
    layout: Layout,
    last_handled: Option<FileStamp>,
}

impl MarkerFile {
    fn open(layout: &Layout) -> Self {
        let (acted_on, damaged) = json_file::load(&json_file::path(layout, "marker"));
        if let Some(words) = damaged {
            tracing::warn!("{words}");
        }
        Self { layout: layout.clone(), last_handled: acted_on }
    }
}

impl MarkerStore for MarkerFile {
    fn last_handled(&self) -> Option<FileStamp> {
        self.last_handled
    }

    fn save(&mut self, stamp: FileStamp) -> io::Result<()> {
        if self.last_handled != Some(stamp) {
            json_file::save_note(&self.layout, "marker", &Some(stamp)).map_err(io::Error::other)?;
            self.last_handled = Some(stamp);
        }
        Ok(())
    }
}
