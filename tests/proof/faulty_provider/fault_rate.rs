//! How often a provider goes wrong, and what it deals then.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::fault_kinds::{Expectation, FaultSet};
use crate::support::provider::{Fault, Provider, Seen};

/// A request with this word in a text is refused while the weather has poison in it.
pub const FAILING_TEXT: &str = "poison";

/// How the provider is disposed.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultRate {
    /// How many of a hundred requests go wrong.
    pub odds: u32,
    /// So many requests from now on get a 429.
    pub burst: u32,
    /// The longest wait before an answer, in milliseconds.
    pub latency: u64,
    /// Whether poisoned texts are refused.
    pub poison: bool,
}

/// How a request was answered.
#[derive(Clone, Debug)]
pub struct ChosenFault {
    /// The kind, as the deck names it; fair answers have none.
    pub kind: String,
    pub expectation: Expectation,
    /// Whether its connection had carried something odd before.
    pub after_odd: bool,
}

/// What the dealer of answers knows, and what it wrote down.
pub struct FaultSource {
    pub rate: FaultRate,
    lot: fastrand::Rng,
    /// How each request was answered, in the order in which they came.
    pub chosen: Vec<ChosenFault>,
    /// Connections that have carried something odd: nobody knows what their next answer is read as.
    odd: HashSet<usize>,
}

impl FaultSource {
    /// Stands before a provider: from now on it answers as the weather has it, which is fair at first.
    pub fn before(provider: &Provider, deck: Arc<Mutex<FaultSet>>, seed: u64) -> Arc<Mutex<Self>> {
        let lot = fastrand::Rng::with_seed(seed);
        let dealer = Self { rate: FaultRate::default(), lot, chosen: Vec::new(), odd: HashSet::new() };
        let dealer = Arc::new(Mutex::new(dealer));
        let deals = Arc::clone(&dealer);
        provider.schedule(move |seen| deals.lock().unwrap().next_fault(&deck, seen));
        dealer
    }

    /// Draws the answer to a request.
    fn next_fault(&mut self, deck: &Mutex<FaultSet>, seen: &Seen) -> (Option<Fault>, Duration) {
        let FaultRate { odds, burst, latency, poison } = self.rate;
        let latency = Duration::from_millis(self.lot.u64(..=latency));
        let after_odd = self.odd.contains(&seen.connection);
        let mut dealt = ChosenFault { kind: String::new(), expectation: Expectation::Wrong, after_odd };
        let fault = if poison && seen.texts.iter().any(|text| text.contains(FAILING_TEXT)) {
            Some(Fault::InvalidArgument)
        } else if burst > 0 {
            self.rate.burst -= 1;
            let retry_info = [None, Some("0s"), Some("0.01s")][self.lot.usize(..3)];
            let retry_after =
                [None, Some("0".to_owned()), Some("0.02".to_owned())][self.lot.usize(..3)].clone();
            Some(Fault::RateLimited { retry_info, retry_after })
        } else if self.lot.u32(..100) < odds {
            let kind = deck.lock().unwrap().next();
            dealt = ChosenFault { kind: kind.name, expectation: kind.expectation, after_odd };
            if matches!(kind.fault, Fault::Custom(_)) {
                self.odd.insert(seen.connection);
            }
            Some(kind.fault)
        } else {
            dealt.expectation = Expectation::Right;
            None
        };
        self.chosen.push(dealt);
        (fault, latency)
    }
}
