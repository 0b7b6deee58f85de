//! Every kind of faulty answer, and the set that chooses among them.
//!
//! A set is shuffled and used to its end before it is shuffled again, so that all
//! kinds occur about equally often, in an order that depends on the seed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{raw_http, wrong_json};
use crate::support::provider::{Api, CustomAnswer, Fault, Right, Then};

/// One way to answer.
#[derive(Clone)]
pub struct Kind {
    /// Its name in the report.
    pub name: String,
    pub fault: Fault,
    pub expectation: Expectation,
    only: Option<Api>,
}

/// What the agent must do with an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expectation {
    /// Nothing of it may be used.
    Wrong,
    /// It must be used.
    Right,
    /// Right vectors in a form that may be accepted or refused.
    Doubtful,
}

impl Kind {
    /// An answer that the test makes itself.
    pub fn custom(what: &'static str, make: fn(&Right, &str) -> Vec<u8>, expectation: Expectation) -> Self {
        let custom = CustomAnswer { what, make, then: Then::GoOn, right: expectation == Expectation::Right };
        Self { name: format!("custom: {what:?}"), fault: Fault::Custom(custom), expectation, only: None }
    }

    /// The same, with another end.
    pub fn then(mut self, then: Then) -> Self {
        if let Fault::Custom(custom) = &mut self.fault {
            custom.then = then;
            self.name = format!("custom: {:?}, then {then:?}", custom.what);
        }
        self
    }

    /// The same, and the connection is closed afterwards if it is one of these.
    pub fn closing(self, these: &[&str]) -> Self {
        let closes = matches!(&self.fault, Fault::Custom(custom) if these.contains(&custom.what));
        if closes { self.then(Then::Close) } else { self }
    }

    /// The same, for this protocol only.
    pub fn only(mut self, api: Api) -> Self {
        self.only = Some(api);
        self
    }

    fn known(name: &str, fault: Fault, expectation: Expectation) -> Self {
        Self { name: name.to_owned(), fault, expectation, only: None }
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

/// Rate limits with every form of a wait, right and wrong.
fn rate_limits() -> Vec<Fault> {
    let limited = |retry_info, retry_after: Option<&str>| Fault::RateLimited {
        retry_info,
        retry_after: retry_after.map(str::to_owned),
    };
    vec![
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
    ]
}

/// Faults that the provider makes by itself.
fn provider_faults(elsewhere: &str) -> Vec<Kind> {
    let wrong = [
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
    let named = |fault: Fault, expectation| {
        // Gemini's answers have no indices, and a single text is never out of order.
        let indexed = matches!(fault, Fault::ReorderedIndices | Fault::DuplicateIndices);
        let name: String = format!("{fault:?}").chars().take(60).collect();
        let kind = Kind::known(&name, fault, expectation);
        if indexed { kind.only(Api::OpenAi) } else { kind }
    };
    let right = right.into_iter().map(|fault| named(fault, Expectation::Right));
    // For a single text it is the right answer.
    let doubtful = [named(Fault::DuplicateIndices, Expectation::Doubtful)];
    let wrong = rate_limits().into_iter().chain(wrong);
    wrong.map(|fault| named(fault, Expectation::Wrong)).chain(right).chain(doubtful).collect()
}

/// All kinds for one protocol, chosen in turn.
pub struct FaultSet {
    kinds: Vec<Kind>,
    /// Places of the kinds that are not chosen yet, the next one last.
    left: Vec<usize>,
    random: fastrand::Rng,
    /// How often each was chosen.
    pub times_chosen: BTreeMap<String, usize>,
}

impl FaultSet {
    /// The kinds for `api`; redirects lead to `elsewhere`.
    pub fn new(api: Api, elsewhere: &str, seed: u64) -> Self {
        let all = [
            provider_faults(elsewhere),
            wrong_json::wrong_answers(),
            wrong_json::doubtful_answers(),
            raw_http::raw_answers(),
        ]
        .concat();
        let mine = all.into_iter().enumerate();
        let mine = mine.filter(|(_, kind)| kind.only.is_none_or(|only| only == api));
        let (places, kinds): (Vec<usize>, Vec<Kind>) = mine.unzip();
        let times_chosen = kinds.iter().map(|kind| (kind.name.clone(), 0)).collect();
        let mut set = Self { kinds, left: Vec::new(), random: fastrand::Rng::with_seed(seed), times_chosen };
        set.shuffle();
        // Each protocol begins with another half, so that half a set of each is a whole one.
        set.left.sort_by_key(|nth| places[*nth].is_multiple_of(2) == (api == Api::Gemini));
        set
    }

    fn shuffle(&mut self) {
        self.left = (0..self.kinds.len()).collect();
        self.random.shuffle(&mut self.left);
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
