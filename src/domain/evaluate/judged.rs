//! Judged queries, read from files in BEIR's layout.
//!
//! Queries are JSON lines with `_id` and `text`; judgements are lines of
//! query, record and grade between tabs, below the header
//! `query-id corpus-id score`. A record is named by its id as text. Both
//! files are read strictly: a line that is not as expected is a fault with its
//! number, and so is a file beyond the bounds. Only queries with a grade above
//! 0 are asked; the others of a public collection are passed over.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use thiserror::Error;

use crate::domain::text::literal;

/// Most queries that are asked: each costs an embedding.
pub const MAX_QUERIES: usize = 10_000;
/// Most judgements in all.
pub const MAX_JUDGEMENTS: usize = 1_000_000;
/// Longest query, in bytes: longer than a person asks.
pub const MAX_QUERY_BYTES: usize = 32 << 10;
/// Longest id of a query or a record, in bytes.
pub const MAX_ID_BYTES: usize = 4 << 10;
/// Largest grade, and smallest below 0: sums of them stay exact.
pub const MAX_GRADE: i64 = 1_000_000;

/// The first line of a file of judgements.
const HEADER: [&str; 3] = ["query-id", "corpus-id", "score"];
/// More of a line is not shown.
const MAX_SHOWN_CHARS: usize = 60;

/// The queries that are asked, in the order of their file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JudgedQueries {
    pub queries: Vec<JudgedQuery>,
    /// Every record that is judged, each once, by its id as text.
    pub records: Vec<String>,
}

/// A query with what its answers are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JudgedQuery {
    pub id: String,
    pub text: String,
    /// In the order of the file; each record once.
    pub judgements: Vec<Judgement>,
}

/// What a record is worth as an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Its place in [`JudgedQueries::records`].
    pub record: usize,
    /// Below 1: not an answer.
    pub grade: i64,
}

/// What is wrong with one of the two files.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{} {}expected {expected}, found {found}", file.name(), if *line > 0 { format!("line {line}: ") } else { String::new() })]
pub struct JudgedFault {
    pub file: JudgedFile,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    pub expected: String,
    pub found: String,
}

/// One of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgedFile {
    Queries,
    Qrels,
}

impl JudgedFile {
    /// The setting that names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Queries => "evaluate.queries",
            Self::Qrels => "evaluate.qrels",
        }
    }

    fn fault(self, line: usize, expected: impl Into<String>, found: impl Into<String>) -> JudgedFault {
        JudgedFault { file: self, line, expected: expected.into(), found: found.into() }
    }

    /// The lines of the file with their numbers; the last may end without a line break.
    fn lines(self, bytes: &[u8]) -> impl Iterator<Item = Result<(usize, &str), JudgedFault>> + use<'_> {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        bytes.split(|byte| *byte == b'\n').zip(1..).map(move |(line, number)| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let text = std::str::from_utf8(line);
            text.map(|text| (number, text)).map_err(|_| self.fault(number, "UTF-8", "other bytes"))
        })
    }
}

/// A line of a file of queries. Other members, such as BEIR's `metadata`, are passed over.
#[derive(Deserialize)]
struct QueryLine {
    #[serde(rename = "_id")]
    id: String,
    text: String,
}

/// The judgements of each query, and every record that they name.
#[derive(Default)]
struct Qrels {
    of_query: BTreeMap<String, QueryJudgements>,
    places: HashMap<String, usize>,
    records: Vec<String>,
}

#[derive(Default)]
struct QueryJudgements {
    /// Where the query is first named.
    line: usize,
    judgements: Vec<Judgement>,
    judged: HashSet<usize>,
}

impl JudgedQueries {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// The first [`JudgedFault`].
    pub fn parse(queries: &[u8], qrels: &[u8]) -> Result<Self, JudgedFault> {
        let Qrels { mut of_query, records, .. } = Qrels::parse(qrels)?;
        of_query.retain(|_, query| query.judgements.iter().any(|judgement| judgement.grade > 0));
        if of_query.is_empty() {
            return Err(JudgedFile::Qrels.fault(0, "a query with a score above 0", "none"));
        }
        if of_query.len() > MAX_QUERIES {
            let expected = format!("at most {MAX_QUERIES} queries with a score above 0");
            return Err(JudgedFile::Qrels.fault(0, expected, of_query.len().to_string()));
        }
        let queries = parse_queries(queries, &mut of_query)?;
        if let Some((id, query)) = of_query.iter().min_by_key(|(_, query)| query.line) {
            let expected = "a query of evaluate.queries";
            return Err(JudgedFile::Qrels.fault(query.line, expected, shown(id)));
        }
        Ok(Self { queries, records })
    }
}

impl Qrels {
    fn parse(bytes: &[u8]) -> Result<Self, JudgedFault> {
        let file = JudgedFile::Qrels;
        let mut qrels = Self::default();
        let mut count = 0;
        for line in file.lines(bytes) {
            let (number, line) = line?;
            let fields: Vec<&str> = line.split('\t').collect();
            if number == 1 {
                if fields != HEADER {
                    return Err(file.fault(
                        1,
                        format!("the header {}", shown(&HEADER.join("\t"))),
                        shown(line),
                    ));
                }
                continue;
            }
            let &[query, record, score] = fields.as_slice() else {
                return Err(file.fault(number, "query-id, corpus-id and score between tabs", shown(line)));
            };
            count += 1;
            if count > MAX_JUDGEMENTS {
                return Err(file.fault(number, format!("at most {MAX_JUDGEMENTS} judgements"), "more"));
            }
            let grade =
                score.parse().ok().filter(|grade: &i64| grade.unsigned_abs() <= MAX_GRADE.unsigned_abs());
            let grade = grade.ok_or_else(|| {
                file.fault(
                    number,
                    format!("a whole number from -{MAX_GRADE} to {MAX_GRADE} as score"),
                    shown(score),
                )
            })?;
            check_id(file, number, "query-id", query)?;
            check_id(file, number, "corpus-id", record)?;
            qrels.add(number, query, record, grade)?;
        }
        Ok(qrels)
    }

    fn add(&mut self, line: usize, query: &str, record: &str, grade: i64) -> Result<(), JudgedFault> {
        let place = self.places.get(record).copied().unwrap_or_else(|| {
            self.places.insert(record.to_owned(), self.records.len());
            self.records.push(record.to_owned());
            self.records.len() - 1
        });
        if !self.of_query.contains_key(query) {
            self.of_query.insert(query.to_owned(), QueryJudgements { line, ..QueryJudgements::default() });
        }
        let of_query = self.of_query.get_mut(query).expect("just added");
        if !of_query.judged.insert(place) {
            let found = format!("query {} and record {} again", shown(query), shown(record));
            return Err(JudgedFile::Qrels.fault(line, "each record once for a query", found));
        }
        of_query.judgements.push(Judgement { record: place, grade });
        Ok(())
    }
}

/// Takes the queries that are judged out of `of_query`.
fn parse_queries(
    bytes: &[u8],
    of_query: &mut BTreeMap<String, QueryJudgements>,
) -> Result<Vec<JudgedQuery>, JudgedFault> {
    let file = JudgedFile::Queries;
    let mut queries = Vec::with_capacity(of_query.len());
    let mut seen = HashSet::new();
    for line in file.lines(bytes) {
        let (number, line) = line?;
        let QueryLine { id, text } = serde_json::from_str(line).map_err(|error| {
            let expected = "an object with the texts _id and text";
            // The parser's own message counts the one line that it was given.
            file.fault(number, expected, format!("{} (column {})", shown(line), error.column()))
        })?;
        check_id(file, number, "_id", &id)?;
        if !seen.insert(id.clone()) {
            return Err(file.fault(number, "each _id once", format!("{} again", shown(&id))));
        }
        let Some(QueryJudgements { judgements, .. }) = of_query.remove(&id) else { continue };
        if text.trim().is_empty() || text.len() > MAX_QUERY_BYTES {
            let found = format!("{} bytes for query {}", text.trim().len(), shown(&id));
            return Err(file.fault(number, format!("a text of 1 to {MAX_QUERY_BYTES} bytes"), found));
        }
        queries.push(JudgedQuery { id, text, judgements });
    }
    Ok(queries)
}

fn check_id(file: JudgedFile, line: usize, name: &str, id: &str) -> Result<(), JudgedFault> {
    match id.len() {
        1..=MAX_ID_BYTES => Ok(()),
        found => {
            let expected = format!("1 to {MAX_ID_BYTES} bytes as {name}");
            Err(file.fault(line, expected, found.to_string()))
        }
    }
}

fn shown(text: &str) -> String {
    format!("\"{}\"", literal(text, MAX_SHOWN_CHARS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "query-id\tcorpus-id\tscore\n";

    fn parsed(queries: &str, qrels: &str) -> Result<JudgedQueries, String> {
        JudgedQueries::parse(queries.as_bytes(), qrels.as_bytes()).map_err(|fault| fault.to_string())
    }

    #[test]
    fn queries_with_a_grade_above_0_are_asked_in_the_order_of_their_file() {
        let queries = "{\"_id\": \"b\", \"text\": \"B\", \"metadata\": {}}\r\n{\"_id\":\"a\",\"text\":\"A\"}\n\
                       {\"_id\":\"c\",\"text\":\"\"}\n{\"_id\":\"d\",\"text\":\"D\"}";
        let qrels = format!("{HEAD}a\t7\t2\r\na\tx y\t-1\nb\t7\t1\nc\t7\t0\n");

        let found = parsed(queries, &qrels).unwrap();

        let judged = |record, grade| Judgement { record, grade };
        let query = |id: &str, text: &str, judgements| JudgedQuery {
            id: id.to_owned(),
            text: text.to_owned(),
            judgements,
        };
        let queries =
            vec![query("b", "B", vec![judged(0, 1)]), query("a", "A", vec![judged(0, 2), judged(1, -1)])];
        assert_eq!(found, JudgedQueries { queries, records: vec!["7".to_owned(), "x y".to_owned()] });
    }

    #[test]
    #[rustfmt::skip]
    fn what_is_not_as_expected_is_named_with_its_line() {
        let one = "{\"_id\":\"a\",\"text\":\"A\"}\n";
        let long = "x".repeat(MAX_QUERY_BYTES + 1);
        let cases = [
            (one.to_owned(), String::new(), "evaluate.qrels line 1: expected the header"),
            (one.to_owned(), "a\t7\t1\n".to_owned(), "evaluate.qrels line 1: expected the header"),
            (one.to_owned(), HEAD.to_owned(), "evaluate.qrels expected a query with a score above 0, found none"),
            (one.to_owned(), format!("{HEAD}a\t7\t0\n"), "above 0, found none"),
            (one.to_owned(), format!("{HEAD}a 7 1\n"), "evaluate.qrels line 2: expected query-id, corpus-id"),
            (one.to_owned(), format!("{HEAD}a\t7\t1\n\na\t8\t1\n"), "evaluate.qrels line 3: expected query-id"),
            (one.to_owned(), format!("{HEAD}a\t7\t1.5\n"), "line 2: expected a whole number"),
            (one.to_owned(), format!("{HEAD}a\t7\t1000001\n"), "line 2: expected a whole number"),
            (one.to_owned(), format!("{HEAD}\t7\t1\n"), "line 2: expected 1 to 4096 bytes as query-id, found 0"),
            (one.to_owned(), format!("{HEAD}a\t7\t1\na\t7\t2\n"), "line 3: expected each record once"),
            (one.to_owned(), format!("{HEAD}a\t7\t1\nz\t7\t2\n"), "line 3: expected a query of evaluate.queries"),
            (format!("{one}{one}"), format!("{HEAD}a\t7\t1\n"), "evaluate.queries line 2: expected each _id once"),
            ("{\"_id\":1,\"text\":\"A\"}".to_owned(), format!("{HEAD}a\t7\t1\n"), "evaluate.queries line 1: expected an"),
            (format!("{one}{{\"_id\":"), format!("{HEAD}a\t7\t1\n"), "evaluate.queries line 2: expected an object"),
            ("{\"_id\":\"a\",\"text\":\" \"}".to_owned(), format!("{HEAD}a\t7\t1\n"), "line 1: expected a text of 1"),
            (format!("{{\"_id\":\"a\",\"text\":\"{long}\"}}"), format!("{HEAD}a\t7\t1\n"), "expected a text of 1"),
        ];
        for (queries, qrels, expected) in cases {
            let fault = parsed(&queries, &qrels).unwrap_err();
            assert!(fault.contains(expected), "{fault}: expected {expected}");
        }
        let fault = JudgedQueries::parse(b"\xff", format!("{HEAD}a\t7\t1").as_bytes()).unwrap_err();
        assert_eq!(fault.to_string(), "evaluate.queries line 1: expected UTF-8, found other bytes");
    }

    #[test]
    fn more_queries_than_may_be_asked_are_refused() {
        let lines: Vec<String> = (0..=MAX_QUERIES).map(|nth| format!("q{nth}\t1\t1\n")).collect();
        let fault = parsed("", &format!("{HEAD}{}", lines.concat())).unwrap_err();
        assert!(fault.contains("expected at most 10000 queries"), "{fault}");
    }
}
