//! The law of money: what a provider may be sent over the whole life of a directory.
//!
//! Counted is every text that left the program, however it was answered. One
//! of a request that was refused as a whole with a 4xx costs nothing, and a
//! question that a person asks does not count.

use std::collections::{HashMap, HashSet};

use super::Seen;

/// The word that is sent where no text of the table can show whether a provider works.
const WITNESS: &str = "reindexd";

/// What was sent, and what was answered with its own vector.
#[derive(Debug, Default)]
pub(super) struct Bill {
    sent: usize,
    texts: HashSet<String>,
    /// How often, by model, dimension and text.
    answered: HashMap<(String, Option<usize>, String), usize>,
    /// Whether a text may have got its vector more than once.
    may_repeat: bool,
}

impl Bill {
    pub(super) fn of<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Self {
        let mut bill = Self::default();
        for seen in seen {
            bill.add(seen);
        }
        bill
    }

    pub(super) fn add(&mut self, seen: &Seen) {
        let is_refused = seen.status().is_some_and(|status| (400..500).contains(&status));
        if is_refused || seen.task_type.as_deref() == Some("RETRIEVAL_QUERY") {
            return;
        }
        self.sent += seen.texts.len();
        self.texts.extend(seen.texts.iter().cloned());
        for text in seen.texts.iter().filter(|_| seen.is_answered()) {
            *self.answered.entry((seen.model.clone(), seen.dimension, text.clone())).or_default() += 1;
        }
    }

    pub(super) fn excuse_repeats(&mut self) {
        self.may_repeat = true;
    }

    /// The bill of the next directory, with the same excuse.
    pub(super) fn next_life(&self) -> Self {
        Self { may_repeat: self.may_repeat, ..Self::default() }
    }

    /// How many texts a pass may have planned: none plans more than there are.
    pub(super) fn planned(&self) -> usize {
        self.texts.len()
    }

    /// How the law is broken by what was sent for `planned` texts, if it is.
    pub(super) fn fault(&self, planned: usize) -> Option<String> {
        let (sent, stored) = (self.sent, self.answered.len());
        if sent > stored + (2 * planned).max(200) {
            return Some(format!("{sent} texts were sent for {stored} vectors, with {planned} planned"));
        }
        if self.may_repeat {
            return None;
        }
        let twice = self.answered.iter().filter(|((.., text), times)| **times > 1 && text != WITNESS);
        let mut twice: Vec<_> = twice.map(|((.., text), times)| format!("{times} times {text:?}")).collect();
        twice.sort_unstable();
        (!twice.is_empty()).then(|| format!("answered more than once: {}", twice.join(", ")))
    }
}
