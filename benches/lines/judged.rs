//! Line 13: a thousand judged queries asked of 100,000 vectors, beside Faiss's own search of the same.

use std::time::Instant;

use reindexd::adapters::builds::answers::AnsweringIndex;
use reindexd::adapters::builds::index::MappedIndex;
use reindexd::adapters::builds::{Builds, BuildsError};
use reindexd::domain::stop::{Stop, Stopped};

use super::Bench;
use crate::table::Figures;

const QUERIES: usize = 1000;
const DIMENSION: usize = 768;
const K: usize = 10;

/// Why an index gave no answers.
#[derive(Debug)]
struct NoAnswers(#[allow(dead_code, reason = "shown by a panic")] String);

impl From<BuildsError> for NoAnswers {
    fn from(error: BuildsError) -> Self {
        Self(error.to_string())
    }
}

impl From<Stopped> for NoAnswers {
    fn from(Stopped: Stopped) -> Self {
        Self("stopped".to_owned())
    }
}

/// Line 13: rankings of a thousand queries, by turns with a single batch search.
pub fn judged(bench: &mut Bench) {
    let fixture = bench.fixture("hundred-thousand", 100_000);
    fixture.settle();
    let files = fixture.served_files();
    let data = fixture.database().with_file_name("");
    let builds = Builds::at(&data.join("faiss.index"), &data.join("metadata.json")).unwrap();
    let build = builds.build(&fixture.served().unwrap().file_name().unwrap().to_string_lossy()).unwrap();
    let index = MappedIndex::map(&files[0]).unwrap();
    let mut queries: Vec<f32> = (0..QUERIES * DIMENSION).map(|_| bench.random.f32() - 0.5).collect();
    for query in queries.chunks_mut(DIMENSION) {
        let length = query.iter().map(|x| x * x).sum::<f32>().sqrt();
        for float in query {
            *float /= length;
        }
    }
    let (mut ours, mut limit) = (Figures::default(), Figures::default());
    for _ in 0..bench.turns {
        let began = Instant::now();
        let found = index.search_all(&queries, K, &files[0]).unwrap();
        limit.push(began.elapsed());
        let began = Instant::now();
        let answering = AnsweringIndex::of_build(&build).unwrap();
        let rankings = answering.rank::<NoAnswers>(&queries, K, &Stop::new()).unwrap();
        ours.push(began.elapsed());
        for (ranking, found) in rankings.iter().zip(&found) {
            assert_eq!(ranking[0].row, found[0].row, "both find the same");
        }
    }
    let what = format!("{QUERIES} judged queries, 100,000 × {DIMENSION}");
    bench.table.ratio("13", &what, &ours, ("Faiss's batch search", &limit), 2.0);
}
