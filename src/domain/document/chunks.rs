//! A long text in pieces that a model reads whole.
//!
//! Where to cut is `text-splitter`'s: at the largest boundary that fits, from
//! paragraphs down to characters. Sizes and places count Unicode code points,
//! as Python does: `text[start:end]` is the chunk.

use text_splitter::{ChunkConfig, TextSplitter};

/// How long a chunk may be, and how much of it the next one repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize {
    /// Code points, at least 1.
    pub size: usize,
    /// Code points, less than `size`.
    pub overlap: usize,
}

/// A piece of a text, without the white space around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunk<'t> {
    pub(crate) text: &'t str,
    /// Code points before it.
    pub(crate) start: usize,
    /// Code points up to its end.
    pub(crate) end: usize,
}

/// Gives every chunk of `text`, in order. A text without a character that prints is one chunk, which is
/// empty.
///
/// # Panics
///
/// If the overlap is not less than the size: the settings refuse that.
pub(crate) fn split(text: &str, size: ChunkSize) -> Vec<Chunk<'_>> {
    let config = ChunkConfig::new(size.size).with_overlap(size.overlap).expect("settings check the overlap");
    let splitter = TextSplitter::new(config);
    let mut chunks: Vec<_> = splitter
        .chunk_char_indices(text)
        .map(|found| Chunk {
            text: found.chunk,
            start: found.char_offset,
            end: found.char_offset + found.chunk.chars().count(),
        })
        .collect();
    if chunks.is_empty() {
        chunks.push(Chunk { text: "", start: 0, end: 0 });
    }
    chunks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Text, start and end.
    type ChunkCase<'t> = (&'t str, usize, usize);

    fn texts(text: &str, size: usize, overlap: usize) -> Vec<ChunkCase<'_>> {
        split(text, ChunkSize { size, overlap })
            .into_iter()
            .map(|chunk| (chunk.text, chunk.start, chunk.end))
            .collect()
    }

    /// A change of these boundaries embeds every long text again.
    #[test]
    fn texts_are_cut_where_they_always_were() {
        let cases: [(&str, usize, usize, &[ChunkCase<'_>]); 7] = [
            ("", 10, 0, &[("", 0, 0)]),
            (" \n\t ", 10, 0, &[("", 0, 0)]),
            ("short", 10, 0, &[("short", 0, 5)]),
            ("One two. Three four.", 10, 0, &[("One two.", 0, 8), ("Three four", 9, 19), (".", 19, 20)]),
            ("Erste.\n\nZwölf Zähne.", 13, 0, &[("Erste.", 0, 6), ("Zwölf Zähne.", 8, 20)]),
            ("a b c d e f", 5, 2, &[("a b c", 0, 5), ("c d e", 4, 9), ("e f", 8, 11)]),
            ("😀😀😀", 2, 0, &[("😀😀", 0, 2), ("😀", 2, 3)]),
        ];
        for (text, size, overlap, expected) in cases {
            assert_eq!(texts(text, size, overlap), expected, "{text:?}");
        }
    }

    /// Text, size, overlap, and its chunks.
    const LONG_RUNS: [(&str, usize, usize, &[ChunkCase<'_>]); 9] = [
        (
            "abcdefghijklmnopqrstuvwxyz",
            10,
            0,
            &[("abcdefghij", 0, 10), ("klmnopqrst", 10, 20), ("uvwxyz", 20, 26)],
        ),
        (
            "abcdefghijklmnopqrstuvwxyz",
            10,
            3,
            &[("abcdefghij", 0, 10), ("hijklmnopq", 7, 17), ("opqrstuvwx", 14, 24), ("vwxyz", 21, 26)],
        ),
        (
            "Line one.\r\nLine two.\r\n\r\nA new part.\r\n",
            12,
            0,
            &[("Line one.", 0, 9), ("Line two.", 11, 20), ("A new part.", 24, 35)],
        ),
        (
            "Line one.\nLine two.\n\n\nA new part.",
            24,
            10,
            &[("Line one.\nLine two.", 0, 19), ("A new part.", 22, 33)],
        ),
        (
            "e\u{301}e\u{301}e\u{301}e\u{301}",
            3,
            0,
            &[("e\u{301}", 0, 2), ("e\u{301}", 2, 4), ("e\u{301}", 4, 6), ("e\u{301}", 6, 8)],
        ),
        (
            "日本語のテキストです。次の文です。",
            8,
            0,
            &[("日本語のテキスト", 0, 8), ("です。", 8, 11), ("次の文です。", 11, 17)],
        ),
        (
            "Dr. Who et al. went to 3.5 places! Really? Yes... no",
            20,
            0,
            &[
                ("Dr.", 0, 3),
                ("Who et al. went to", 4, 22),
                ("3.5 places! Really?", 23, 42),
                ("Yes... no", 43, 52),
            ],
        ),
        ("  leading\tand trailing \u{a0}\u{3000} ", 12, 0, &[("leading\tand", 2, 13), ("trailing", 14, 22)]),
        (
            "one two three four five six",
            13,
            9,
            &[("one two three", 0, 13), ("three four", 8, 18), ("four five six", 14, 27)],
        ),
    ];

    #[test]
    fn long_runs_line_ends_and_marks_are_cut_where_they_always_were() {
        for (text, size, overlap, expected) in LONG_RUNS {
            assert_eq!(texts(text, size, overlap), expected, "{text:?}");
        }
    }

    #[test]
    fn a_change_at_the_end_leaves_the_chunks_before_as_they_were() {
        let sentences: Vec<_> = (0..200).map(|n| format!("Sentence {n} says a few words. ")).collect();
        let text = sentences.concat();
        let changed = text.replace("Sentence 199 says", "Sentence 199 shouts");
        let (before, after) = (texts(&text, 600, 100), texts(&changed, 600, 100));
        assert!(before.len() >= 10, "{}", before.len());
        let differing = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!((1..=2).contains(&differing), "{differing}");
    }

    proptest! {
        #[test]
        fn a_chunk_is_what_its_places_say(text in "[a-z \n.é😀\u{301}]{0,200}", size in 1..40usize, part in 0..10usize) {
            let overlap = size * part / 10;
            let points: Vec<char> = text.chars().collect();
            for chunk in split(&text, ChunkSize { size, overlap }) {
                let expected: String = points[chunk.start..chunk.end].iter().collect();
                prop_assert_eq!(chunk.text, expected);
                prop_assert!(chunk.end - chunk.start <= size);
            }
        }
    }
}
