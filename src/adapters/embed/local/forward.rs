//! Tokens to vectors: the forward pass of the encoder.
//!
//! The tokens of a whole batch are the rows of one matrix, text after text
//! without padding, so that each linear layer is one large product. Only
//! attention reads neighbours, and it is done text by text: no row ever depends
//! on another text's, and the product of a row is the same whatever rows stand
//! around it. Batches are the caller's, tokens `tokenizer`'s.

use std::f32::consts::FRAC_1_SQRT_2;
use std::ops::Range;

use ndarray::{Array1, Array2, ArrayView2, ArrayViewMut2, Axis, s};

use super::error::LocalError;
use super::shape::{
    DIMENSION, EPSILON, HEAD_WIDTH, HEADS, INTERMEDIATE, LAYERS, MAX_TOKENS, POSITIONS, TOKEN_TYPES,
    VOCABULARY,
};
use super::weights::{Packed, Weights};

#[expect(clippy::cast_precision_loss, reason = "small integers are exact")]
const DIMENSION_F32: f32 = DIMENSION as f32;
#[expect(clippy::cast_precision_loss, reason = "small integers are exact")]
const HEAD_WIDTH_F32: f32 = HEAD_WIDTH as f32;

/// Texts to embed together, each at most [`MAX_TOKENS`] long and none empty.
#[derive(Default)]
pub(super) struct TokenBatch {
    /// The tokens of all texts, joined.
    pub(super) tokens: Vec<u32>,
    /// Where in `tokens` each text ends.
    pub(super) ends: Vec<usize>,
}

/// The weights, expanded to floats where they are used in products.
pub(super) struct Encoder {
    /// By far the largest table, of which a text reads a few rows: stays packed.
    word_embeddings: Packed,
    /// What is added for the position in the text, the one token type included.
    position_embeddings: Array2<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Queries, keys and values side by side: one product instead of three.
    attention: Linear,
    mix: Linear,
    mix_norm: Norm,
    widen: Linear,
    narrow: Linear,
    narrow_norm: Norm,
}

struct Linear {
    weight: Array2<f32>,
    bias: Array1<f32>,
}

struct Norm {
    weight: Array1<f32>,
    bias: Array1<f32>,
}

impl Encoder {
    pub(super) fn load(weights: &Weights) -> Result<Self, LocalError> {
        let word_embeddings =
            weights.packed("embeddings.word_embeddings.weight", VOCABULARY as usize, DIMENSION)?;
        let positions = weights.packed("embeddings.position_embeddings.weight", POSITIONS, DIMENSION)?;
        let types = weights.packed("embeddings.token_type_embeddings.weight", TOKEN_TYPES, DIMENSION)?;
        let sum = |position| positions.row(position).zip(types.row(0)).map(|(a, b)| a + b);
        let sums = (0..MAX_TOKENS).flat_map(sum);
        let layer = |index| Layer::load(weights, &format!("encoder.layer.{index}"));
        Ok(Self {
            position_embeddings: Array2::from_shape_vec((MAX_TOKENS, DIMENSION), sums.collect())
                .expect("a row of DIMENSION numbers was made for each position"),
            word_embeddings,
            norm: Norm::load(weights, "embeddings.LayerNorm")?,
            layers: (0..LAYERS).map(layer).collect::<Result<_, _>>()?,
        })
    }

    /// One vector of unit length for each text of the batch.
    pub(super) fn embed(&self, batch: &TokenBatch) -> impl Iterator<Item = Vec<f32>> {
        let texts = batch.texts();
        let mut rows = self.lookup(batch, &texts);
        self.norm.apply(&mut rows);
        for layer in &self.layers {
            rows = layer.apply(rows, &texts);
        }
        texts.into_iter().map(move |text| pool(&rows.slice(s![text, ..])))
    }

    fn lookup(&self, batch: &TokenBatch, texts: &[Range<usize>]) -> Array2<f32> {
        let mut rows = Array2::zeros((batch.tokens.len(), DIMENSION));
        for text in texts {
            for (position, row) in text.clone().enumerate() {
                let word = self.word_embeddings.row(batch.tokens[row] as usize);
                let sum = word.zip(self.position_embeddings.row(position)).map(|(a, b)| a + b);
                rows.row_mut(row).iter_mut().zip(sum).for_each(|(to, from)| *to = from);
            }
        }
        rows
    }
}

impl TokenBatch {
    fn texts(&self) -> Vec<Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| start..end).collect()
    }
}

impl Layer {
    fn load(weights: &Weights, name: &str) -> Result<Self, LocalError> {
        let linear =
            |part: &str, outputs, inputs| Linear::load(weights, &format!("{name}.{part}"), outputs, inputs);
        let norm = |part: &str| Norm::load(weights, &format!("{name}.{part}"));
        let attention = |part: &str| linear(&format!("attention.self.{part}"), DIMENSION, DIMENSION);
        Ok(Self {
            attention: Linear::side_by_side(&[attention("query")?, attention("key")?, attention("value")?]),
            mix: linear("attention.output.dense", DIMENSION, DIMENSION)?,
            mix_norm: norm("attention.output.LayerNorm")?,
            widen: linear("intermediate.dense", INTERMEDIATE, DIMENSION)?,
            narrow: linear("output.dense", DIMENSION, INTERMEDIATE)?,
            narrow_norm: norm("output.LayerNorm")?,
        })
    }

    fn apply(&self, rows: Array2<f32>, texts: &[Range<usize>]) -> Array2<f32> {
        let projected = self.attention.apply(&rows);
        let mut attended = Array2::zeros(rows.dim());
        for text in texts {
            attend(&projected.slice(s![text.clone(), ..]), &mut attended.slice_mut(s![text.clone(), ..]));
        }
        let mut mixed = self.mix.apply(&attended) + rows;
        self.mix_norm.apply(&mut mixed);

        let mut wide = self.widen.apply(&mixed);
        wide.mapv_inplace(gelu);
        let mut narrow = self.narrow.apply(&wide) + mixed;
        self.narrow_norm.apply(&mut narrow);
        narrow
    }
}

impl Linear {
    fn load(weights: &Weights, name: &str, outputs: usize, inputs: usize) -> Result<Self, LocalError> {
        Ok(Self {
            weight: weights.matrix(&format!("{name}.weight"), outputs, inputs)?,
            bias: weights.vector(&format!("{name}.bias"), outputs)?,
        })
    }

    fn side_by_side(parts: &[Self]) -> Self {
        let weights: Vec<_> = parts.iter().map(|part| part.weight.view()).collect();
        let biases: Vec<_> = parts.iter().map(|part| part.bias.view()).collect();
        let same_inputs = "the parts have the same number of inputs";
        Self {
            weight: ndarray::concatenate(Axis(1), &weights).expect(same_inputs),
            bias: ndarray::concatenate(Axis(0), &biases).expect(same_inputs),
        }
    }

    fn apply(&self, rows: &Array2<f32>) -> Array2<f32> {
        rows.dot(&self.weight) + &self.bias
    }
}

impl Norm {
    fn load(weights: &Weights, name: &str) -> Result<Self, LocalError> {
        Ok(Self {
            weight: weights.vector(&format!("{name}.weight"), DIMENSION)?,
            bias: weights.vector(&format!("{name}.bias"), DIMENSION)?,
        })
    }

    /// Brings each row to mean zero and variance one, then scales and shifts it.
    fn apply(&self, rows: &mut Array2<f32>) {
        for mut row in rows.rows_mut() {
            let mean = row.sum() / DIMENSION_F32;
            row -= mean;
            let variance = row.dot(&row) / DIMENSION_F32;
            row /= (variance + EPSILON).sqrt();
            row *= &self.weight;
            row += &self.bias;
        }
    }
}

/// Attention within one text: each token gathers from all tokens, head by head.
fn attend(projected: &ArrayView2<f32>, attended: &mut ArrayViewMut2<f32>) {
    let scale = HEAD_WIDTH_F32.sqrt().recip();
    for head in 0..HEADS {
        let part = |which: usize| {
            let start = which * DIMENSION + head * HEAD_WIDTH;
            projected.slice(s![.., start..start + HEAD_WIDTH])
        };
        let (queries, keys, values) = (part(0), part(1), part(2));
        let mut scores = queries.dot(&keys.t());
        for mut row in scores.rows_mut() {
            let highest = row.fold(f32::NEG_INFINITY, |highest, &score| highest.max(score));
            row.mapv_inplace(|score| ((score - highest) * scale).exp());
            let sum = row.sum();
            row /= sum;
        }
        attended.slice_mut(s![.., head * HEAD_WIDTH..(head + 1) * HEAD_WIDTH]).assign(&scores.dot(&values));
    }
}

/// `x/2 · (1 + erf(x/√2))`.
///
/// The error function is Abramowitz and Stegun's 7.1.28: correct to 3e-7, far
/// below the error of four-bit weights, and without branches, so that several
/// numbers are computed at once. The exact one costs a fifth of a forward pass.
fn gelu(x: f32) -> f32 {
    const TERMS: [f32; 6] =
        [0.000_043_063_8, 0.000_276_567_2, 0.000_152_014_3, 0.009_270_527, 0.042_282_01, 0.070_523_08];
    let size = (x * FRAC_1_SQRT_2).abs();
    let sum = 1.0 + TERMS.iter().fold(0.0, |sum, term| (sum + term) * size);
    let fourth = (sum * sum) * (sum * sum);
    let sixteenth = (fourth * fourth) * (fourth * fourth);
    let erf = 1.0 - sixteenth.recip();
    // Both x and its error function change their sign with x; their product does not.
    0.5 * (x + x.abs() * erf)
}

/// The mean of a text's tokens, made unit length.
fn pool(rows: &ArrayView2<f32>) -> Vec<f32> {
    let mean = rows.mean_axis(Axis(0)).expect("a text has at least its start and its end");
    let length = mean.dot(&mean).sqrt();
    (mean / length).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_activation_is_right_to_one_part_in_a_million_of_its_argument() {
        let cases = [
            (-40.0, 0.0),
            (-5.0, -1.433_258e-6),
            (-3.0, -0.004_049_694),
            (-1.0, -0.158_655_26),
            (-0.5, -0.154_268_77),
            (-0.001, -0.000_499_601),
            (0.0, 0.0),
            (0.001, 0.000_500_399),
            (0.25, 0.149_676_58),
            (1.0, 0.841_344_7),
            (2.0, 1.954_499_7),
            (4.0, 3.999_873_3),
            (40.0, 40.0),
            (1e30, 1e30),
        ];
        for (x, expected) in cases {
            let found = gelu(x);
            let allowed = 1e-6 * f32::abs(x);
            assert!((found - expected).abs() <= allowed, "gelu({x}): expected {expected}, found {found}");
        }
    }
}
