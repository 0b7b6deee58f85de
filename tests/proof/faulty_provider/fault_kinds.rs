//! Every way to go wrong, and the deck that deals them.
//!
//! A deck is shuffled and dealt to its end before it is shuffled again, so that
//! each kind comes about as often as any other, in an order that the seed gives.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{raw_http, wrong_json};
use crate::support::provider::{Api, CustomAnswer, Fault, Right, Then};

/// One way to answer.
#[derive(Clone)]
pub struct Kind {
    /// As the report names it.
    pub name: String,
    pub fault: Fault,
    pub expectation: Expectation,
    only: Option<Api>,
}

/// What an answer is worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expectation {
    /// Nothing of it may be used.
    Wrong,
    /// It must be used.
    Right,
    /// True vectors in a form that may be taken or left.
    Doubtful,
}

impl Kind {
    /// An answer of the test's own making.
    pub fn custom(what: &'static str, make: fn(&Right, &str) -> Vec<u8>, worth: Expectation) -> Self {
        let craft = CustomAnswer { what, make, then: Then::GoOn, right: worth == Expectation::Right };
        Self {
            name: format!("crafted: {what:?}"),
            fault: Fault::Custom(craft),
            expectation: worth,
            only: None,
        }
    }

    /// The same, with another end.
    pub fn then(mut self, then: Then) -> Self {
        if let Fault::Custom(craft) = &mut self.fault {
            craft.then = then;
            self.name = format!("crafted: {:?}, then {then:?}", craft.what);
        }
        self
    }

    /// The same, and the connection is closed where it is one of these.
    pub fn closing(self, these: &[&str]) -> Self {
        let closes = matches!(&self.fault, Fault::Custom(craft) if these.contains(&craft.what));
        if closes { self.then(Then::Close) } else { self }
    }

    /// The same, for this protocol alone.
    pub fn only(mut self, api: Api) -> Self {
        self.only = Some(api);
        self
    }

    fn known(name: &str, fault: Fault, worth: Expectation) -> Self {
        Self { name: name.to_owned(), fault, expectation: worth, only: None }
    }
}

/// A whole answer of status 200; `more` are headers, each with its line end.
pub fn http(more: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// Faults that the provider speaks by itself.
fn spoken(elsewhere: &str) -> Vec<Kind> {
    let limited = |retry_info, retry_after: Option<&str>| Fault::RateLimited {
        retry_info,
        retry_after: retry_after.map(str::to_owned),
    };
    let wrong = [
        limited(None, None),
        limited(Some("0s"), None),
        limited(Some("0.02s"), None),
        limited(Some("3600s"), None),
        limited(Some("-3s"), None),
        limited(Some("18446744073709551615s"), None),
        limited(Some("1e300s"), None),
        limited(Some("soon"), None),
        limited(None, Some("0")),
        limited(None, Some("0.03")),
        limited(None, Some("-1")),
        limited(None, Some("18446744073709551615")),
        limited(None, Some("Wed, 21 Oct 2015 07:28:00 GMT")),
        limited(None, Some("Fri, 31 Dec 9999 23:59:59 GMT")),
        Fault::PerDayQuota,
        Fault::InsufficientQuota,
        Fault::ServerError(500),
        Fault::ServerError(502),
        Fault::ServerError(503),
        Fault::ServerError(504),
        Fault::Status(401, "who are you".to_owned()),
        Fault::Status(402, String::new()),
        Fault::Status(408, String::new()),
        Fault::Status(500, "{\"error\": [".repeat(50_000)),
        Fault::Status(503, "\u{1b}[31m\r\nINFO forged ".repeat(50_000)),
        Fault::KeyInvalid,
        Fault::KeyEchoed,
        Fault::Forbidden,
        Fault::ModelNotFound,
        Fault::InvalidArgument,
        Fault::Hang,
        Fault::ResetBeforeAnswer,
        Fault::CloseBeforeAnswer,
        Fault::CutOffBody,
        Fault::StallInBody,
        Fault::FewerVectors(1),
        Fault::MoreVectors(1),
        Fault::MoreVectors(500),
        Fault::WrongDimension(31),
        Fault::WrongDimension(3072),
        Fault::GarbageBody,
        Fault::HugeBody(1 << 20),
        Fault::HugeBody(64 << 20),
        Fault::ErrorInside200,
        Fault::EmptyBody,
        Fault::Redirect(elsewhere.to_owned()),
    ];
    let right = [
        Fault::NumbersAsStrings,
        Fault::ReorderedIndices,
        Fault::SlowDrip { bytes: 300, every: Duration::from_millis(2) },
    ];
    let named = |fault: Fault, worth| {
        // In Gemini's answers nothing has an index, and one text alone is never out of order.
        let indexed = matches!(fault, Fault::ReorderedIndices | Fault::DuplicateIndices);
        let name: String = format!("{fault:?}").chars().take(60).collect();
        let kind = Kind::known(&name, fault, worth);
        if indexed { kind.only(Api::OpenAi) } else { kind }
    };
    let right = right.into_iter().map(|fault| named(fault, Expectation::Right));
    // Of one text alone it is the truth.
    let doubtful = [named(Fault::DuplicateIndices, Expectation::Doubtful)];
    wrong.into_iter().map(|fault| named(fault, Expectation::Wrong)).chain(right).chain(doubtful).collect()
}

/// All kinds for one protocol, dealt in turn.
pub struct FaultSet {
    kinds: Vec<Kind>,
    /// Places of kinds still to be dealt, the next one last.
    left: Vec<usize>,
    lot: fastrand::Rng,
    /// How often each was dealt.
    pub times_chosen: BTreeMap<String, usize>,
}

impl FaultSet {
    /// The kinds for `api`; redirects lead to `elsewhere`.
    pub fn new(api: Api, elsewhere: &str, seed: u64) -> Self {
        let all = [
            spoken(elsewhere),
            wrong_json::wrong_answers(),
            wrong_json::doubtful_answers(),
            raw_http::raw_answers(),
        ]
        .concat();
        let mine = all.into_iter().enumerate();
        let mine = mine.filter(|(_, kind)| kind.only.is_none_or(|only| only == api));
        let (places, kinds): (Vec<usize>, Vec<Kind>) = mine.unzip();
        let dealt = kinds.iter().map(|kind| (kind.name.clone(), 0)).collect();
        let mut deck =
            Self { kinds, left: Vec::new(), lot: fastrand::Rng::with_seed(seed), times_chosen: dealt };
        deck.shuffle();
        // Each protocol begins with another half, so that half a deck of each is a whole one.
        deck.left.sort_by_key(|nth| places[*nth].is_multiple_of(2) == (api == Api::Gemini));
        deck
    }

    fn shuffle(&mut self) {
        self.left = (0..self.kinds.len()).collect();
        self.lot.shuffle(&mut self.left);
    }

    /// The next kind.
    pub fn next(&mut self) -> Kind {
        if self.left.is_empty() {
            self.shuffle();
        }
        let kind = self.kinds[self.left.pop().expect("it was just filled")].clone();
        *self.times_chosen.entry(kind.name.clone()).or_default() += 1;
        kind
    }
}
