//! Attempts with a provider in memory, under a paused clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::sleep;

use super::*;
use crate::adapters::embed::query::embed_query;
use crate::adapters::embed::rate_limit::SentLog;
use crate::adapters::embed::send_meter::{SendMeter, SentInMinute};
use crate::adapters::embed::types::{Failure, FailureKind, Task};
use crate::domain::pass::Retry;
use crate::domain::record::TextHash;

const DIMENSION: usize = 3;
const WITNESS: &str = "a witness";
const SECOND: Duration = Duration::from_secs(1);

type Answer = Result<Vec<Vec<f32>>, Failure>;
type Script = dyn Fn(&[String], usize) -> (Duration, Answer) + Send + Sync;

/// A provider in memory: it waits and answers as the script decides.
struct FakeEmbedder {
    script: Box<Script>,
    sent: Mutex<Vec<(Instant, Vec<String>)>>,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

impl FakeEmbedder {
    /// `script` gets the texts and the number of requests sent before.
    fn new(script: impl Fn(&[String], usize) -> (Duration, Answer) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            sent: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            max_in_flight: AtomicUsize::new(0),
        })
    }

    fn sent(&self) -> Vec<(Instant, Vec<String>)> {
        self.sent.lock().unwrap().clone()
    }
}

impl Embedder for FakeEmbedder {
    fn embed<'a>(&'a self, texts: &'a [String], _task: Task) -> BoxFuture<'a, Answer> {
        async move {
            let before = {
                let mut sent = self.sent.lock().unwrap();
                sent.push((Instant::now(), texts.to_vec()));
                sent.len() - 1
            };
            let at_once = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
            self.max_in_flight.fetch_max(at_once, Ordering::SeqCst);
            let (delay, answer) = (self.script)(texts, before);
            sleep(delay).await;
            self.in_flight.fetch_sub(1, Ordering::SeqCst);
            answer
        }
        .boxed()
    }

    fn max_texts(&self) -> usize {
        100
    }

    fn max_bytes(&self) -> usize {
        1000
    }
}

#[expect(clippy::unnecessary_wraps, reason = "an answer like any other")]
fn vectors(texts: &[String]) -> Answer {
    Ok(vec![vec![3.0, 0.0, 4.0]; texts.len()])
}

fn failing(kind: FailureKind) -> Answer {
    Err(Failure::new(kind, format!("{kind:?}")))
}

const BUSY: FailureKind = FailureKind::Transient { wait: None };

fn busy_for(seconds: u32) -> FailureKind {
    FailureKind::Transient { wait: Some(seconds * SECOND) }
}

/// Refuses every batch that holds one of the bad texts.
fn picky(bad: &BTreeSet<usize>, texts: &[String]) -> Answer {
    if texts.iter().any(|text| bad.contains(&number(text))) {
        failing(FailureKind::BadRequest)
    } else {
        vectors(texts)
    }
}

fn text(number: usize) -> String {
    format!("text {number:04}")
}

/// The number of a text; the witness has one that no text has.
fn number(text: &str) -> usize {
    if text == WITNESS { usize::MAX } else { text[5..9].parse().unwrap() }
}

fn limits() -> EmbedLimits {
    EmbedLimits {
        task: Task::Document,
        dimension: DIMENSION,
        batch_size: 16,
        concurrency: 4,
        items_per_minute: 0,
        tokens_per_minute: 0,
        sent: SentLog::default(),
        retry_budget: 600 * SECOND,
        refusals_allowed: 0,
        are_refused: false,
        witness: WITNESS.to_owned(),
        meter: None,
    }
}

/// The outcome of one attempt.
struct EmbedRun {
    result: Result<EmbedReport, EmbedFailure>,
    arrived: BTreeSet<usize>,
    took: Duration,
}

impl EmbedRun {
    fn error(&self) -> &EmbedError {
        &self.result.as_ref().unwrap_err().error
    }
}

async fn embed_texts(fake: &Arc<FakeEmbedder>, limits: &EmbedLimits, texts: usize) -> EmbedRun {
    let stop = Stop::new();
    embed_texts_with(fake, limits, texts, &stop, &mut |_| Ok(())).await
}

async fn embed_texts_with(
    fake: &Arc<FakeEmbedder>,
    limits: &EmbedLimits,
    texts: usize,
    stop: &Stop,
    sink: &mut dyn FnMut(&EmbeddedBatch) -> Result<(), SinkError>,
) -> EmbedRun {
    let numbers: BTreeMap<TextHash, usize> = (0..texts).map(|n| (TextHash::of(&text(n)), n)).collect();
    let mut items = (0..texts).map(|n| Ok(TextItem { hash: TextHash::of(&text(n)), text: text(n) }));
    let mut arrived = BTreeSet::new();
    let mut keep = |batch: EmbeddedBatch| {
        sink(&batch)?;
        for (hash, vector) in batch.hashes.iter().zip(batch.vectors.chunks(DIMENSION)) {
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-6);
            assert!(arrived.insert(numbers[hash]), "handed on twice");
        }
        Ok(())
    };
    let begun = Instant::now();
    let embedder: Arc<dyn Embedder> = fake.clone();
    let result = embed_all(embedder, limits, &mut items, &mut keep, &|_| {}, stop).await;
    EmbedRun { result, arrived, took: begun.elapsed() }
}

#[tokio::test(start_paused = true)]
async fn every_text_is_embedded_once_in_any_order_within_the_concurrency_limit() {
    let delays =
        |texts: &[String], _| (Duration::from_secs(1 + number(&texts[0]) as u64 % 5), vectors(texts));
    // A batch of 5000 is cut to the provider's 100 texts.
    for (batch_size, concurrency, requests) in [(16, 4, 63), (1, 1, 1000), (7, 3, 143), (5000, 2, 10)] {
        let fake = FakeEmbedder::new(delays);
        let limits = EmbedLimits { batch_size, concurrency, ..limits() };
        let outcome = embed_texts(&fake, &limits, 1000).await;

        assert_eq!(outcome.result.unwrap(), EmbedReport { texts: 1000, requests, sent: 0, refused: vec![] });
        assert_eq!(outcome.arrived, (0..1000).collect());
        assert_eq!(fake.max_in_flight.load(Ordering::SeqCst), concurrency);
    }
}

#[tokio::test(start_paused = true)]
async fn texts_are_pulled_only_as_they_are_sent() {
    let fake = FakeEmbedder::new(|texts, _| (SECOND, vectors(texts)));
    let pulled = AtomicUsize::new(0);
    let mut items = (0..1000).map(|n| {
        pulled.fetch_add(1, Ordering::SeqCst);
        Ok(TextItem { hash: TextHash::of(&text(n)), text: text(n) })
    });
    let mut arrived = 0;
    let mut keep = |batch: EmbeddedBatch| {
        assert!(pulled.load(Ordering::SeqCst) <= arrived + 4 * 16);
        arrived += batch.hashes.len();
        Ok(())
    };
    let stop = Stop::new();
    embed_all(fake.clone(), &limits(), &mut items, &mut keep, &|_| {}, &stop).await.unwrap();
    assert_eq!(arrived, 1000);
}

#[tokio::test(start_paused = true)]
async fn without_a_single_success_the_budget_ends_the_attempt() {
    for (kind, wait) in [(BUSY, None), (busy_for(40), Some(40 * SECOND))] {
        let fake = FakeEmbedder::new(move |_, _| (SECOND, failing(kind)));
        let outcome = embed_texts(&fake, &limits(), 1000).await;

        assert_eq!(outcome.error().retry(), Retry::Soon { wait });
        assert!(outcome.error().to_string().contains("Transient"), "{}", outcome.error());
        assert!(outcome.took > 550 * SECOND && outcome.took < 615 * SECOND, "{:?}", outcome.took);
        let sent = fake.sent().len();
        assert!(sent > 4 + 12 && sent < 4 + 60, "{sent} requests");
        // Four batches, then a single text a try: an outage does not cost a batch each time.
        let texts: usize = fake.sent().iter().map(|(_, texts)| texts.len()).sum();
        assert_eq!(texts, 4 * 16 + (sent - 4));
        assert_eq!(outcome.result.unwrap_err().requests, sent as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn as_long_as_any_request_succeeds_none_gives_up() {
    // The first batch fails for an hour, in which others succeed.
    let begun = Instant::now();
    let fake = FakeEmbedder::new(move |texts, _| {
        let stuck = number(&texts[0]) == 0 && begun.elapsed() < 3600 * SECOND;
        (100 * SECOND, if stuck { failing(BUSY) } else { vectors(texts) })
    });
    let outcome = embed_texts(&fake, &EmbedLimits { concurrency: 2, ..limits() }, 16 * 50).await;
    assert_eq!(outcome.result.unwrap().texts, 16 * 50);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_provider_asks_of_one_request_is_kept_by_all() {
    let fake = FakeEmbedder::new(|texts, before| match before {
        5 => (SECOND, failing(busy_for(45))),
        _ => (SECOND, vectors(texts)),
    });
    let outcome = embed_texts(&fake, &limits(), 16 * 20).await;

    assert_eq!(outcome.result.unwrap(), EmbedReport { texts: 320, requests: 21, sent: 0, refused: vec![] });
    let sent = fake.sent();
    // Request 5 is one of the second four, which are answered after two seconds.
    let answered = sent[0].0 + 2 * SECOND;
    for (at, _) in &sent[8..] {
        assert!(*at >= answered + 45 * SECOND, "sent {:?} after it was asked to wait 45 s", *at - answered);
    }
    assert_eq!(sent[8..].iter().filter(|(_, texts)| *texts == sent[5].1).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn waits_grow_with_jitter_and_a_zero_wait_does_not_skip_them() {
    for kind in [BUSY, busy_for(0)] {
        let fake = FakeEmbedder::new(move |texts, before| {
            (Duration::ZERO, if before < 10 { failing(kind) } else { vectors(texts) })
        });
        embed_texts(&fake, &limits(), 1).await.result.unwrap();
        let times: Vec<_> = fake.sent().iter().map(|(at, _)| *at).collect();
        let mut usual = Duration::from_millis(500);
        for pair in times[..11].windows(2) {
            let wait = pair[1] - pair[0];
            assert!(wait >= usual / 2 && wait <= usual + Duration::from_millis(2), "{wait:?} for {usual:?}");
            usual = (2 * usual).min(30 * SECOND);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_ends_the_attempt_at_once_with_the_providers_message() {
    let cases = [
        (busy_for(3600), Retry::Soon { wait: Some(3600 * SECOND) }),
        (FailureKind::Exhausted, Retry::Hourly),
        (FailureKind::Final, Retry::OnChange),
    ];
    for (kind, retry) in cases {
        // The other three in flight are answered, and their vectors are kept.
        let fake = FakeEmbedder::new(move |texts, before| match before {
            0 => (SECOND, failing(kind)),
            _ => (3 * SECOND, vectors(texts)),
        });
        let outcome = embed_texts(&fake, &limits(), 1000).await;

        assert_eq!(outcome.error().retry(), retry);
        let message = format!("{kind:?}");
        assert!(outcome.error().to_string().contains(&message), "{}", outcome.error());
        assert_eq!(outcome.arrived, (16..64).collect());
        assert_eq!(outcome.took, 3 * SECOND);
        let failed = outcome.result.unwrap_err();
        assert_eq!((failed.texts, failed.requests), (48, 4));
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_the_texts_that_a_provider_refuses_are_found_and_the_rest_is_embedded() {
    let alone = EmbedLimits { concurrency: 1, refusals_allowed: 16, ..limits() };
    let cases: [(usize, &[usize], u64); 8] = [
        (16, &[], 1),
        (16, &[0], 9),
        (16, &[15], 13),
        (16, &[5, 6], 15),
        // The text, the witness, the text once more.
        (1, &[0], 3),
        (2, &[1], 5),
        (13, &[12], 12),
        // The first batch shows that requests are well formed, so two bad halves are two bad texts.
        (32, &[16, 31], 1 + 20),
    ];
    for (texts, bad, requests) in cases {
        let bad: BTreeSet<usize> = bad.iter().copied().collect();
        let fake = FakeEmbedder::new({
            let bad = bad.clone();
            move |texts, _| (SECOND, picky(&bad, texts))
        });
        let outcome = embed_texts(&fake, &alone, texts).await;

        let report = outcome.result.unwrap();
        let refused: Vec<_> = report.refused.iter().map(|refusal| refusal.hash).collect();
        assert_eq!(refused, bad.iter().map(|&n| TextHash::of(&text(n))).collect::<Vec<_>>());
        assert_eq!(outcome.arrived, (0..texts).filter(|n| !bad.contains(n)).collect());
        assert!(report.requests <= requests, "{} requests for {texts} texts, bad {bad:?}", report.requests);
        for text in bad.iter().map(|&n| text(n)) {
            let lone = fake.sent().iter().filter(|(_, texts)| *texts == [text.clone()]).count();
            assert_eq!(lone, 2, "refused alone, then another is taken, then refused again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn texts_that_were_refused_before_are_each_asked_for_once() {
    for (texts, bad) in [(1, 0..1), (3, 0..3), (50, 0..50), (50, 0..49), (50, 7..8), (50, 0..0)] {
        for concurrency in [1, 4] {
            let fake = FakeEmbedder::new({
                let bad: BTreeSet<usize> = bad.clone().collect();
                move |texts, _| (SECOND, picky(&bad, texts))
            });
            let limits = EmbedLimits {
                batch_size: 1,
                concurrency,
                refusals_allowed: usize::MAX,
                are_refused: true,
                ..limits()
            };

            let outcome = embed_texts(&fake, &limits, texts).await;

            let refused = outcome.result.unwrap().refused.len();
            assert_eq!(refused, bad.len(), "{bad:?} of {texts}");
            assert_eq!(outcome.arrived, (0..texts).filter(|n| !bad.contains(n)).collect());
            let sent = fake.sent();
            let sent: Vec<&String> = sent.iter().flat_map(|(_, texts)| texts).collect();
            let witnesses = sent.iter().filter(|text| **text == WITNESS).count();
            assert_eq!(sent.len() - witnesses, texts, "{bad:?} of {texts}");
            assert!(witnesses <= 1, "{bad:?} of {texts}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_refused_in_both_halves_is_wrong_itself() {
    let fake = FakeEmbedder::new(|_, _| (SECOND, failing(FailureKind::BadRequest)));
    let limits = EmbedLimits { concurrency: 1, refusals_allowed: 100, ..limits() };
    let outcome = embed_texts(&fake, &limits, 1000).await;
    assert!(matches!(outcome.error(), EmbedError::BadRequest(message) if message == "BadRequest"));
    assert_eq!(outcome.error().retry(), Retry::Hourly);
    let sent = fake.sent();
    assert_eq!(sent.iter().map(|(_, texts)| texts.len()).collect::<Vec<_>>(), [16, 1, 1]);
    assert!(number(&sent[1].1[0]) < 8 && number(&sent[2].1[0]) >= 8, "two texts of different halves");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_only_too_large_is_embedded_in_halves() {
    let fake = FakeEmbedder::new(|texts, _| {
        (SECOND, if texts.len() > 8 { failing(FailureKind::BadRequest) } else { vectors(texts) })
    });
    let outcome = embed_texts(&fake, &limits(), 64).await;
    assert_eq!(outcome.result.unwrap(), EmbedReport { texts: 64, requests: 13, sent: 0, refused: vec![] });
}

#[tokio::test(start_paused = true)]
async fn one_refused_text_too_many_fails_the_attempt_and_is_named() {
    let bad = BTreeSet::from([3, 20, 40]);
    let fake = FakeEmbedder::new(move |texts, _| (SECOND, picky(&bad, texts)));
    let allowed = |refusals_allowed| EmbedLimits { concurrency: 1, refusals_allowed, ..limits() };

    let outcome = embed_texts(&fake, &allowed(2), 64).await;
    let EmbedError::TextRefused { hash, .. } = outcome.error() else { panic!("{}", outcome.error()) };
    assert_eq!(*hash, TextHash::of(&text(40)));
    assert_eq!(outcome.error().retry(), Retry::OnChange);

    let outcome = embed_texts(&fake, &allowed(3), 64).await;
    assert_eq!(outcome.result.unwrap().refused.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_same_wrong_answer_again_ends_the_attempt_and_a_right_one_in_between_does_not() {
    type Change = fn(&mut Vec<Vec<f32>>);
    let count: Change = |answer| answer.truncate(answer.len() - 1);
    let length: Change = |answer| answer.iter_mut().for_each(|vector| vector.truncate(2));
    let right: Change = |_| {};
    let cases: [(&[Change], Option<Retry>, usize); 6] = [
        (&[count, count], None, 0),
        (&[count, count, count], Some(Retry::Hourly), 3),
        (&[length], None, 0),
        (&[length, length], Some(Retry::OnChange), 2),
        (&[right, length, length, right, length, length], None, 0),
        (&[right, length, length, length], Some(Retry::Hourly), 4),
    ];
    for (answers, ends, requests) in cases {
        let answers = answers.to_vec();
        let fake = FakeEmbedder::new(move |texts, before| {
            let mut answer = vectors(texts).unwrap();
            answers.get(before).unwrap_or(&right)(&mut answer);
            (SECOND, Ok(answer))
        });
        let limits = EmbedLimits { concurrency: 1, batch_size: 4, ..limits() };
        let outcome = embed_texts(&fake, &limits, 64).await;

        let error = outcome.result.err().map(|failed| failed.error);
        assert_eq!(error.as_ref().map(EmbedError::retry), ends, "{error:?}");
        if ends.is_some() {
            assert_eq!(fake.sent().len(), requests, "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_vector_that_cannot_be_used_costs_its_neighbours_nothing() {
    let fake = FakeEmbedder::new(|texts, _| {
        let mut answer = vectors(texts).unwrap();
        if let Some(place) = texts.iter().position(|text| number(text) == 5) {
            answer[place] = vec![0.0; DIMENSION];
        }
        (SECOND, Ok(answer))
    });
    let outcome = embed_texts(&fake, &EmbedLimits { refusals_allowed: 1, ..limits() }, 16).await;

    let report = outcome.result.unwrap();
    assert_eq!(
        report.refused.iter().map(|refused| refused.hash).collect::<Vec<_>>(),
        [TextHash::of(&text(5))]
    );
    let sent: Vec<_> = fake.sent().into_iter().map(|(_, texts)| texts).collect();
    let alone = vec![text(5)];
    assert_eq!(sent[1..], [alone.clone(), vec![WITNESS.to_owned()], alone]);
}

#[tokio::test(start_paused = true)]
async fn a_text_that_the_server_fails_over_is_found_and_refused_with_proof() {
    let broken = FailureKind::ServerError { wait: None };
    let fake = FakeEmbedder::new(move |texts, _| {
        let fails = texts.iter().any(|text| number(text) == 5);
        (SECOND, if fails { failing(broken) } else { vectors(texts) })
    });
    let outcome = embed_texts(&fake, &EmbedLimits { refusals_allowed: 1, ..limits() }, 64).await;

    let report = outcome.result.as_ref().unwrap();
    assert_eq!(
        report.refused.iter().map(|refused| refused.hash).collect::<Vec<_>>(),
        [TextHash::of(&text(5))]
    );
    assert_eq!(outcome.arrived.len(), 63);
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_mid_attempt_blames_no_text_and_costs_one_text_a_try() {
    let broken = FailureKind::ServerError { wait: None };
    let fake = FakeEmbedder::new(move |texts, before| {
        (SECOND, if before >= 4 { failing(broken) } else { vectors(texts) })
    });
    let outcome = embed_texts(&fake, &EmbedLimits { refusals_allowed: 9, ..limits() }, 1000).await;

    assert!(matches!(outcome.error(), EmbedError::GaveUp { .. }), "{}", outcome.error());
    assert!(fake.sent()[8..].iter().all(|(_, texts)| *texts == [WITNESS]));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_after_one_without_a_success_begins_with_a_single_text() {
    let works = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fake = FakeEmbedder::new({
        let works = Arc::clone(&works);
        move |texts, _| (SECOND, if works.load(Ordering::SeqCst) { vectors(texts) } else { failing(BUSY) })
    });
    let limits = EmbedLimits { retry_budget: Duration::ZERO, ..limits() };
    embed_texts(&fake, &limits, 64).await.result.unwrap_err();
    let first = fake.sent().len();
    embed_texts(&fake, &limits, 64).await.result.unwrap_err();
    works.store(true, Ordering::SeqCst);
    let outcome = embed_texts(&fake, &limits, 64).await;

    let sizes: Vec<_> = fake.sent()[first..].iter().map(|(_, texts)| texts.len()).collect();
    assert_eq!(sizes[..2], [1, 1], "one a try");
    assert_eq!(outcome.arrived.len(), 64);
}

#[tokio::test(start_paused = true)]
async fn a_size_that_was_found_holds_for_all_requests_and_for_the_next_attempt() {
    for kind in [FailureKind::TooLarge, FailureKind::Timeout] {
        let fake = FakeEmbedder::new(move |texts, _| {
            (SECOND, if texts.len() > 5 { failing(kind) } else { vectors(texts) })
        });
        let limits = limits();
        embed_texts(&fake, &limits, 320).await.result.unwrap();
        let refused = fake.sent().iter().filter(|(_, texts)| texts.len() > 5).count();
        let before = fake.sent().len();
        embed_texts(&fake, &limits, 320).await.result.unwrap();

        assert!(refused <= 8, "{kind:?}: {refused} requests were too large");
        assert!(fake.sent()[before..].iter().all(|(_, texts)| texts.len() <= 4), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_waits_for_answers_in_flight_and_sends_nothing_more() {
    // Sent one second after the start; the stop comes after ten.
    for (after, kept) in [(11, 7 * 16), (12, 7 * 16), (13, 6 * 16), (50, 6 * 16)] {
        let fake = FakeEmbedder::new(move |texts, before| {
            let seconds = match before {
                0..6 => 1,
                6 => after,
                _ => 50,
            };
            (Duration::from_secs(seconds), vectors(texts))
        });
        let stop = Stop::new();
        let stopper = async {
            sleep(10 * SECOND).await;
            stop.request();
        };
        let limits = limits();
        let mut sink = |_: &EmbeddedBatch| Ok(());
        let (outcome, ()) = tokio::join!(embed_texts_with(&fake, &limits, 1000, &stop, &mut sink), stopper);
        assert!(matches!(outcome.error(), EmbedError::Stopped));
        assert_eq!((outcome.took, outcome.arrived.len()), (Duration::from_millis(13_500), kept));
        assert!(fake.sent().len() <= 10);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_arrived_before_the_stop_was_noticed_are_handed_on() {
    // The first answer's sink stops everything while the other three have arrived too.
    let fake = FakeEmbedder::new(|texts, _| (SECOND, vectors(texts)));
    let stop = Stop::new();
    let mut sink = |_: &EmbeddedBatch| {
        stop.request();
        Ok(())
    };
    let outcome = embed_texts_with(&fake, &limits(), 1000, &stop, &mut sink).await;
    assert!(matches!(outcome.error(), EmbedError::Stopped));
    assert_eq!((outcome.arrived.len(), fake.sent().len()), (64, 4));
    assert_eq!(outcome.result.unwrap_err().texts, 64);
}

#[tokio::test(start_paused = true)]
async fn embedding_stops_at_the_first_batch_that_cannot_be_stored() {
    let fake = FakeEmbedder::new(|texts, _| (SECOND, vectors(texts)));
    let stop = Stop::new();
    let mut sink = |_: &EmbeddedBatch| Err(SinkError("disk full".into()));
    let outcome = embed_texts_with(&fake, &limits(), 1000, &stop, &mut sink).await;
    assert!(matches!(outcome.error(), EmbedError::Sink(error) if error.to_string() == "disk full"));
    assert_eq!(outcome.error().retry(), Retry::Hourly);
    assert_eq!((outcome.arrived.len(), fake.sent().len()), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn texts_that_cannot_be_read_back_end_the_attempt() {
    let fake = FakeEmbedder::new(|texts, _| (SECOND, vectors(texts)));
    let mut items = (0..100).map(|n| match n {
        70 => Err(io::Error::other("gone")),
        n => Ok(TextItem { hash: TextHash::of(&text(n)), text: text(n) }),
    });
    let stop = Stop::new();
    let failed = embed_all(fake, &limits(), &mut items, &mut |_| Ok(()), &|_| {}, &stop).await.unwrap_err();
    assert!(matches!(failed.error, EmbedError::Items(_)));
    assert_eq!(failed.texts, 64, "requests already in flight are kept");
}

#[tokio::test(start_paused = true)]
async fn no_minute_sees_more_texts_than_our_own_limit_retries_included() {
    let fake = FakeEmbedder::new(|texts, before| {
        (SECOND, if before % 5 == 4 { failing(BUSY) } else { vectors(texts) })
    });
    let limits = EmbedLimits { items_per_minute: 50, ..limits() };
    embed_texts(&fake, &limits, 500).await.result.unwrap();
    let sent = fake.sent();
    for (begin, _) in &sent {
        let within = sent.iter().filter(|(at, _)| at >= begin && *at < *begin + 60 * SECOND);
        assert!(within.map(|(_, texts)| texts.len()).sum::<usize>() <= 50);
    }
}

#[tokio::test(start_paused = true)]
async fn progress_never_goes_back_and_shows_the_current_wait() {
    let fake = FakeEmbedder::new(|texts, before| match before {
        4 => (SECOND, failing(busy_for(20))),
        _ => (SECOND, vectors(texts)),
    });
    let reported = Mutex::new(Vec::new());
    let progress = |progress| reported.lock().unwrap().push(progress);
    let mut items = (0..160).map(|n| Ok(TextItem { hash: TextHash::of(&text(n)), text: text(n) }));
    let stop = Stop::new();
    embed_all(fake, &limits(), &mut items, &mut |_| Ok(()), &progress, &stop).await.unwrap();

    let reported = reported.into_inner().unwrap();
    assert!(
        reported.windows(2).all(|pair| pair[0].done <= pair[1].done && pair[0].requests <= pair[1].requests)
    );
    assert_eq!(reported.last().unwrap(), &EmbedProgress { done: 160, requests: 11, waiting: None });
    let waiting = reported.iter().filter_map(|progress| progress.waiting.as_ref()).collect::<Vec<_>>();
    assert!(waiting.iter().any(|waiting| waiting.wait == 20 * SECOND && waiting.why.contains("Transient")));
    assert!(waiting.len() >= 18, "reported once a second while waiting, {} times", waiting.len());
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_started_before_an_answer_came_is_reported_after_it() {
    let fake = FakeEmbedder::new(|texts, _| (SECOND, vectors(texts)));
    let reported = Mutex::new(Vec::new());
    let progress = |progress: EmbedProgress| reported.lock().unwrap().push(progress.waiting.is_some());
    let mut items = (0..20).map(|n| Ok(TextItem { hash: TextHash::of(&text(n)), text: text(n) }));
    let limits = EmbedLimits { items_per_minute: 10, batch_size: 10, ..limits() };
    embed_all(fake, &limits, &mut items, &mut |_| Ok(()), &progress, &Stop::new()).await.unwrap();

    let waiting = reported.into_inner().unwrap().into_iter().filter(|waiting| *waiting).count();
    assert!(waiting >= 55, "a minute's wait under our own limit is reported once a second: {waiting} times");
}

#[tokio::test(start_paused = true)]
async fn a_query_is_answered_or_ends_with_the_providers_message_within_its_limit() {
    let ask = async |fake: Arc<FakeEmbedder>| {
        let begun = Instant::now();
        let result = embed_query(fake, DIMENSION, &text(1), 10 * SECOND).await;
        (result.map_err(|error| error.to_string()), begun.elapsed())
    };

    let recovers =
        FakeEmbedder::new(|texts, before| (SECOND, if before == 0 { failing(BUSY) } else { vectors(texts) }));
    let (vector, _) = ask(recovers).await;
    assert_eq!(vector.unwrap().len(), DIMENSION);

    let cases = [
        (SECOND, failing(BUSY), 10, "Transient"),
        (60 * SECOND, failing(BUSY), 10, "no answer received"),
        (SECOND, failing(busy_for(30)), 1, "Transient"),
        (SECOND, failing(FailureKind::Final), 1, "Final"),
        (SECOND, failing(FailureKind::BadRequest), 1, "BadRequest"),
    ];
    for (delay, answer, max_seconds, message) in cases {
        let (result, took) = ask(FakeEmbedder::new(move |_, _| (delay, answer.clone()))).await;
        let error = result.unwrap_err();
        assert!(error.contains(message), "{error}");
        assert!(took <= max_seconds * SECOND + SECOND / 10, "{took:?}");
    }
}

/// Lets texts leave up to a ceiling, and remembers what was reported of them.
#[derive(Debug)]
struct FakeMeter {
    ceiling: usize,
    count: AtomicUsize,
    is_broken: bool,
}

impl FakeMeter {
    fn new(ceiling: usize, is_broken: bool) -> Arc<Self> {
        Arc::new(Self { ceiling, count: AtomicUsize::new(0), is_broken })
    }
}

impl SendMeter for FakeMeter {
    fn admit(&self, texts: usize) -> Result<usize, AtCeiling> {
        let unanswered = self.count.load(Ordering::SeqCst);
        let admitted = texts.min(self.ceiling - unanswered);
        self.count.fetch_add(admitted, Ordering::SeqCst);
        let ceiling = self.ceiling as u64;
        if admitted > 0 { Ok(admitted) } else { Err(AtCeiling { unanswered: unanswered as u64, ceiling }) }
    }

    fn leaving(&self, _in_minute: SentInMinute) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        if self.is_broken { Err("no disk".into()) } else { Ok(()) }
    }

    fn stored(&self, texts: usize) {
        self.count.fetch_sub(texts, Ordering::SeqCst);
    }

    fn returned(&self, texts: usize) {
        self.count.fetch_sub(texts, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_sends_no_more_than_its_meter_admits_and_reports_what_became_of_it() {
    let refused = |cost| move |_: &[String], _| (SECOND, Err(Failure::new(BUSY, "busy").with_cost(cost)));
    let cases: [(Box<Script>, usize, bool, usize, u64); 5] = [
        // The answer, the ceiling, whether the meter fails; counted at the end, and sent at least.
        (Box::new(|texts, _| (SECOND, vectors(texts))), 32, false, 0, 64),
        (Box::new(refused(Cost::Possible)), 34, false, 34, 34),
        (Box::new(refused(Cost::Refused)), 34, false, 0, 33),
        (Box::new(refused(Cost::NotSent)), 40, false, 0, 0),
        (Box::new(|texts, _| (SECOND, vectors(texts))), 32, true, 0, 0),
    ];
    for (place, (script, ceiling, is_broken, counted, sent)) in cases.into_iter().enumerate() {
        let fake = FakeEmbedder::new(script);
        let meter = FakeMeter::new(ceiling, is_broken);
        let counter = Arc::clone(&meter);
        let budget = 8 * SECOND;
        let limits = EmbedLimits { meter: Some(meter), concurrency: 2, retry_budget: budget, ..limits() };

        let run = embed_texts(&fake, &limits, 64).await;

        let found = match &run.result {
            Ok(report) => report.sent,
            Err(failure) => failure.sent,
        };
        assert_eq!(counter.count.load(Ordering::SeqCst), counted, "{place}: {:?}", run.result);
        assert!(found >= sent && (sent > 0 || found == 0), "{place}: {found} texts of {sent}");
        let error = run.result.err().map(|failure| failure.error);
        let is_as_expected = match place {
            0 => error.is_none(),
            1 => matches!(error, Some(EmbedError::Ceiling { unanswered: Some(34), .. })),
            2 | 3 => matches!(error, Some(EmbedError::GaveUp { .. })),
            _ => matches!(error, Some(EmbedError::NotCounted(_))) && fake.sent().is_empty(),
        };
        assert!(is_as_expected, "{place}: {error:?}");
    }
}
