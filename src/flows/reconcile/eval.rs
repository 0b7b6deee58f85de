//! How well a build answers judged queries, and how it differs from another: for `reindexd eval`.
//!
//! Nothing is built or served. Queries that have no vector are embedded and
//! cached as a pass does it, under the lock; where all have one, nothing is
//! locked or written.

use std::collections::{BTreeSet, HashMap};

use super::context::PassContext;
use super::error::PassError;
use super::judging::Judging;
use crate::adapters::builds::answers::AnsweringIndex;
use crate::adapters::builds::{Build, Builds, BuildsError, Proof, Served, record_names};
use crate::adapters::cache::Cache;
use crate::decide::quality::QualityComparison;
use crate::domain::evaluate::{Evaluation, JudgedQueries, JudgedQuery, Places, QueryValues, RankedRow};
use crate::domain::pass::{Counts, Trigger};
use crate::domain::record::IdHash;

/// What is asked.
#[derive(Clone, Debug, Default)]
pub struct EvalRequest {
    /// The build; `None` for the served one.
    pub build: Option<String>,
    /// Another build that it is compared with.
    pub against: Option<String>,
    /// Whether the rankings are wanted with the names of their records.
    pub with_run: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct EvalReport {
    pub build: String,
    pub evaluation: Evaluation,
    /// Each query by its id, in the order of the file.
    pub queries: Vec<(String, QueryValues)>,
    /// Queries that no record of the build answers.
    pub without_record: Vec<String>,
    /// The other build, and what differs by the judgements whose record is in both.
    pub against: Option<(String, QualityComparison)>,
    /// The rankings, if they were asked for.
    pub run: Vec<QueryRun>,
}

/// The ranking of one query.
#[derive(Clone, Debug)]
pub struct QueryRun {
    pub query: String,
    /// Records by name with their scores, best first.
    pub records: Vec<(String, f32)>,
}

/// A build that was asked.
struct AskedBuild {
    build: Build,
    /// The digests of its rows' ids; of an adopted build none.
    ids: Vec<IdHash>,
    places: Places,
    rankings: Vec<Vec<RankedRow>>,
}

/// Measures a build.
///
/// # Errors
///
/// [`PassError`]; nothing was changed.
pub fn evaluate_build(context: &PassContext<'_>, request: &EvalRequest) -> Result<EvalReport, PassError> {
    let judging = Judging::read(context, false)?.ok_or(PassError::NoQueries)?;
    let builds = Builds::published(&context.config.publish)?;
    let build = match &request.build {
        Some(id) => builds.build(id)?,
        None => served(&builds)?,
    };
    let against = request.against.as_ref().map(|id| builds.build(id)).transpose()?;
    for build in [Some(&build), against.as_ref()].into_iter().flatten() {
        check_space(context, build)?;
    }
    let vectors = vectors(context, &judging, &builds)?;
    let asked = ask(context, &judging.judged, build, &vectors)?;
    let (k, metric) = (context.config.evaluate.k, context.config.evaluate.metric);
    let judged = &judging.judged;
    let values = asked.places.measure(judged, &asked.rankings, k, &|_| true);
    let ids: Vec<&str> = judged.queries.iter().map(|query| query.id.as_str()).collect();
    let compared = |other: Build| -> Result<(String, QualityComparison), PassError> {
        let other = ask(context, judged, other, &vectors)?;
        let in_both = |record: usize| asked.places.has(record) && other.places.has(record);
        let [before, after] =
            [&other, &asked].map(|build| build.places.measure(judged, &build.rankings, k, &in_both));
        Ok((other.build.manifest.id, QualityComparison::of(metric, k, &ids, &before, &after)))
    };
    let against = against.map(compared).transpose()?;
    let run = if request.with_run { run(judged, &asked)? } else { Vec::new() };
    let without_record = asked.places.without_record(judged);
    Ok(EvalReport {
        evaluation: Evaluation::of(k, &values),
        without_record: without_record.into_iter().map(str::to_owned).collect(),
        queries: ids.iter().map(|id| (*id).to_owned()).zip(values).collect(),
        build: asked.build.manifest.id,
        against,
        run,
    })
}

fn served(builds: &Builds) -> Result<Build, PassError> {
    match builds.served() {
        Served::Build(build) => Ok(*build),
        Served::Nothing => Err(PassError::NothingPromoted),
        Served::Damaged { why } => {
            let id = builds.served_id()?.unwrap_or_else(|| "that is served".to_owned());
            Err(PassError::NotEvaluated { id, why })
        }
        Served::NotKnown(doubt) => Err(doubt.into()),
    }
}

/// Questions of one space have no meaning in another. That of an adopted build is not known, but its
/// dimension is.
fn check_space(context: &PassContext<'_>, build: &Build) -> Result<(), PassError> {
    let manifest = &build.manifest;
    let why = match &manifest.space {
        Some(space) if *space != context.space => {
            format!("it is of {space}, the settings are of {}", context.space)
        }
        _ if manifest.dimension != context.space.dimension => {
            format!("it has {} dimensions, the settings {}", manifest.dimension, context.space.dimension)
        }
        _ => return Ok(()),
    };
    Err(PassError::NotEvaluated { id: manifest.id.clone(), why })
}

/// The vectors of all queries. Those that are missing are embedded under the lock.
fn vectors(context: &PassContext<'_>, judging: &Judging, builds: &Builds) -> Result<Vec<f32>, PassError> {
    let path = builds.layout.cache();
    if let Some(vectors) = judging.stored_vectors(context, &path)? {
        return Ok(vectors);
    }
    let _lock = builds.lock()?.ok_or(PassError::Busy)?;
    let (mut cache, warning) = Cache::open(&path, &context.space, (context.clock)().as_second())?;
    if let Some(warning) = warning {
        context.warn(&warning);
    }
    judging.embed_missing(context, Trigger::Command, &mut cache, &mut Counts::default())?;
    judging.vectors(&mut cache)
}

fn ask(
    context: &PassContext<'_>,
    judged: &JudgedQueries,
    build: Build,
    vectors: &[f32],
) -> Result<AskedBuild, PassError> {
    let not_whole = |why| PassError::NotEvaluated { id: build.manifest.id.clone(), why };
    match build.prove_index(&context.stop)? {
        Proof::Whole(()) => {}
        Proof::Damaged(why) => return Err(not_whole(why)),
        Proof::NotKnown(doubt) => return Err(doubt.into()),
    }
    let ids: Vec<IdHash> = match build.rows() {
        Proof::Whole(rows) => rows.into_iter().map(|row| row.id).collect(),
        Proof::Damaged(why) => return Err(not_whole(why)),
        Proof::NotKnown(doubt) => return Err(doubt.into()),
    };
    let places = if build.manifest.adopted {
        places_by_name(judged, &build)?
    } else {
        Places::find(&judged.records, ids.iter().copied())
    };
    let index = AnsweringIndex::of_build(&build)?;
    let rankings = index.rank::<PassError>(vectors, context.config.evaluate.k, &context.stop)?;
    Ok(AskedBuild { build, ids, places, rankings })
}

/// Finds the records of an adopted build, which has no digests, by what stands in them.
fn places_by_name(judged: &JudgedQueries, build: &Build) -> Result<Places, PassError> {
    let wanted: HashMap<&str, usize> =
        judged.records.iter().zip(0..).map(|(id, place)| (id.as_str(), place)).collect();
    let mut found = Vec::new();
    let read = record_names::each_name(build, None, &mut |row, name| {
        found.extend(name.and_then(|name| wanted.get(name.as_str()).map(|place| (*place, row))));
    });
    read.map_err(BuildsError::from)?;
    Ok(Places::at(judged.records.len(), found))
}

/// The rankings with the names of their records. One whose name is not known is named by its row.
fn run(judged: &JudgedQueries, asked: &AskedBuild) -> Result<Vec<QueryRun>, PassError> {
    let rows: BTreeSet<usize> = asked.rankings.iter().flatten().map(|ranked| ranked.row).collect();
    let mut names = HashMap::new();
    let read = record_names::each_name(&asked.build, asked.ids.first(), &mut |row, name| {
        if rows.contains(&row) {
            let known = asked.places.record_at(row).map(|place| judged.records[place].clone());
            names.insert(row, known.or(name).unwrap_or_else(|| format!("row:{row}")));
        }
    });
    read.map_err(BuildsError::from)?;
    let record = |ranked: &RankedRow| (names.get(&ranked.row).cloned().unwrap_or_default(), ranked.score);
    let of_query = |(query, ranking): (&JudgedQuery, &Vec<RankedRow>)| QueryRun {
        query: query.id.clone(),
        records: ranking.iter().map(record).collect(),
    };
    Ok(judged.queries.iter().zip(&asked.rankings).map(of_query).collect())
}
