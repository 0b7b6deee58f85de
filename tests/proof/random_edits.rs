//! A table that is edited by lot, and every state in which it was ever committed.
//!
//! No two texts are ever the same, so whatever a provider is paid for twice was
//! paid for twice without need.

use rusqlite::{Connection, params};

use crate::served::Content;

/// The table as its writer knows it.
#[derive(Default)]
pub struct People {
    rows: Content,
    /// Rows that are there but not tagged.
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

    /// Commits up to `most` edits drawn by lot; between 3 and 3 times `most` people stay tagged.
    pub fn edit(&mut self, database: &mut Connection, most: usize, lot: &mut fastrand::Rng) {
        let edits = lot.usize(1..=most);
        self.commit(database, |people, all| {
            for _ in 0..edits {
                match (lot.u8(0..10), people.rows.len()) {
                    (8..10, tagged) if tagged > 3 => people.leave(all, lot),
                    (0..3, tagged) if tagged < 3 * most => people.insert(all),
                    (3, _) => people.tag_again(all),
                    (4, _) => people.rate(all, lot),
                    _ => people.write(all, lot, ""),
                }
            }
        });
    }

    /// Commits a text that holds these words.
    pub fn write_text(&mut self, database: &mut Connection, words: &str, lot: &mut fastrand::Rng) {
        self.commit(database, |people, all| people.write(all, lot, words));
    }

    /// The last committed state.
    pub fn now(&self) -> &Content {
        self.history.last().expect("the empty state is one")
    }

    /// The place in history of a state, looked for from the last one back to `from`.
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

    fn write(&mut self, all: &Connection, lot: &mut fastrand::Rng, words: &str) {
        let (id, bio) = (self.somebody(lot), self.bio(words));
        all.execute("UPDATE experts SET bio = ?2 WHERE id = ?1", params![id, bio]).unwrap();
        self.rows.get_mut(&id).expect("somebody is there").0 = bio;
    }

    fn rate(&mut self, all: &Connection, lot: &mut fastrand::Rng) {
        let (id, rate) = (self.somebody(lot), f64::from(lot.u16(..)) / 4.0);
        all.execute("UPDATE experts SET hourly_rate = ?2 WHERE id = ?1", params![id, rate]).unwrap();
        self.rows.get_mut(&id).expect("somebody is there").1 = rate;
    }

    /// Somebody is deleted, or loses the tags.
    fn leave(&mut self, all: &Connection, lot: &mut fastrand::Rng) {
        let id = self.somebody(lot);
        let row = self.rows.remove(&id).expect("somebody is there");
        if lot.bool() {
            all.execute("DELETE FROM experts WHERE id = ?1", [id]).unwrap();
        } else {
            all.execute("UPDATE experts SET tags = NULL WHERE id = ?1", [id]).unwrap();
            self.untagged.insert(id, row);
        }
    }

    /// Whoever lost the tags first gets them back, with a text of its own again.
    fn tag_again(&mut self, all: &Connection) {
        let Some((id, (_, rate))) = self.untagged.pop_first() else { return };
        let bio = self.bio("");
        all.execute("UPDATE experts SET tags = '[\"tag\"]', bio = ?2 WHERE id = ?1", params![id, bio])
            .unwrap();
        self.rows.insert(id, (bio, rate));
    }

    fn somebody(&self, lot: &mut fastrand::Rng) -> i64 {
        *self.rows.keys().nth(lot.usize(..self.rows.len())).expect("at least three stay")
    }

    fn bio(&mut self, words: &str) -> String {
        self.texts += 1;
        format!("Text {} {words}.", self.texts)
    }
}

const PERSON: &str = "INSERT INTO experts (id, username, first_name, last_name, job_title, company, bio, hourly_rate, currency, tags)
     VALUES (?1, 'user' || ?1, 'First' || ?1, 'Last' || ?1, 'Title', 'Company', ?2, 100.5, 'EUR', '[\"tag\", \"other\"]')";
