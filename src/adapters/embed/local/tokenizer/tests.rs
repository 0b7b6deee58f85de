//! Tokens of texts in many scripts, against the original tokenizer.

use proptest::prelude::*;

use super::*;

fn encode(text: &str) -> Vec<u32> {
    let mut tokens = Vec::new();
    Tokenizer::load(super::super::TOKENIZER).unwrap().encode(text, &mut tokens);
    assert_eq!((tokens.remove(0), tokens.pop()), (START, Some(END)), "{text:?}");
    tokens
}

#[test]
fn the_tokens_are_those_that_the_original_tokenizer_gives() {
    let cases: [(&str, &[u32]); 16] = [
        ("", &[]),
        ("unaffable", &[14477, 20961, 3468]),
        ("Café au lait", &[7668, 8740, 21110, 2102]),
        ("e\u{301}té", &[3802, 2063]),
        ("don't C++", &[2123, 1005, 1056, 1039, 1009, 1009]),
        ("$5—10", &[1002, 1019, 1517, 2184]),
        ("tab\tand\u{3000}wide", &[21628, 1998, 2898]),
        ("a\u{200b}b\u{85}c\u{fffd}d\0e", &[5925, 3207]),
        ("İstanbul ΟΔΟΣ ß", &[9960, 1169, 29722, 29730, 29733, 1096]),
        ("数据base", &[100, 100, 2918]),
        ("\u{2b820}一", &[100, 1740]),
        ("한국어", &[1469, 30006, 30021, 29991, 30014, 30020, 29999, 30008]),
        ("ﬁ ½ Å", &[1984, 1092, 1037]),
        ("👩\u{200d}💻 dev", &[100, 16475]),
        ("[MASK] me[SEP]", &[103, 2033, 102]),
        ("[mask] ##ing", &[1031, 7308, 1033, 1001, 1001, 13749]),
    ];
    for (text, expected) in cases {
        assert_eq!(encode(text), expected, "{text:?}");
    }
}

#[test]
fn a_word_of_a_hundred_characters_is_cut_and_a_longer_one_is_unknown() {
    assert_eq!(encode(&"x".repeat(MAX_WORD_CHARS)).len(), 50);
    assert_eq!(encode(&"x".repeat(MAX_WORD_CHARS + 1)), [UNKNOWN]);
    assert_eq!(encode(&format!("{} me", "e\u{301}".repeat(100_000))), [UNKNOWN, 2033]);
}

#[test]
fn a_long_text_is_cut_on_the_right_within_the_limit() {
    let repeated = |count| encode(&"me ".repeat(count));

    assert_eq!(repeated(MAX_TOKENS - 2).len(), MAX_TOKENS - 2);
    assert_eq!(repeated(MAX_TOKENS), repeated(MAX_TOKENS - 2));
    assert_eq!(encode(&"[SEP]".repeat(1_000)).len(), MAX_TOKENS - 2);
    assert_eq!(encode(&"unaffable".repeat(11)).len(), 33);
}

#[test]
fn a_vocabulary_with_tokens_that_have_no_weights_is_refused() {
    let json = r###"{"model": {"continuing_subword_prefix": "##", "vocab": {"a": 1, "##b": 30522}}}"###;

    let refused = Tokenizer::load(json.as_bytes()).err().unwrap();

    assert_eq!(refused.to_string(), "compiled-in vocabulary: expected token ids below 30522, found 30522");
    assert!(Tokenizer::load(b"{}").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_text_gives_tokens_that_the_model_has_within_its_limit(
        text in r"\PC{0,200}|(.|\n|[CLS]|\u{300}|\u{4e00}){0,600}",
    ) {
        static TOKENIZER: std::sync::LazyLock<Tokenizer> =
            std::sync::LazyLock::new(|| Tokenizer::load(super::super::TOKENIZER).unwrap());
        let mut tokens = Vec::new();
        TOKENIZER.encode(&text, &mut tokens);
        prop_assert!((2..=MAX_TOKENS).contains(&tokens.len()));
        prop_assert_eq!((tokens[0], tokens[tokens.len() - 1]), (START, END));
        prop_assert!(tokens.iter().all(|token| *token < VOCABULARY));
    }
}
