//! The shape of the local model.
//!
//! It is a fact about the weights compiled in, not a setting; a test compares
//! it with the model's own `config.json`.

/// Floats in a vector.
pub(crate) const DIMENSION: usize = 384;
/// Tokens of a text that are read, the two that frame it included.
pub(super) const MAX_TOKENS: usize = 128;
/// Tokens that have a word embedding.
pub(super) const VOCABULARY: u32 = 30_522;
pub(super) const POSITIONS: usize = 512;
pub(super) const TOKEN_TYPES: usize = 2;
pub(super) const LAYERS: usize = 3;
pub(super) const HEADS: usize = 12;
/// Floats that one head computes with.
pub(super) const HEAD_WIDTH: usize = DIMENSION / HEADS;
/// Floats between the two products of a layer's second half.
pub(super) const INTERMEDIATE: usize = 1_536;
/// Keeps a norm from dividing by zero, as in training.
pub(super) const EPSILON: f32 = 1e-12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_the_model_is_the_one_that_its_config_states() {
        let config = include_str!("../../../../data/model/config.json");
        let config: serde_json::Value = serde_json::from_str(config).unwrap();

        let shape = [
            ("vocab_size", VOCABULARY as usize),
            ("max_position_embeddings", POSITIONS),
            ("type_vocab_size", TOKEN_TYPES),
            ("hidden_size", DIMENSION),
            ("num_hidden_layers", LAYERS),
            ("num_attention_heads", HEADS),
            ("intermediate_size", INTERMEDIATE),
        ];
        for (key, expected) in shape {
            assert_eq!(config[key], expected, "{key}");
        }
        assert_eq!(config["hidden_act"], "gelu");
        assert_eq!(config["layer_norm_eps"].to_string(), "1e-12");
        assert_eq!(EPSILON.to_string(), "0.000000000001");
    }
}
