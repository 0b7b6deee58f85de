//! Checks a whole answer before any of it is used.
//!
//! One vector per text, the right number of floats in each, every float
//! finite, no vector all zero or so short that its floats no longer hold its
//! direction. A vector that passes gets unit length, once: cache and index hold
//! these bits. The sum is made in `f64`, so every machine gives the same bits
//! for the same answer.

/// Why an answer cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongAnswer {
    #[error("wrong answer: expected {expected} vectors, one per text, found {found}")]
    Count { expected: usize, found: usize },
    #[error("wrong answer: expected vectors of {expected} floats, found one of {found}")]
    Dimension { expected: usize, found: usize },
    #[error("wrong answer: vector {row} of {rows} has a float that is not finite")]
    NotFinite { row: usize, rows: usize },
    #[error("wrong answer: vector {row} of {rows} is zero and has no direction")]
    Zero { row: usize, rows: usize },
    #[error("wrong answer: vector {row} of {rows} is too short for its floats to hold a direction")]
    TooShort { row: usize, rows: usize },
}

/// Below it an `f32` loses digits: a vector of this length is still as exact as
/// any, and a shorter one has another direction than the provider meant.
const MIN_NORM: f64 = f32::MIN_POSITIVE as f64;

/// All vectors joined, each of unit length.
pub(super) fn unit_vectors(
    vectors: &[Vec<f32>],
    texts: usize,
    dimension: usize,
) -> Result<Vec<f32>, WrongAnswer> {
    let rows = vectors.len();
    if rows != texts {
        return Err(WrongAnswer::Count { expected: texts, found: rows });
    }
    let mut all = Vec::with_capacity(texts * dimension);
    for (row, vector) in vectors.iter().enumerate() {
        if vector.len() != dimension {
            return Err(WrongAnswer::Dimension { expected: dimension, found: vector.len() });
        }
        if !vector.iter().all(|x| x.is_finite()) {
            return Err(WrongAnswer::NotFinite { row, rows });
        }
        // Squares of the largest and of the smallest f32 both fit into f64.
        let squares: f64 = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        if squares == 0.0 {
            return Err(WrongAnswer::Zero { row, rows });
        }
        let length = squares.sqrt();
        if length < MIN_NORM {
            return Err(WrongAnswer::TooShort { row, rows });
        }
        all.extend(vector.iter().map(|&x| rounded(f64::from(x) / length)));
    }
    Ok(all)
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

    #[test]
    fn a_wrong_answer_is_refused_as_a_whole() {
        let good = || vec![0.0, 2.0, 0.0];
        let cases = [
            (vec![good()], WrongAnswer::Count { expected: 2, found: 1 }),
            (vec![good(), good(), good()], WrongAnswer::Count { expected: 2, found: 3 }),
            (vec![good(), vec![1.0; 4]], WrongAnswer::Dimension { expected: 3, found: 4 }),
            (vec![vec![], good()], WrongAnswer::Dimension { expected: 3, found: 0 }),
            (vec![good(), vec![0.0, f32::NAN, 1.0]], WrongAnswer::NotFinite { row: 1, rows: 2 }),
            (vec![vec![f32::INFINITY, 0.0, 1.0], good()], WrongAnswer::NotFinite { row: 0, rows: 2 }),
            (vec![good(), vec![0.0, -0.0, 0.0]], WrongAnswer::Zero { row: 1, rows: 2 }),
            (vec![good(), vec![f32::MIN_POSITIVE / 2.0; 3]], WrongAnswer::TooShort { row: 1, rows: 2 }),
            (vec![vec![f32::from_bits(1), 0.0, 0.0], good()], WrongAnswer::TooShort { row: 0, rows: 2 }),
        ];
        for (vectors, expected) in cases {
            assert_eq!(unit_vectors(&vectors, 2, 3), Err(expected));
        }
    }

    #[test]
    fn vectors_of_any_length_come_out_at_unit_length() {
        let vectors =
            [vec![0.0, 3.0, -4.0], vec![f32::MAX; 3], vec![f32::MIN_POSITIVE, 0.0, f32::from_bits(1)]];
        let unit = unit_vectors(&vectors, 3, 3).unwrap();
        assert_eq!(unit[..3], [0.0, 0.6, -0.8]);
        for vector in unit.chunks(3) {
            let length: f32 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-6, "{vector:?}");
        }
    }
}
