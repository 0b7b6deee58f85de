//! How often a provider goes wrong, and what it deals then.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::kinds::{Deck, Worth};
use crate::support::provider::{Fault, Provider};

/// A request with this word in a text is refused while the weather has poison in it.
pub const POISON: &str = "poison";

/// How the provider is disposed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    /// How many of a hundred requests go wrong.
    pub odds: u32,
    /// So many requests from now on get a 429.
    pub burst: u32,
    /// The longest wait before an answer, in milliseconds.
    pub latency: u64,
    /// Whether poisoned texts are refused.
    pub poison: bool,
}

/// What the dealer of answers knows, and what it wrote down.
pub struct Dealer {
    pub weather: Weather,
    lot: fastrand::Rng,
    /// What each request's answer was worth, in the order in which they came.
    pub worths: Vec<Worth>,
    /// What was dealt last.
    pub last: VecDeque<String>,
}

impl Dealer {
    /// Stands before a provider: from now on it answers as the weather has it, which is fair at first.
    pub fn before(provider: &Provider, deck: Arc<Mutex<Deck>>, seed: u64) -> Arc<Mutex<Self>> {
        let lot = fastrand::Rng::with_seed(seed);
        let dealer = Self { weather: Weather::default(), lot, worths: Vec::new(), last: VecDeque::new() };
        let dealer = Arc::new(Mutex::new(dealer));
        let deals = Arc::clone(&dealer);
        provider.deal(move |seen| deals.lock().unwrap().deal(&deck, &seen.texts));
        dealer
    }

    /// Draws the answer to a request for these texts.
    fn deal(&mut self, deck: &Mutex<Deck>, texts: &[String]) -> (Option<Fault>, Duration) {
        let Weather { odds, burst, latency, poison } = self.weather;
        let latency = Duration::from_millis(self.lot.u64(..=latency));
        let (fault, worth) = if poison && texts.iter().any(|text| text.contains(POISON)) {
            (Some(Fault::InvalidArgument), Worth::Wrong)
        } else if burst > 0 {
            self.weather.burst -= 1;
            let retry_info = [None, Some("0s"), Some("0.01s")][self.lot.usize(..3)];
            let retry_after =
                [None, Some("0".to_owned()), Some("0.02".to_owned())][self.lot.usize(..3)].clone();
            (Some(Fault::RateLimited { retry_info, retry_after }), Worth::Wrong)
        } else if self.lot.u32(..100) < odds {
            let kind = deck.lock().unwrap().next();
            self.last.truncate(9);
            self.last.push_front(kind.name);
            (Some(kind.fault), kind.worth)
        } else {
            (None, Worth::Right)
        };
        self.worths.push(worth);
        (fault, latency)
    }
}
