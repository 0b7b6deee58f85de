//! A ranking as a run file of TREC, which other programs measure.
//!
//! One line a record: query, `Q0`, record, rank, score and `reindexd`. Programs
//! that read it order records by score alone, each with its own rule for equal
//! ones; so a score is written that is certainly lower than the one before it:
//! of equal scores the next smaller number.

use std::fmt::Write as _;

/// Appends the lines of one query: records by name with their scores, best first.
pub fn write_run<'a>(out: &mut String, query: &str, ranking: impl IntoIterator<Item = (&'a str, f32)>) {
    let mut last = f32::INFINITY;
    for ((record, score), rank) in ranking.into_iter().zip(1_u32..) {
        let score = if score < last { score } else { last.next_down() };
        last = score;
        let [query, record] = [query, record].map(word);
        writeln!(out, "{query} Q0 {record} {rank} {score} reindexd").expect("a String takes every write");
    }
}

/// A name without white space, which is what ends it in such a file: that is written as in a URL.
fn word(name: &str) -> String {
    let mut word = String::with_capacity(name.len());
    for char in name.chars() {
        if char.is_whitespace() || char.is_control() {
            let mut bytes = [0; 4];
            char.encode_utf8(&mut bytes).bytes().for_each(|byte| {
                write!(word, "%{byte:02X}").expect("a String takes every write");
            });
        } else {
            word.push(char);
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_fall_strictly_and_names_are_one_word() {
        let below = 0.5_f32.next_down();
        let mut run = String::new();

        write_run(&mut run, "q 1", [("a", 0.75), ("b", 0.5), ("[\"c\", 7]", 0.5), ("d", below), ("e", 0.25)]);

        let lines: Vec<Vec<&str>> = run.lines().map(|line| line.split(' ').collect()).collect();
        let scores: Vec<f32> = lines.iter().map(|line| line[4].parse().unwrap()).collect();
        assert_eq!(scores, [0.75, 0.5, below, below.next_down(), 0.25]);
        let records: Vec<&str> = lines.iter().map(|line| line[2]).collect();
        assert_eq!(records, ["a", "b", "[\"c\",%207]", "d", "e"]);
        assert_eq!(lines[0], ["q%201", "Q0", "a", "1", "0.75", "reindexd"]);
    }
}
