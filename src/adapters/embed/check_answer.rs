//! Checks an answer before any of it is used.
//!
//! One vector per text, or nothing of the answer is used: which vector belongs
//! to which text would be a guess. Then each vector is checked by itself: the
//! right number of floats, every float finite, not all zero, nor so short that
//! its floats no longer hold its direction. The good ones are kept even where a
//! neighbour is not.
//!
//! A vector that passes gets unit length, once: cache and index hold these
//! bits. The sum is made in `f64`, so every machine gives the same bits for the
//! same answer.

use super::types::{Failure, FailureKind, WrongKind};

/// An answer whose count and order are certain.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CheckedAnswer {
    /// The places of the good vectors, in their order.
    pub(super) places: Vec<usize>,
    /// The good vectors, each of unit length, joined.
    pub(super) vectors: Vec<f32>,
    /// The places of the others, and what is wrong there.
    pub(super) flawed: Vec<(usize, Flaw)>,
}

/// Why one vector cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Flaw {
    #[error("wrong answer: no vector for the text")]
    Missing,
    #[error("wrong answer: expected vectors of {expected} floats, found one of {found}")]
    Length { expected: usize, found: usize },
    #[error("wrong answer: the text's vector has a float that is not finite")]
    NotFinite,
    #[error("wrong answer: the text's vector is zero and has no direction")]
    Zero,
    #[error("wrong answer: the text's vector is too short for its floats to hold a direction")]
    TooShort,
}

/// Below it an `f32` loses digits: a vector of this length is still as exact as
/// any, and a shorter one has another direction than the provider meant.
const MIN_NORM: f64 = f32::MIN_POSITIVE as f64;

/// The good vectors and the flaws of the others.
///
/// # Errors
///
/// A [`Failure`] where nothing of the answer can be used: another number of
/// vectors than texts, or another length of every vector.
pub(super) fn check(vectors: &[Vec<f32>], texts: usize, dimension: usize) -> Result<CheckedAnswer, Failure> {
    let found = vectors.len();
    if found != texts {
        let message = format!("wrong answer: expected {texts} vectors, one per text, found {found}");
        return Err(Failure::new(FailureKind::Wrong(WrongKind::Count), message));
    }
    let mut answer = CheckedAnswer { vectors: Vec::with_capacity(texts * dimension), ..Default::default() };
    for (place, vector) in vectors.iter().enumerate() {
        match length_of(vector, dimension) {
            Ok(length) => {
                answer.places.push(place);
                answer.vectors.extend(vector.iter().map(|&x| rounded(f64::from(x) / length)));
            }
            Err(flaw) => answer.flawed.push((place, flaw)),
        }
    }
    let is_length = |(_, flaw): &(usize, Flaw)| matches!(flaw, Flaw::Length { .. });
    match answer.flawed.first() {
        Some((_, flaw)) if answer.places.is_empty() && answer.flawed.iter().all(is_length) => {
            Err(Failure::new(FailureKind::Wrong(WrongKind::Length), flaw.to_string()))
        }
        _ => Ok(answer),
    }
}

/// The Euclidean length of a vector that can be used.
fn length_of(vector: &[f32], dimension: usize) -> Result<f64, Flaw> {
    if vector.is_empty() {
        return Err(Flaw::Missing);
    }
    if vector.len() != dimension {
        return Err(Flaw::Length { expected: dimension, found: vector.len() });
    }
    if !vector.iter().all(|x| x.is_finite()) {
        return Err(Flaw::NotFinite);
    }
    // Squares of the largest and of the smallest f32 both fit into f64.
    let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    if squares == 0.0 {
        return Err(Flaw::Zero);
    }
    let length = squares.sqrt();
    if length < MIN_NORM { Err(Flaw::TooShort) } else { Ok(length) }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a component of a unit vector, rounded to what the index holds"
)]
fn rounded(x: f64) -> f32 {
    x as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Vec<f32> {
        vec![0.0, 2.0, 0.0]
    }

    #[test]
    fn nothing_is_used_of_an_answer_with_another_count_or_length() {
        let cases = [
            (vec![good()], WrongKind::Count),
            (vec![good(), good(), good()], WrongKind::Count),
            (vec![], WrongKind::Count),
            (vec![vec![1.0; 4], vec![1.0; 2]], WrongKind::Length),
        ];
        for (vectors, expected) in cases {
            assert_eq!(check(&vectors, 2, 3).unwrap_err().kind, FailureKind::Wrong(expected), "{vectors:?}");
        }
    }

    #[test]
    fn the_good_vectors_of_an_answer_with_a_flawed_one_are_used() {
        let cases = [
            (vec![], Flaw::Missing),
            (vec![1.0; 4], Flaw::Length { expected: 3, found: 4 }),
            (vec![0.0, f32::NAN, 1.0], Flaw::NotFinite),
            (vec![f32::INFINITY, 0.0, 1.0], Flaw::NotFinite),
            (vec![0.0, -0.0, 0.0], Flaw::Zero),
            (vec![f32::MIN_POSITIVE / 2.0; 3], Flaw::TooShort),
            (vec![f32::from_bits(1), 0.0, 0.0], Flaw::TooShort),
        ];
        for (flawed, flaw) in cases {
            let answer = check(&[good(), flawed, good()], 3, 3).unwrap();
            assert_eq!((answer.places, answer.flawed), (vec![0, 2], vec![(1, flaw)]));
            assert_eq!(answer.vectors, [0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
        }
    }

    #[test]
    fn vectors_of_any_length_come_out_at_unit_length() {
        let vectors =
            [vec![0.0, 3.0, -4.0], vec![f32::MAX; 3], vec![f32::MIN_POSITIVE, 0.0, f32::from_bits(1)]];
        let unit = check(&vectors, 3, 3).unwrap().vectors;
        assert_eq!(unit[..3], [0.0, 0.6, -0.8]);
        for vector in unit.chunks(3) {
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-6, "{vector:?}");
        }
    }
}
