//! Invented people in any number, with text as varied as that of the sample.
//!
//! Bios are made by a chain of words over the bios of `data/sample`, everything
//! else is chosen from its rows. A person depends only on the id, so that equal
//! ids give equal people in a table of any size.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use fastrand::Rng;

/// One row, in the order of `reindexd::domain::record::Schema::experts` after the id.
pub struct Person {
    pub username: String,
    pub first_name: String,
    pub last_name: String,
    pub job_title: String,
    pub company: String,
    pub bio: String,
    pub hourly_rate: f64,
    pub currency: String,
    pub profile_url: String,
    pub profile_url_utm: String,
    pub tags: String,
    pub findability_score: f64,
    pub category: String,
}

/// The rows of the sample, and the chain of their words.
pub struct People {
    rows: Vec<Vec<String>>,
    vocabulary: Vec<String>,
    /// The first two words of each bio.
    openings: Vec<[u32; 2]>,
    /// Which words may follow two; `None` if a bio ended there.
    followers: HashMap<[u32; 2], Vec<Option<u32>>>,
}

/// Columns of the sample that are used.
const FIRST_NAME: usize = 2;
const LAST_NAME: usize = 3;
const JOB_TITLE: usize = 4;
const COMPANY: usize = 5;
const BIO: usize = 6;
const HOURLY_RATE: usize = 7;
const CURRENCY: usize = 8;
const TAGS: usize = 11;
const CATEGORY: usize = 13;

impl People {
    /// Reads the sample.
    pub fn from_sample() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/sample/experts.csv");
        let mut rows = rows_of(&std::fs::read_to_string(path).unwrap());
        rows.remove(0);
        let (mut vocabulary, mut numbers) = (Vec::new(), HashMap::new());
        let (mut openings, mut followers) = (Vec::new(), HashMap::<[u32; 2], Vec<Option<u32>>>::new());
        for row in &rows {
            let bio: Vec<u32> = row[BIO]
                .split_whitespace()
                .map(|word| {
                    *numbers.entry(word.to_owned()).or_insert_with(|| {
                        vocabulary.push(word.to_owned());
                        u32::try_from(vocabulary.len() - 1).unwrap()
                    })
                })
                .collect();
            openings.extend(bio.first_chunk::<2>());
            for three in bio.windows(3) {
                followers.entry([three[0], three[1]]).or_default().push(Some(three[2]));
            }
            if let Some(end) = bio.last_chunk::<2>() {
                followers.entry(*end).or_default().push(None);
            }
        }
        Self { rows, vocabulary, openings, followers }
    }

    /// The person with this id, whose bio has about this many characters.
    pub fn person(&self, id: u64, bio: &Range<usize>) -> Person {
        let mut random = Rng::with_seed(id);
        let choose = |random: &mut Rng, column: usize| {
            let values = (0..50).map(|_| &self.rows[random.usize(..self.rows.len())][column]);
            values.into_iter().find(|value| !value.is_empty()).cloned().unwrap_or_default()
        };
        let (first_name, last_name) = (choose(&mut random, FIRST_NAME), choose(&mut random, LAST_NAME));
        let profession = loop {
            let row = &self.rows[random.usize(..self.rows.len())];
            if !row[TAGS].is_empty() {
                break row;
            }
        };
        let plain = |name: &str| name.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let username = format!("{}.{}{id}", plain(&first_name), plain(&last_name));
        let profile_url = format!("https://example.org/people/{username}");
        let length = random.usize(bio.clone());
        Person {
            profile_url_utm: format!("{profile_url}?utm_source=directory&utm_medium=profile"),
            profile_url,
            username,
            company: choose(&mut random, COMPANY),
            bio: self.bio(&mut random, length),
            hourly_rate: choose(&mut random, HOURLY_RATE).parse().unwrap_or(100.0),
            currency: choose(&mut random, CURRENCY),
            job_title: profession[JOB_TITLE].clone(),
            tags: profession[TAGS].clone(),
            category: profession[CATEGORY].clone(),
            findability_score: f64::from(random.u32(..100)) / 100.0,
            first_name,
            last_name,
        }
    }

    /// Joins bios until there are about `length` characters.
    fn bio(&self, random: &mut Rng, length: usize) -> String {
        let mut out = String::with_capacity(length + 100);
        while out.len() < length {
            let mut at = self.openings[random.usize(..self.openings.len())];
            self.append_word(at[0], &mut out);
            self.append_word(at[1], &mut out);
            while out.len() < length + 50 {
                let followers = &self.followers[&at];
                let Some(word) = followers[random.usize(..followers.len())] else { break };
                self.append_word(word, &mut out);
                at = [at[1], word];
            }
        }
        out
    }

    fn append_word(&self, word: u32, out: &mut String) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&self.vocabulary[word as usize]);
    }
}

/// The rows of a CSV file whose fields may be quoted.
fn rows_of(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut field)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut field));
                rows.push(std::mem::take(&mut row));
            }
            '\r' if !quoted => {}
            other => field.push(other),
        }
    }
    rows
}
