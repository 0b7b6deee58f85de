//! A table that is edited at random, and every state in which it was ever committed.
//!
//! No two texts are ever the same, so a text that is embedded twice was embedded
//! again without need.

use rusqlite::{Connection, params};

use crate::served::Content;

/// The table as its writer knows it.
#[derive(Default)]
pub struct People {
    rows: Content,
    /// Rows that are not tagged.
    untagged: Content,
    texts: u32,
    ids: i64,
    /// Each state that was committed, the empty one first.
    history: Vec<Content>,
}

impl People {
    /// Commits this many new people.
    pub fn beginning(database: &mut Connection, count: usize) -> Self {
        let mut people = Self { history: vec![Content::new()], ..Self::default() };
        people.commit(database, |people, all| (0..count).for_each(|_| people.insert(all)));
        people
    }

    /// Commits up to `max` random edits; between 3 and 3 times `max` people stay tagged.
    pub fn edit(&mut self, database: &mut Connection, max: usize, random: &mut fastrand::Rng) {
        let edits = random.usize(1..=max);
        self.commit(database, |people, all| {
            for _ in 0..edits {
                match (random.u8(0..10), people.rows.len()) {
                    (8..10, tagged) if tagged > 3 => people.remove(all, random),
                    (0..3, tagged) if tagged < 3 * max => people.insert(all),
                    (3, _) => people.tag_again(all),
                    (4, _) => people.rate(all, random),
                    _ => people.write(all, random, ""),
                }
            }
        });
    }

    /// Commits a text that contains `part`.
    pub fn write_text(&mut self, database: &mut Connection, part: &str, random: &mut fastrand::Rng) {
        self.commit(database, |people, all| people.write(all, random, part));
    }

    /// The last committed state.
    pub fn now(&self) -> &Content {
        self.history.last().expect("the empty state is one")
    }

    /// The number of a state in the history, searched from the last one back to `from`.
    pub fn place(&self, content: &Content, from: usize) -> Option<usize> {
        let since = self.history.get(from..)?;
        since.iter().rposition(|state| state == content).map(|place| place + from)
    }

    fn commit(&mut self, database: &mut Connection, edit: impl FnOnce(&mut Self, &Connection)) {
        let all = database.transaction().unwrap();
        edit(self, &all);
        all.commit().unwrap();
        self.history.push(self.rows.clone());
    }

    fn insert(&mut self, all: &Connection) {
        self.ids += 1;
        let bio = self.bio("");
        all.execute(PERSON, params![self.ids, bio]).unwrap();
        self.rows.insert(self.ids, (bio, 100.5));
    }

    fn write(&mut self, all: &Connection, random: &mut fastrand::Rng, part: &str) {
        let (id, bio) = (self.random_id(random), self.bio(part));
        all.execute("UPDATE experts SET bio = ?2 WHERE id = ?1", params![id, bio]).unwrap();
        self.rows.get_mut(&id).expect("the row exists").0 = bio;
    }

    fn rate(&mut self, all: &Connection, random: &mut fastrand::Rng) {
        let (id, rate) = (self.random_id(random), f64::from(random.u16(..)) / 4.0);
        all.execute("UPDATE experts SET hourly_rate = ?2 WHERE id = ?1", params![id, rate]).unwrap();
        self.rows.get_mut(&id).expect("the row exists").1 = rate;
    }

    /// Deletes a row, or removes its tags.
    fn remove(&mut self, all: &Connection, random: &mut fastrand::Rng) {
        let id = self.random_id(random);
        let row = self.rows.remove(&id).expect("the row exists");
        if random.bool() {
            all.execute("DELETE FROM experts WHERE id = ?1", [id]).unwrap();
        } else {
            all.execute("UPDATE experts SET tags = NULL WHERE id = ?1", [id]).unwrap();
            self.untagged.insert(id, row);
        }
    }

    /// Tags the untagged row with the lowest id again, with a new text.
    fn tag_again(&mut self, all: &Connection) {
        let Some((id, (_, rate))) = self.untagged.pop_first() else { return };
        let bio = self.bio("");
        all.execute("UPDATE experts SET tags = '[\"tag\"]', bio = ?2 WHERE id = ?1", params![id, bio])
            .unwrap();
        self.rows.insert(id, (bio, rate));
    }

    fn random_id(&self, random: &mut fastrand::Rng) -> i64 {
        *self.rows.keys().nth(random.usize(..self.rows.len())).expect("at least three stay")
    }

    fn bio(&mut self, part: &str) -> String {
        self.texts += 1;
        format!("Text {} {part}.", self.texts)
    }
}

const PERSON: &str = "INSERT INTO experts (id, username, first_name, last_name, job_title, company, bio, hourly_rate, currency, tags)
     VALUES (?1, 'user' || ?1, 'First' || ?1, 'Last' || ?1, 'Title', 'Company', ?2, 100.5, 'EUR', '[\"tag\", \"other\"]')";
