//! Which vectors must be reusable and which builds must be kept, by the promises alone.
//!
//! No files, no digests: texts are numbers, and a build is the content that it was made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::pass::now;

/// How many builds are kept.
const KEEP: usize = 3;
/// How long a build is kept after it was replaced.
const GRACE: i64 = 10 * 60;

/// The values of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The number of its text.
    pub(super) text: u8,
    /// A value that is not part of the text.
    pub(super) rate: u8,
}

/// The content that a build is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) model: usize,
    pub(super) people: BTreeMap<i64, Person>,
}

impl Content {
    /// Every text once, in the order in which rows come.
    pub(super) fn texts(&self) -> Vec<u8> {
        let mut met = BTreeSet::new();
        self.people.values().map(|person| person.text).filter(|text| met.insert(*text)).collect()
    }
}

/// Where vectors are, and which builds are kept.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Kept builds, oldest first.
    builds: Vec<(String, Content)>,
    /// Every promotion, with its time.
    promotions: Vec<(String, i64)>,
    /// The builds that rollbacks lead back along; the last one is served.
    rollback_order: Vec<String>,
    /// Model and text of each vector in the cache. None is there for thirty days: however far the clock
    /// moves between two passes, the cache grows a day older at most.
    cache: BTreeSet<(usize, u8)>,
}

impl Model {
    /// The names of kept builds, sorted.
    pub(super) fn kept(&self) -> Vec<String> {
        let mut kept: Vec<String> = self.builds.iter().map(|(id, _)| id.clone()).collect();
        kept.sort();
        kept
    }

    /// Whether this content is served.
    pub(super) fn serves(&self, content: &Content) -> bool {
        self.served() == Some(content)
    }

    /// The texts whose vector is in no kept build and no cache.
    pub(super) fn without_vector(&self, content: &Content) -> Vec<u8> {
        let built = |text: u8| {
            let same = self.builds.iter().filter(|(_, build)| build.model == content.model);
            same.flat_map(|(_, build)| build.people.values()).any(|person| person.text == text)
        };
        let cached = |text| self.cache.contains(&(content.model, text));
        content.texts().into_iter().filter(|text| !built(*text) && !cached(*text)).collect()
    }

    /// How many people of the served build have other metadata and a reusable vector, and how many are gone.
    pub(super) fn differences(&self, content: &Content, embedded: &[u8]) -> (u64, u64) {
        let none = BTreeMap::new();
        let served = self.served().map_or(&none, |served| &served.people);
        let other = |(id, person): &(&i64, &Person)| {
            served.get(id).is_some_and(|before| before != *person) && !embedded.contains(&person.text)
        };
        let gone = served.keys().filter(|id| !content.people.contains_key(id));
        (content.people.iter().filter(other).count() as u64, gone.count() as u64)
    }

    /// Texts were embedded, and no build was made.
    pub(super) fn cached(&mut self, model: usize, texts: &[u8]) {
        self.cache.extend(texts.iter().map(|text| (model, *text)));
    }

    /// A new build is served; the cache drops the vectors that it has.
    pub(super) fn built(&mut self, id: &str, content: Content) {
        let texts = content.texts();
        self.cache.retain(|(model, text)| *model != content.model || !texts.contains(text));
        self.builds.push((id.to_owned(), content));
        self.promoted(id);
    }

    /// A build is promoted, new or again.
    pub(super) fn promoted(&mut self, id: &str) {
        self.promotions.push((id.to_owned(), now()));
        match self.rollback_order.iter().position(|earlier| earlier == id) {
            Some(at) => self.rollback_order.truncate(at + 1),
            None => self.rollback_order.push(id.to_owned()),
        }
    }

    /// A pass of this model succeeded: builds that nothing needs are removed. Vectors of the model that no
    /// other build has go to the cache.
    pub(super) fn collect_old_builds(&mut self, model: usize) {
        let exists = |id: &&String| self.builds.iter().any(|(kept, _)| kept == *id);
        let mut needed: Vec<String> = self.builds.iter().rev().take(KEEP).map(|(id, _)| id.clone()).collect();
        // The served build and the one before it.
        needed.extend(self.rollback_order.iter().rev().filter(exists).take(2).cloned());
        needed.extend(
            self.promotions.windows(2).filter(|two| now() - two[1].1 < GRACE).map(|two| two[0].0.clone()),
        );
        let (kept, removed): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.builds).into_iter().partition(|(id, _)| needed.contains(id));
        self.builds = kept;
        for (_, content) in removed.iter().filter(|(_, content)| content.model == model) {
            let alone = self.without_vector(content);
            self.cached(model, &alone);
        }
    }

    fn served(&self) -> Option<&Content> {
        let id = self.rollback_order.last()?;
        self.builds.iter().find(|(kept, _)| kept == id).map(|(_, content)| content)
    }
}
