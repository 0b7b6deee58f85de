//! How often a provider fails, and with which faults.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fault_kinds::{Expectation, FaultSet};
use crate::support::provider::{Fault, Provider, Seen};

/// A request with this word in a text is refused while [`FaultRate::refuses_text`] is set.
pub const FAILING_TEXT: &str = "poison";

/// How often and how the provider fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRate {
    /// How many of a hundred requests fail.
    pub odds: u32,
    /// How many requests from now on get a 429.
    pub burst: u32,
    /// The longest wait before an answer, in milliseconds.
    pub latency: u64,
    /// Whether requests with [`FAILING_TEXT`] are refused.
    pub refuses_text: bool,
}

/// How a request was answered.
#[derive(Clone, Debug)]
pub struct ChosenFault {
    /// The name of the kind; right answers have none.
    pub kind: String,
    pub expectation: Expectation,
    /// Whether its connection had a custom answer before.
    pub after_odd: bool,
}

/// Chooses the answers, and records its choices.
pub struct FaultSource {
    pub rate: FaultRate,
    random: fastrand::Rng,
    /// How each request was answered, in the order of arrival.
    pub chosen: Vec<ChosenFault>,
    /// Connections with a custom answer: how a client reads their next answer is unknown.
    odd: HashSet<usize>,
}

impl FaultSource {
    /// Makes a provider answer by its rate from now on; at first it does not fail.
    pub fn before(provider: &Provider, kinds: Arc<Mutex<FaultSet>>, seed: u64) -> Arc<Mutex<Self>> {
        let random = fastrand::Rng::with_seed(seed);
        let source = Self { rate: FaultRate::default(), random, chosen: Vec::new(), odd: HashSet::new() };
        let source = Arc::new(Mutex::new(source));
        let shared = Arc::clone(&source);
        provider.schedule(move |seen| shared.lock().unwrap().next_fault(&kinds, seen));
        source
    }

    /// Chooses the answer to a request.
    fn next_fault(&mut self, kinds: &Mutex<FaultSet>, seen: &Seen) -> (Option<Fault>, Duration) {
        let FaultRate { odds, burst, latency, refuses_text } = self.rate;
        let latency = Duration::from_millis(self.random.u64(..=latency));
        let after_odd = self.odd.contains(&seen.connection);
        let mut chosen = ChosenFault { kind: String::new(), expectation: Expectation::Wrong, after_odd };
        let fault = if refuses_text && seen.texts.iter().any(|text| text.contains(FAILING_TEXT)) {
            Some(Fault::InvalidArgument)
        } else if burst > 0 {
            self.rate.burst -= 1;
            let retry_info = [None, Some("0s"), Some("0.01s")][self.random.usize(..3)];
            let retry_after =
                [None, Some("0".to_owned()), Some("0.02".to_owned())][self.random.usize(..3)].clone();
            Some(Fault::RateLimited { retry_info, retry_after })
        } else if self.random.u32(..100) < odds {
            let kind = kinds.lock().unwrap().next();
            chosen = ChosenFault { kind: kind.name, expectation: kind.expectation, after_odd };
            if matches!(kind.fault, Fault::Custom(_)) {
                self.odd.insert(seen.connection);
            }
            Some(kind.fault)
        } else {
            chosen.expectation = Expectation::Right;
            None
        };
        self.chosen.push(chosen);
        (fault, latency)
    }
}
