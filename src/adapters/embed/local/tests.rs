//! The model's promises, compared with the reference's vectors in `data/model/expected`.

use super::*;

const TEXTS: &str = include_str!("../../../../data/model/expected/texts.txt");
const ANSWERS: &str = include_str!("../../../../data/model/expected/answers.txt");
static VECTORS: &[u8] = include_bytes!("../../../../data/model/expected/vectors.f32");
const EXPERTS: usize = 32;

fn embed(model: &LocalModel, texts: &[&str]) -> Vec<Vec<f32>> {
    model.embed(texts, &|| false).unwrap()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

fn assert_unit_length(vector: &[f32], text: &str) {
    let start: String = text.chars().take(20).collect();
    assert_eq!(vector.len(), DIMENSION, "{start:?}");
    assert!(vector.iter().all(|x| x.is_finite()), "{start:?}");
    assert!((dot(vector, vector) - 1.0).abs() < 1e-6, "{start:?}");
}

#[test]
fn every_vector_agrees_with_the_reference() {
    let model = LocalModel::load().unwrap();
    let texts: Vec<&str> = TEXTS.lines().collect();
    let (floats, _) = VECTORS.as_chunks();
    let expected: Vec<f32> = floats.iter().map(|&float| f32::from_le_bytes(float)).collect();

    let vectors = embed(&model, &texts);

    assert_eq!(expected.len(), 56 * DIMENSION);
    assert_eq!(vectors.len(), 56);
    for ((text, vector), expected) in texts.iter().zip(&vectors).zip(expected.chunks(DIMENSION)) {
        assert_unit_length(vector, text);
        let cosine = dot(vector, expected) / (dot(vector, vector) * dot(expected, expected)).sqrt();
        assert!(cosine >= 0.999_999, "cosine {cosine} for {text:?}");
    }
}

#[test]
fn all_but_one_question_find_their_expert_first_and_all_within_three() {
    let model = LocalModel::load().unwrap();
    let texts: Vec<&str> = TEXTS.lines().collect();
    let answers: Vec<usize> = ANSWERS.lines().map(|line| line.parse().unwrap()).collect();

    let vectors = embed(&model, &texts);

    let (experts, questions) = vectors.split_at(EXPERTS);
    assert_eq!(questions.len(), answers.len());
    let ranks = questions.iter().zip(answers).map(|(question, line)| {
        let right = dot(question, &experts[line - 1]);
        experts.iter().filter(|expert| dot(question, expert) > right).count()
    });
    let ranks: Vec<usize> = ranks.collect();
    assert_eq!(ranks.iter().filter(|&&rank| rank == 0).count(), 23, "{ranks:?}");
    assert!(ranks.iter().all(|&rank| rank < 3), "{ranks:?}");
}

#[test]
fn a_vector_has_the_same_bits_whatever_texts_it_came_with() {
    let model = LocalModel::load().unwrap();
    let long = "a long description of many trades and places ".repeat(40);
    let mut texts: Vec<&str> = TEXTS.lines().collect();
    texts.extend(["", long.as_str(), "!", &long[..700]]);
    let mut reversed = texts.clone();
    reversed.reverse();

    let together = embed(&model, &texts);
    let mut backwards = embed(&model, &reversed);
    backwards.reverse();

    for (text, (together, backwards)) in texts.iter().zip(together.iter().zip(&backwards)) {
        let alone = embed(&model, &[text]).remove(0);
        let bits = |vector: &[f32]| vector.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&alone), bits(together), "{text:?}");
        assert_eq!(bits(&alone), bits(backwards), "{text:?}");
    }
}

#[test]
fn any_text_gives_a_finite_vector_of_unit_length() {
    let model = LocalModel::load().unwrap();
    let texts = [
        String::new(),
        " \t\r\n\u{3000}".to_owned(),
        "\0\u{1}\u{7f}\u{85}\u{200b}\u{feff}\u{fffd}\u{10ffff}".to_owned(),
        "👩‍👩‍👧‍👦🏳️‍🌈".to_owned(),
        "数据库管理员，専門家 한국어".to_owned(),
        "x".repeat(100_000),
        "word ".repeat(20_000),
        "e\u{301}".repeat(50_000),
        "\u{301}".repeat(100_000),
        "[".repeat(100_000),
        "[SEP][CLS][PAD]".repeat(10_000),
        (0..=u32::from(char::MAX)).step_by(997).filter_map(char::from_u32).collect(),
    ];

    let vectors = embed(&model, &texts.each_ref().map(String::as_str));

    assert_eq!(vectors.len(), texts.len());
    for (vector, text) in vectors.iter().zip(&texts) {
        assert_unit_length(vector, text);
    }
}

#[test]
fn what_stands_past_the_token_limit_is_not_read() {
    let model = LocalModel::load().unwrap();
    let full = "word ".repeat(MAX_TOKENS - 2);
    let vectors = embed(&model, &[&full, &format!("{full} and more"), &full[..full.len() - 5]]);

    assert_eq!(vectors[0], vectors[1]);
    assert_ne!(vectors[0], vectors[2]);
}

#[test]
fn a_stop_is_checked_before_each_batch_and_no_text_needs_none() {
    let model = LocalModel::load().unwrap();
    let texts = vec!["one short text of about a dozen tokens in all, give or take"; 64];
    let asked = std::cell::Cell::new(0);
    let stop_at = |limit: usize| {
        asked.set(0);
        model.embed(&texts, &|| {
            asked.set(asked.get() + 1);
            asked.get() == limit
        })
    };

    assert!(stop_at(usize::MAX).is_some());
    let batches = asked.get();
    assert_eq!(batches, 4);
    for limit in 1..=batches {
        assert!(stop_at(limit).is_none());
        assert_eq!(asked.get(), limit);
    }
    assert_eq!(model.embed(&[], &|| true), Some(Vec::new()));
}

#[test]
fn the_revision_names_the_weights_that_are_compiled_in() {
    let read = |file: &str| serde_json::from_str::<serde_json::Value>(file).unwrap();
    let provenance = read(include_str!("../../../../data/model/provenance.json"));

    // Both digests were taken of files whose SHA-256 is the one that provenance.json states.
    assert_eq!(
        blake3::hash(WEIGHTS).to_string(),
        "10883ed37a532a612fe46631deab6062d6b240c5b53ceededd8e310d2d6c672f"
    );
    assert_eq!(
        blake3::hash(TOKENIZER).to_string(),
        "3fec386a898a4e41c1f7ab3be4034bd554af34609f7a0951fab552d3166e5744"
    );
    assert!(provenance["bundled_sha256"].as_str().unwrap().starts_with(WEIGHTS_DIGEST));
    assert!(provenance["upstream_model"].as_str().unwrap().ends_with("/paraphrase-MiniLM-L3-v2"));
    assert_eq!(provenance["dimensions"], DIMENSION);
    assert_eq!(provenance["max_tokens"], MAX_TOKENS);
    assert_eq!(revision(), "dabb40d5d98a2237-mean-128");
}

#[test]
fn threads_may_share_one_model() {
    fn shared<T: Send + Sync>() {}
    shared::<LocalModel>();
}
