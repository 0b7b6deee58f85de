//! Which passes count as alive, and how far embedding is.

use super::*;

const EMBED_LIMIT: Duration = Duration::from_secs(660);

fn liveness(stage: Stage) -> Liveness {
    let liveness = Liveness::default();
    liveness.update(PassProgress::Stage(stage));
    liveness
}

#[test]
fn a_pass_that_ticks_is_alive_and_one_that_falls_silent_is_not() {
    let liveness = liveness(Stage::Verify);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);

    assert!(liveness.is_alive(at(100), EMBED_LIMIT));
    liveness.tick();
    assert!(liveness.is_alive(at(200), EMBED_LIMIT), "it ticked");
    assert!(liveness.is_alive(at(310), EMBED_LIMIT), "within the silence that a stage may keep");
    assert!(!liveness.is_alive(at(330), EMBED_LIMIT), "silent for longer");
}

#[test]
fn embedding_is_alive_only_while_texts_arrive() {
    let liveness = liveness(Stage::Embed);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let arrived = |done| liveness.update(PassProgress::Embedded { done, total: 100, waiting: None });

    arrived(10);
    arrived(10);
    assert!(liveness.is_alive(at(700), EMBED_LIMIT));
    assert!(!liveness.is_alive(at(790), EMBED_LIMIT), "no text arrived for longer than the budget allows");
}

#[test]
fn without_a_pass_the_loop_is_the_sign_of_life() {
    let liveness = liveness(Stage::Index);
    liveness.pass_finished();

    assert!(liveness.is_alive(Instant::now() + Duration::from_secs(1_000_000), EMBED_LIMIT));
}

#[test]
fn agent_becomes_ready_once_with_its_first_plan() {
    let liveness = liveness(Stage::Scan);
    assert!(!liveness.is_ready());

    let plan = PassProgress::Stage(Stage::Plan);
    assert_eq!((liveness.update(plan), liveness.update(plan)), (true, false));
    assert!(liveness.is_ready() && !liveness.becomes_ready());
}

#[test]
fn embedding_status_says_how_far_it_is() {
    let started = Instant::now();
    let now = started + Duration::from_secs(10);
    let embedding = |done, waiting: Option<&str>| {
        let waiting = waiting.map(str::to_owned);
        EmbedEstimate { started, done, total: 200, waiting }.describe(now)
    };

    assert_eq!(embedding(50, None), "embed 25 %, 50 of 200, 30 s left");
    assert_eq!(embedding(0, None), "embed 0 %, 0 of 200");
    assert_eq!(embedding(50, Some("429")), "embed 25 %, 50 of 200, waiting: 429");
}
