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

use tokio_util::sync::CancellationToken;

use crate::adapters::builds::state;
use crate::adapters::builds::{Builds, Layout, Served, lock, promote, sweep, with_cause};
use crate::adapters::embed::Sent;
use crate::adapters::signals::Handlers;
use crate::adapters::watch::{Aim, Sites, Watch};
use crate::cli::{BUSY, Context, DONE, FAILED, USAGE, clock, embedder, fail, say_json, table};
use crate::config::{self as settings, Config};
use crate::domain::file_stamp::Stamp;
use crate::domain::pass::{Built, PassOutcome, PassReport, PassRequest};
use crate::domain::record::Space;
use crate::flows::agent::{self, AgentWorld, ExitReason, MarkerMemory, PassFn, SweepFn};
use crate::flows::reconcile::{Done, Job, Outcome, PassError, Verdict, World, reconcile};
use deliveries::News;

/// How long a second agent, or a `status` that looks just now, may keep the agent's lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);

use status_file::Ledger;
use systemd::{Service, Vitals};

/// How long the last note may take to be written before the process ends without it.
const LAST_NOTE: Duration = Duration::from_millis(500);

/// The settings in force, which SIGHUP replaces whole.
type InForce = Arc<RwLock<Arc<Config>>>;

pub(crate) fn run(context: Context, flag: Option<&Path>, handlers: Handlers) -> u8 {
    let Context { config, space, json, runtime, stop, .. } = context;
    let builds = match Builds::at(&config.publish.index, &config.publish.metadata) {
        Ok(builds) => builds,
        Err(error) => return fail(json, USAGE, &with_cause(&error)),
    };
    if let Err(error) = builds.lock() {
        return fail(json, if error.is_settings() { USAGE } else { FAILED }, &with_cause(&error));
    }
    let _alone = match only_agent(&builds.layout) {
        Ok(lock) => lock,
        Err((code, words)) => return fail(json, code, &words),
    };
    let in_force: InForce = Arc::new(RwLock::new(Arc::new(config)));
    let ended = runtime.block_on(live(&in_force, space, &builds, flag, handlers, &stop));
    stop.cancel();
    match ended {
        Ok(ExitReason::Stopped) => runtime.shutdown_timeout(LAST_NOTE),
        Ok(ExitReason::LeftBehind) => runtime.shutdown_background(),
        Err(error) => return fail(json, FAILED, &format!("the agent cannot start: {error}")),
    }
    tracing::info!("stopped");
    if json {
        say_json(&serde_json::json!({ "outcome": "stopped" }));
    }
    DONE
}

async fn live(
    in_force: &InForce,
    space: Space,
    builds: &Builds,
    flag: Option<&Path>,
    handlers: Handlers,
    stop: &CancellationToken,
) -> io::Result<ExitReason> {
    let config = now_in_force(in_force);
    let (watch, hints) = Watch::start(Aim::new(&config.source.database, &config.trigger))?;
    let (news, heard) = News::new();
    tokio::spawn(deliveries::keep_told(Arc::clone(in_force), builds.clone(), heard, stop.clone()));
    let vitals = Arc::new(Vitals::default());
    let layout = &builds.layout;
    let ledger = Ledger::open(layout, watch.way(), stop.clone());
    let links = vec![layout.index.clone(), layout.metadata.clone(), layout.current.clone()];
    let sites = Sites { database: config.source.database.clone(), links };
    let world = AgentWorld {
        trigger: config.trigger.clone(),
        served: builds.served().build().is_some(),
        hints,
        signals: handlers.stream()?,
        pass: pass(Arc::clone(in_force), space, news.clone(), Arc::clone(&vitals)),
        sweep: sweeper(builds.clone()),
        sight: Box::new(move |marker| sites.sight(marker)),
        reload: reload(Arc::clone(in_force), flag.map(Path::to_owned), watch, news),
        memory: Box::new(MarkerFile::open(layout)),
        reporter: Box::new(reporter(&config, builds.clone(), ledger, vitals)),
    };
    Ok(agent::run(world).await)
}

/// Tells log and service manager.
fn reporter(config: &Config, builds: Builds, ledger: Ledger, vitals: Arc<Vitals>) -> Service {
    let served = move || match builds.served() {
        Served::Build(build) => {
            let age = promote::note(&builds.layout).filter(|note| note.build == build.manifest.id);
            let age =
                age.map_or_else(String::new, |note| format!(", promoted {}", table::ago(note.at, clock())));
            format!("{} with {} records{age}", build.manifest.id, build.manifest.ntotal)
        }
        Served::Nothing => "nothing yet".to_owned(),
        Served::Broken { why } => format!("a damaged build: {why}"),
    };
    let purchase = config.embedding.retry_budget + config.embedding.request_timeout;
    let managed = settings::is_managed();
    Service::new(ledger, vitals, managed, sd_notify::watchdog_enabled(), Box::new(served), purchase)
}

fn now_in_force(in_force: &InForce) -> Arc<Config> {
    Arc::clone(&in_force.read().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// One agent to a directory: two would undo each other's waits.
#[allow(clippy::disallowed_methods, reason = "at the start, for a second at most")]
fn only_agent(layout: &Layout) -> Result<lock::PassLock, (u8, String)> {
    let until = std::time::Instant::now() + LOCK_WAIT;
    loop {
        match lock::try_lock_agent(layout) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if std::time::Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => return Err((BUSY, format!("another agent serves {}", layout.root.display()))),
            Err(error) => return Err((FAILED, with_cause(&error))),
        }
    }
}

/// A pass with the settings in force when it begins.
fn pass(in_force: InForce, space: Space, news: News, vitals: Arc<Vitals>) -> PassFn {
    let runtime = tokio::runtime::Handle::current();
    let sent = Sent::default();
    Arc::new(move |request: PassRequest, stop: CancellationToken| {
        let config = now_in_force(&in_force);
        let told = progress_log::Told::default();
        let life = Arc::clone(&vitals);
        let world = World {
            config: &config,
            space: space.clone(),
            embedder: &|| embedder(&config),
            sent: sent.clone(),
            runtime: runtime.clone(),
            stop,
            tick: Arc::new(move || life.tick()),
            progress: &|now| {
                told.update(now);
                vitals.update(now);
            },
            clock,
        };
        let job =
            Job { trigger: request.trigger.to_string(), full_check: request.full_check, ..Job::default() };
        let report = report(reconcile(&world, &job));
        news.tell();
        report
    })
}

fn report(result: Result<Done, PassError>) -> PassReport {
    match result {
        Ok(done) => {
            let outcome = match done.outcome {
                Outcome::Promoted => PassOutcome::Promoted,
                Outcome::Unchanged => PassOutcome::Unchanged,
                Outcome::Held => PassOutcome::Held,
            };
            let promoted = done.build.clone().filter(|_| outcome == PassOutcome::Promoted);
            let built = promoted.map(|build| Built { build, counts: done.counts });
            PassReport { outcome, message: summary(&done), built }
        }
        Err(error) => {
            let outcome = match error.verdict() {
                Verdict::Busy => PassOutcome::Busy,
                Verdict::Stopped => PassOutcome::Stopped,
                Verdict::Refused => PassOutcome::Refused,
                Verdict::Failed | Verdict::Settings => PassOutcome::Failed(error.cure()),
            };
            PassReport { outcome, message: error.words(), built: None }
        }
    }
}

/// The one line that an operator reads of a pass.
fn summary(done: &Done) -> String {
    let build = done.build.as_deref().unwrap_or("none");
    let counts = done.counts;
    match done.outcome {
        Outcome::Promoted => format!(
            "build={build} records={} kept={} embedded={} metadata_only={} removed={} requests={}",
            counts.records,
            counts.kept,
            counts.embedded,
            counts.metadata_only,
            counts.removed,
            counts.requests
        ),
        Outcome::Unchanged => format!("build={build} records={}", counts.records),
        Outcome::Held => format!("build={build} is held by a rollback until the table changes"),
    }
}

fn sweeper(builds: Builds) -> SweepFn {
    Arc::new(move || {
        // Whoever holds the lock sweeps for itself.
        if let Some(_lock) = builds.lock().map_err(|error| with_cause(&error))? {
            for path in sweep::sweep(&builds).map_err(|error| with_cause(&error))? {
                tracing::info!(path = %path.display(), "removed stale staging");
            }
        }
        Ok(())
    })
}

/// Reads the settings again: what can change live does, what cannot is said.
fn reload(in_force: InForce, flag: Option<PathBuf>, watch: Watch, news: News) -> agent::ReloadFn {
    Box::new(move || {
        let loaded = match settings::from_process(flag.as_deref(), false, true) {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::error!("settings refused, the old ones stay in force: {}", with_cause(&error));
                return None;
            }
        };
        let old = now_in_force(&in_force);
        let changes = settings::changes(&old, &loaded.config);
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
        watch.aim(Aim::new(&new.source.database, &new.trigger));
        crate::logging::change(&new.log);
        let trigger = new.trigger.clone();
        *in_force.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(new);
        // No pass need follow, and there may be somebody else to tell.
        news.tell();
        Some(trigger)
    })
}

/// Which touch of the marker was acted on, in a file of its own.
struct MarkerFile {
    layout: Layout,
    acted_on: Option<Stamp>,
}

impl MarkerFile {
    fn open(layout: &Layout) -> Self {
        let (acted_on, damaged) = state::load(&state::path(layout, "marker"));
        if let Some(words) = damaged {
            tracing::warn!("{words}");
        }
        Self { layout: layout.clone(), acted_on }
    }
}

impl MarkerMemory for MarkerFile {
    fn acted_on(&self) -> Option<Stamp> {
        self.acted_on
    }

    fn remember(&mut self, stamp: Stamp) -> io::Result<()> {
        if self.acted_on != Some(stamp) {
            state::save_note(&self.layout, "marker", &Some(stamp)).map_err(io::Error::other)?;
            self.acted_on = Some(stamp);
        }
        Ok(())
    }
}
