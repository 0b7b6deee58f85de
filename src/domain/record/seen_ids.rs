//! Which ids of one scan were seen: every id may stand once, whatever its place.
//!
//! SQLite orders by what a column's collation and affinity take for equal, so
//! rows with the same id need not be neighbours: 1 and 1.0, or `ada` and `ADA`.
//! Ids are the same if class and bytes are, as in [`IdHash`]. While ids ascend
//! in an order of that kind no id can have come before, so only the last one is
//! remembered.

use std::cmp::Ordering;
use std::collections::HashSet;

use super::hash::IdHash;
use super::value::RawValue;

/// The ids seen so far.
#[derive(Default)]
pub(crate) struct SeenIds {
    /// The last one, while they ascend.
    last: Option<OwnedId>,
    /// All of them, once one did not ascend.
    all: Option<HashSet<IdHash>>,
}

/// An id, kept from one row to the next.
enum OwnedId {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl SeenIds {
    /// Adds an id; false if it was seen before. `before` are all that were added until now.
    pub(crate) fn insert(
        &mut self,
        id: RawValue<'_>,
        hash: IdHash,
        before: impl Iterator<Item = IdHash>,
    ) -> bool {
        if let Some(all) = &mut self.all {
            return all.insert(hash);
        }
        if self.last.as_ref().is_none_or(|last| last.compared_with(id).is_lt()) {
            match &mut self.last {
                Some(last) => last.replace(id),
                none => *none = Some(OwnedId::of(id)),
            }
            return true;
        }
        let mut all: HashSet<_> = before.collect();
        let is_new = all.insert(hash);
        self.all = Some(all);
        is_new
    }
}

impl OwnedId {
    fn of(id: RawValue<'_>) -> Self {
        match id {
            RawValue::Null => Self::Null,
            RawValue::Integer(n) => Self::Integer(n),
            RawValue::Real(x) => Self::Real(x),
            RawValue::Text(bytes) => Self::Text(bytes.to_vec()),
            RawValue::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }

    /// As `of`, without an allocation where the class stays the same.
    fn replace(&mut self, id: RawValue<'_>) {
        match (&mut *self, id) {
            (Self::Text(last), RawValue::Text(bytes)) | (Self::Blob(last), RawValue::Blob(bytes)) => {
                last.clear();
                last.extend_from_slice(bytes);
            }
            (last, id) => *last = Self::of(id),
        }
    }

    /// By class, then by value: a total order in which only the same ids are equal.
    fn compared_with(&self, id: RawValue<'_>) -> Ordering {
        match (self, id) {
            (Self::Integer(last), RawValue::Integer(n)) => last.cmp(&n),
            (Self::Real(last), RawValue::Real(x)) => last.total_cmp(&x),
            (Self::Text(last), RawValue::Text(bytes)) | (Self::Blob(last), RawValue::Blob(bytes)) => {
                last.as_slice().cmp(bytes)
            }
            (last, id) => last.class().cmp(&Self::class_of(id)),
        }
    }

    fn class(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Integer(_) => 1,
            Self::Real(_) => 2,
            Self::Text(_) => 3,
            Self::Blob(_) => 4,
        }
    }

    fn class_of(id: RawValue<'_>) -> u8 {
        match id {
            RawValue::Null => 0,
            RawValue::Integer(_) => 1,
            RawValue::Real(_) => 2,
            RawValue::Text(_) => 3,
            RawValue::Blob(_) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn inserted(ids: &[RawValue<'_>]) -> Vec<bool> {
        let mut seen = SeenIds::default();
        let hashes: Vec<_> = ids.iter().map(|&id| IdHash::of(id)).collect();
        let insert = |(at, &id)| seen.insert(id, hashes[at], hashes[..at].iter().copied());
        ids.iter().enumerate().map(insert).collect()
    }

    #[test]
    fn an_id_is_seen_again_wherever_it_stands_if_class_and_bytes_are_the_same() {
        use RawValue::{Blob, Integer, Null, Real, Text};
        let (ada, upper, blank) = (Text(b"ada"), Text(b"ADA"), Text(b"ada "));
        let cases: [(&[RawValue<'_>], &[bool]); 8] = [
            (&[Integer(1), Integer(2), Integer(9)], &[true; 3]),
            (&[Integer(1), Real(1.0), Integer(1), Real(1.0)], &[true, true, false, false]),
            (&[Real(1.0), Integer(1), Real(1.0), Integer(2)], &[true, true, false, true]),
            (&[ada, upper, ada], &[true, true, false]),
            (&[ada, blank, ada, blank], &[true, true, false, false]),
            (&[ada, ada], &[true, false]),
            (&[Text(b"1"), Blob(b"1"), Integer(1), Text(b"1")], &[true, true, true, false]),
            (&[Null, Null, Integer(0)], &[true, false, true]),
        ];
        for (ids, expected) in cases {
            assert_eq!(inserted(ids), expected, "{ids:?}");
        }
    }

    #[test]
    fn ids_that_ascend_are_not_remembered() {
        let mut seen = SeenIds::default();
        for n in 0..1000 {
            let id = RawValue::Integer(n);
            assert!(seen.insert(id, IdHash::of(id), std::iter::empty()));
        }

        assert!(seen.all.is_none());
    }

    proptest! {
        #[test]
        fn every_id_is_new_once(ids in prop::collection::vec((0_u8..4, 0_i64..4), 0..20)) {
            let texts = ["", "a", "A", "b"].map(str::as_bytes);
            let id = |&(class, n): &(u8, i64)| match class {
                0 => RawValue::Integer(n),
                1 => RawValue::Real(n as f64),
                2 => RawValue::Text(texts[usize::try_from(n).unwrap()]),
                _ => RawValue::Blob(texts[usize::try_from(n).unwrap()]),
            };
            let all: Vec<_> = ids.iter().map(id).collect();
            let mut before = HashSet::new();
            let expected: Vec<_> = ids.iter().map(|one| before.insert(*one)).collect();

            prop_assert_eq!(inserted(&all), expected);
        }
    }
}
