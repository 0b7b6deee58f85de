//! All that `reindexd status` shows, read once.
//!
//! [`Status::read`] gathers what is served, the drift, the last attempt, the
//! agent and the targets; nothing is written and no lock is waited for.
//! `advice` says what an operator should do about it, and `cli` prints it.

pub(crate) mod advice;
mod quarantined;
mod rebuy;

use std::path::{PathBuf, absolute};

use jiff::Timestamp;

use crate::adapters::builds::history::{AttemptRecord, History};
use crate::adapters::builds::{
    AgentStatus, CurrentPass, Hold, current_pass, json_file, sent_texts, sign_of_life,
};
use crate::adapters::builds::{Build, Builds, Served, error_chain, lock};
use crate::adapters::deliver::state as delivery_state;
use crate::adapters::source::path_warnings;
use crate::decide::source_path::PathWarning;
use crate::domain::manifest::Manifest;
use crate::domain::pass::{Stage, Timings, Trigger};
use crate::flows::deliver::{TargetStatus, target_states, targets};
pub(crate) use quarantined::{QuarantineStatus, QuarantinedRowStatus};

use crate::flows::reconcile::{PassContext, PassError, PassOptions, PassProgress, Preview, preview};
pub(crate) use rebuy::RebuyStatus;

pub(crate) struct Status {
    pub(crate) served: Served,
    /// When the served build was promoted.
    pub(crate) promoted_at: Option<Timestamp>,
    /// Where the time of the served build went.
    pub(crate) timings: Option<Timings>,
    pub(crate) drift: Result<Preview, PassError>,
    /// What an operator should know of the path to the database, as this process sees it.
    pub(crate) path_warnings: Vec<PathWarning>,
    /// The pass that runs now, of the agent or by hand.
    pub(crate) pass: Option<CurrentPass>,
    pub(crate) last_attempt: Option<AttemptRecord>,
    /// Whether the ceiling on texts sent keeps passes from embedding.
    pub(crate) is_at_ceiling: bool,
    /// When the first of the attempts ended that have failed one after the other until now.
    pub(crate) failed_since: Option<Timestamp>,
    /// Whether an agent runs, where that can be known.
    pub(crate) agent_runs: Option<bool>,
    /// What the agent wrote last.
    pub(crate) agent: AgentStatus,
    /// When the agent last showed that its loop runs.
    pub(crate) sign_of_life: Option<Timestamp>,
    /// When a pass last ended well.
    pub(crate) last_good_end: Option<Timestamp>,
    /// Whether an agent with these settings acts on changes of the database.
    pub(crate) acts_on_database: bool,
    pub(crate) hold: Option<Hold>,
    pub(crate) quarantined: QuarantineStatus,
    pub(crate) rebuys: Vec<RebuyStatus>,
    pub(crate) targets: Vec<TargetStatus>,
    /// The settings file that was read.
    pub(crate) settings: Option<PathBuf>,
    /// When all of this was read.
    pub(crate) now: Timestamp,
}

impl Status {
    pub(crate) fn read(context: &PassContext<'_>, builds: &Builds) -> Self {
        let served = builds.served();
        let (history, _) = History::load(&builds.layout).unwrap_or_default();
        let (hold, _) = Hold::load(&builds.layout).unwrap_or_default();
        let (agent, _) = json_file::load(&json_file::path(&builds.layout, "agent"));
        let agent_runs = lock::is_agent_running(&builds.layout);
        // An agent may not do all that a build by hand may.
        let trigger = if agent_runs == Some(true) { Trigger::Resync } else { Trigger::Command };
        (context.progress)(PassProgress::Stage(Stage::Scan));
        let drift = preview(context, &PassOptions { trigger, ..PassOptions::default() });
        let manifest = served.build().map(|build| &build.manifest);
        let targets = target_states(
            &targets(&context.config.announce),
            &delivery_state::load(&builds.layout),
            manifest.map(|manifest| manifest.id.as_str()),
            &history,
        );
        Self {
            promoted_at: manifest.and_then(|manifest| promoted_at(&history, &manifest.id)),
            timings: manifest.map(|manifest| timings_of(manifest, &history)),
            last_attempt: history.attempts.last().cloned(),
            is_at_ceiling: sent_texts(&builds.layout).is_some_and(|sent| sent.is_held),
            failed_since: history.failed_since(),
            rebuys: RebuyStatus::read(&builds.layout, manifest.map(|manifest| manifest.id.as_str())),
            quarantined: QuarantineStatus::read(&builds.layout, manifest),
            served,
            drift,
            path_warnings: path_warnings(&context.config.source.database),
            pass: current_pass(&builds.layout),
            agent_runs,
            agent,
            sign_of_life: sign_of_life(&builds.layout),
            last_good_end: lock::last_good_end(&builds.layout),
            acts_on_database: context.config.trigger.on.database,
            hold,
            targets,
            settings: context
                .config
                .file
                .as_deref()
                .map(|path| absolute(path).unwrap_or_else(|_| path.into())),
            now: (context.clock)(),
        }
    }

    pub(crate) fn build(&self) -> Option<&Build> {
        self.served.build()
    }

    /// The one error that programs should know of, if there is any.
    pub(crate) fn error(&self) -> Option<String> {
        match (&self.served, &self.drift) {
            (_, Err(error)) => Some(error.to_line()),
            (Served::Damaged { why }, _) => Some(why.clone()),
            (Served::NotKnown(doubt), _) => Some(error_chain(doubt)),
            _ => None,
        }
    }

    /// What an operator should know of the path to the database. The agent may see another: in a container,
    /// or under a unit that mounts things.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<_> = self.path_warnings.iter().map(ToString::to_string).collect();
        if self.agent_runs == Some(true) {
            let only_of_agent = self.agent.warnings.iter().filter(|warning| !warnings.contains(warning));
            warnings.extend(
                only_of_agent.map(|warning| format!("as the agent sees it: {warning}")).collect::<Vec<_>>(),
            );
        }
        warnings
    }

    /// Whether what is read of the database is not what it is now.
    pub(crate) fn is_outdated(&self) -> bool {
        self.path_warnings.iter().any(PathWarning::is_outdated)
    }

    /// Since when a target has not received the served build.
    pub(crate) fn stale_since(&self) -> Option<Timestamp> {
        self.targets.iter().filter_map(|target| target.stale_since).min()
    }
}

fn promoted_at(history: &History, id: &str) -> Option<Timestamp> {
    history.promotions.iter().rev().find(|promotion| promotion.build == id).map(|promotion| promotion.at)
}

/// Where the time of a build went: with the promotion while the pass is
/// recorded, else as the manifest has it, which is written before the promotion
/// ends.
pub(crate) fn timings_of(manifest: &Manifest, history: &History) -> Timings {
    let recorded = history.attempt_of(&manifest.id).map(|attempt| attempt.timings);
    recorded.filter(Timings::has_stages).unwrap_or(manifest.timings)
}
