//! The packed weights, as numbers.
//!
//! A matrix is stored as `NAME.q4` and `NAME.scales`: signed four-bit numbers,
//! each plus eight, two to a byte with the earlier one in the low half, and for
//! every 32 of them the half-precision float that they are multiplied by. A
//! vector (bias, norm) is stored as it is, in 32-bit floats. All little-endian.
//!
//! Sizes are checked here, once, so that nothing after this can be out of
//! bounds. What the tensors mean is `forward`'s matter. Half floats are widened
//! here because no crate in the tree does it.

use ndarray::{Array1, Array2};
use safetensors::SafeTensors;

use super::error::LocalError;

/// Numbers that share a scale.
const GROUP: usize = 32;

/// The file of weights, its header read.
pub(super) struct Weights {
    tensors: SafeTensors<'static>,
}

/// A matrix that stays packed: for a table of which few rows are read.
pub(super) struct Packed {
    numbers: &'static [u8],
    scales: &'static [u8],
    columns: usize,
}

impl Weights {
    pub(super) fn read(file: &'static [u8]) -> Result<Self, LocalError> {
        let tensors = SafeTensors::deserialize(file)
            .map_err(|source| LocalError::Weights { name: "the header".to_owned(), source })?;
        Ok(Self { tensors })
    }

    /// A vector of `length` floats.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Array1<f32>, LocalError> {
        let (floats, _) = self.bytes(name, 4 * length)?.as_chunks();
        Ok(floats.iter().map(|&float| f32::from_le_bytes(float)).collect())
    }

    /// A linear layer's matrix, turned so that rows are inputs and columns outputs.
    pub(super) fn matrix(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Array2<f32>, LocalError> {
        let packed = self.packed(name, outputs, inputs)?;
        let mut matrix = Array2::zeros((inputs, outputs));
        for (output, mut column) in matrix.columns_mut().into_iter().enumerate() {
            column.iter_mut().zip(packed.row(output)).for_each(|(to, from)| *to = from);
        }
        Ok(matrix)
    }

    /// A matrix of which rows are read one by one. `columns` is a multiple of the group.
    pub(super) fn packed(&self, name: &str, rows: usize, columns: usize) -> Result<Packed, LocalError> {
        assert_eq!(columns % GROUP, 0, "a row of {name} must hold whole groups");
        let numbers = self.bytes(&format!("{name}.q4"), rows * columns / 2)?;
        let scales = self.bytes(&format!("{name}.scales"), rows * columns / GROUP * 2)?;
        Ok(Packed { numbers, scales, columns })
    }

    fn bytes(&self, name: &str, expected: usize) -> Result<&'static [u8], LocalError> {
        let tensor = self
            .tensors
            .tensor(name)
            .map_err(|source| LocalError::Weights { name: name.to_owned(), source })?;
        let bytes = tensor.data();
        if bytes.len() != expected {
            return Err(LocalError::Size { name: name.to_owned(), expected, found: bytes.len() });
        }
        Ok(bytes)
    }
}

impl Packed {
    /// The numbers of one row, in order.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = f32> {
        let (numbers, scales) = (self.columns / 2, self.columns / GROUP * 2);
        let numbers = self.numbers[row * numbers..][..numbers].chunks_exact(GROUP / 2);
        let (scales, _) = self.scales[row * scales..][..scales].as_chunks();
        numbers.zip(scales).flat_map(|(group, &scale)| {
            let scale = half(u16::from_le_bytes(scale));
            group
                .iter()
                .flat_map(|&pair| [pair & 15, pair >> 4])
                .map(move |nibble| (f32::from(nibble) - 8.0) * scale)
        })
    }
}

/// A finite half-precision float, widened without loss.
///
/// Shifted into place, its exponent is too small by the difference of the two
/// biases, 112; the product corrects that for subnormal numbers too.
fn half(bits: u16) -> f32 {
    const TWO_TO_THE_112: f32 = f32::from_bits((112 + 127) << 23);
    let magnitude = f32::from_bits(u32::from(bits & 0x7fff) << 13) * TWO_TO_THE_112;
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_floats_are_widened_without_loss() {
        let cases = [
            (0x0000, 0.0),
            (0x0001, 2.0_f32.powi(-24)),
            (0x03ff, 1023.0 * 2.0_f32.powi(-24)),
            (0x0400, 2.0_f32.powi(-14)),
            (0x3555, 1365.0 / 4096.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
        ];
        for (bits, expected) in cases {
            assert_eq!(half(bits).to_bits(), f32::to_bits(expected), "{bits:#06x}");
        }
    }

    #[test]
    fn a_packed_row_gives_the_low_half_of_a_byte_first_and_each_group_its_scale() {
        let numbers: &'static [u8] = Box::leak(vec![0xf1; 32].into_boxed_slice());
        let packed = Packed { numbers, scales: &[0x00, 0x3c, 0x00, 0xc0], columns: 32 };

        assert_eq!(packed.row(0).collect::<Vec<_>>(), [-7.0, 7.0].repeat(16));
        assert_eq!(packed.row(1).collect::<Vec<_>>(), [14.0, -14.0].repeat(16));
    }

    #[test]
    fn a_tensor_of_another_size_or_name_is_refused_by_name() {
        let weights = Weights::read(super::super::WEIGHTS).unwrap();

        let size = weights.vector("embeddings.LayerNorm.bias", 383).unwrap_err();
        let name = weights.vector("embeddings.LayerNorm.tilt", 384).unwrap_err();

        assert_eq!(
            size.to_string(),
            "compiled-in tensor embeddings.LayerNorm.bias: expected 1532 bytes, found 1536"
        );
        assert_eq!(name.to_string(), "compiled-in weights: cannot read embeddings.LayerNorm.tilt");
        assert!(Weights::read(b"not a file of weights").is_err());
    }
}
