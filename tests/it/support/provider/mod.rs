//! A provider of embeddings that a test controls.
//!
//! A real HTTP/1.1 server on loopback. It speaks Gemini's `batchEmbedContents`
//! and `OpenAI`'s `embeddings`, records every request, and fails as a test wants,
//! in each way of [`Fault`]. Its vectors are a pure function of model and text
//! ([`vector`]), so a test knows which numbers an index must have.
//!
//! It is as strict as the services are known to be: 100 texts and 4 MiB for
//! Gemini, the model named in each request, a key in its header, no empty text.
//! Every wait in it ends when the client leaves or the provider is dropped,
//! and no client can make it fail.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "support of test binaries: each uses what it needs, nothing else can"
)]

mod answer;
mod bill;
mod connection;
mod custom_answer;
mod fault;
mod request;
mod request_body;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

pub use answer::vector;
use bill::Bill;
pub use custom_answer::{CustomAnswer, Right, Then};
pub use fault::Fault;
pub use request_body::Api;

/// A running server; dropping it ends its threads and every connection.
pub struct Provider {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// One request as it reached the provider.
#[derive(Debug)]
pub struct Seen {
    /// When its last byte had arrived.
    pub at: Instant,
    /// The number of its connection, from 0: equal numbers mean one that was kept alive.
    pub connection: usize,
    /// `POST`, if the client is ours.
    pub method: String,
    /// The path with its query, if it has one.
    pub path: String,
    /// Names in lower case; values of a repeated name are joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The body, byte for byte.
    pub body: Vec<u8>,
    /// Which of the two it speaks; `None` for a path that neither has.
    pub api: Option<Api>,
    /// The model, without `models/`.
    pub model: String,
    /// The dimension, if it names one.
    pub dimension: Option<usize>,
    /// Gemini's task type, if it names one.
    pub task_type: Option<String>,
    /// The texts, one for each vector of the answer.
    pub texts: Vec<String>,
    outcome: OnceLock<Outcome>,
}

/// How a request was answered.
#[derive(Debug)]
struct Outcome {
    status: u16,
    /// Whether every text got its own vector, complete and right: what a provider charges for.
    right: bool,
    /// How long after the arrival of the request.
    after: Duration,
}

/// Chooses how a request is answered; see [`Provider::schedule`].
type FaultScript = Box<dyn FnMut(&Seen) -> (Option<Fault>, Duration) + Send>;

impl Seen {
    /// The status it was answered with; `None` if it was not (yet).
    pub fn status(&self) -> Option<u16> {
        self.outcome.get().map(|outcome| outcome.status)
    }

    /// Whether every text was answered with its own vector.
    pub fn is_answered(&self) -> bool {
        self.outcome.get().is_some_and(|outcome| outcome.right)
    }

    /// How long it waited until its answer was started; `None` if it was not (yet).
    pub fn answered_after(&self) -> Option<Duration> {
        self.outcome.get().map(|outcome| outcome.after)
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The key, from the header where this API has it.
    pub fn key(&self) -> Option<&str> {
        request_body::key(self.api, &self.headers)
    }

    /// The body as JSON; `null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Provider {
    /// Listens on a free port of the loopback address.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared::default());
        connection::spawn_accepting(listener, &shared).expect("the system gives one more thread");
        Self { address, shared }
    }

    /// What goes before `/v1beta/models/…` and `/v1/embeddings`; no slash at its end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next requests get these faults, in order, after any that are still due.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.change(|state| state.script.extend(faults));
    }

    /// How many faults of the script are not used yet.
    pub fn script_left(&self) -> usize {
        self.shared.lock().script.len()
    }

    /// After the script, every request gets this fault; `None` ends that.
    pub fn always(&self, fault: Option<Fault>) {
        self.shared.change(|state| state.always = fault);
    }

    /// After the script, each request gets the fault that `fault_script` chooses for it, if any, and is
    /// answered no sooner than it says.
    pub fn schedule(&self, fault_script: impl FnMut(&Seen) -> (Option<Fault>, Duration) + Send + 'static) {
        self.shared.change(|state| state.fault_script = Some(Box::new(fault_script)));
    }

    /// A request with a text that contains `part` is refused as an invalid argument, unnamed.
    pub fn fail_text(&self, part: &str) {
        self.shared.change(|state| state.failing_texts.push(part.to_owned()));
    }

    /// Ends every [`Provider::fail_text`].
    pub fn clear_fault(&self) {
        self.shared.change(|state| state.failing_texts.clear());
    }

    /// Any other key, or none, is answered as an invalid one.
    pub fn refuse_key_other_than(&self, key: &str) {
        self.shared.change(|state| state.key = Some(key.to_owned()));
    }

    /// No answer starts sooner than this after its request arrived.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.change(|state| state.latency = latency);
    }

    /// From now on requests are received and recorded, and their answers wait.
    pub fn hold(&self) {
        self.hold_after(0);
    }

    /// Sends `answers` more answers, in the order in which they are ready, and holds the others.
    pub fn hold_after(&self, answers: usize) {
        self.shared.change(|state| state.gate = Some(answers));
    }

    /// Ends [`Provider::hold`]: what waits is answered.
    pub fn release(&self) {
        self.shared.change(|state| state.gate = None);
    }

    /// Every request since the start or the last [`Provider::forget`], as they arrived.
    pub fn requests(&self) -> Vec<Arc<Seen>> {
        self.shared.lock().seen.clone()
    }

    /// How many requests there were.
    pub fn request_count(&self) -> usize {
        self.shared.lock().seen.len()
    }

    /// Every text of every request, as they arrived, repeats included.
    pub fn texts_seen(&self) -> Vec<String> {
        self.requests().iter().flat_map(|seen| seen.texts.iter().cloned()).collect()
    }

    /// How many texts there were, repeats included.
    pub fn text_count(&self) -> usize {
        self.shared.lock().seen.iter().map(|seen| seen.texts.len()).sum()
    }

    /// How often a text was sent.
    pub fn times_sent(&self, text: &str) -> usize {
        count_in(&self.requests(), text)
    }

    /// How often a text was answered with its vector.
    pub fn times_answered(&self, text: &str) -> usize {
        count_in(&self.answered(), text)
    }

    /// The texts that were answered with their vectors more than once, sorted.
    pub fn answered_twice(&self) -> Vec<String> {
        let paid = self.answered();
        let mut times: HashMap<&str, usize> = HashMap::new();
        for text in paid.iter().flat_map(|seen| &seen.texts) {
            *times.entry(text).or_default() += 1;
        }
        let mut twice: Vec<String> =
            times.into_iter().filter(|&(_, times)| times > 1).map(|(text, _)| text.to_owned()).collect();
        twice.sort_unstable();
        twice
    }

    /// Asserts the law of money for what was recorded: texts that left, however they were answered, are at
    /// most those that got a vector and twice what was `planned`, or 200; and none got its vector twice.
    #[track_caller]
    pub fn assert_money(&self, planned: usize) {
        let fault = Bill::of(self.requests().iter().map(Arc::as_ref)).fault(planned);
        assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    /// Lets this provider be sent more than the law of money allows, which is otherwise asserted when it is
    /// dropped, over its whole life.
    pub fn excuse_money(&self, why: &'static str) {
        assert!(!why.is_empty(), "an excuse has a reason");
        self.shared.change(|state| state.excuse = Some(why));
    }

    /// Lets texts get their vector more than once; how many are sent stays bounded.
    pub fn excuse_repeats(&self, why: &'static str) {
        assert!(!why.is_empty(), "an excuse has a reason");
        self.shared.change(|state| state.bill.excuse_repeats());
    }

    /// Asserts the law of money for the life that ends, and begins that of another directory, or of the same
    /// one as it once was. Forgets what was recorded, too.
    #[track_caller]
    pub fn begin_life(&self) {
        self.forget();
        let mut fault = None;
        self.shared.change(|state| {
            let bill = state.close();
            fault = bill.fault(bill.planned()).filter(|_| state.excuse.is_none());
            state.bill = bill.next_life();
        });
        assert!(fault.is_none(), "the law of money is broken: {}", fault.unwrap_or_default());
    }

    /// How many requests have arrived whose answer has not begun and whose client is still there.
    pub fn in_flight(&self) -> usize {
        self.shared.lock().in_flight
    }

    /// The maximum of requests that were in flight together.
    pub fn peak(&self) -> usize {
        self.shared.lock().peak
    }

    /// The maximum of texts that arrived within any period as long as `window`.
    pub fn items_in_window(&self, window: Duration) -> usize {
        let seen = self.requests();
        let (mut first, mut items, mut most) = (0, 0, 0);
        for (place, last) in seen.iter().enumerate() {
            items += last.texts.len();
            while first <= place && last.at.duration_since(seen[first].at) >= window {
                items -= seen[first].texts.len();
                first += 1;
            }
            most = most.max(items);
        }
        most
    }

    /// Forgets what was recorded; script, gate and the rest stay as they are.
    pub fn forget(&self) {
        self.shared.change(|state| {
            // What has no answer yet is counted when it has one, or at the end.
            let (settled, open): (Vec<_>, Vec<_>) =
                state.seen.drain(..).partition(|seen| seen.status().is_some());
            for seen in &settled {
                state.bill.add(seen);
            }
            state.unsettled.extend(open);
            state.peak = state.in_flight;
        });
    }

    /// Waits until `requests` have arrived; false if they have not `within` that time.
    pub fn wait_for_requests(&self, requests: usize, within: Duration) -> bool {
        self.shared.wait_until(within, |state| state.seen.len() >= requests)
    }

    /// Waits until `answers` have been started, refusals too; false if they have not `within` that time.
    pub fn wait_for_answers(&self, answers: usize, within: Duration) -> bool {
        self.shared.wait_until(within, |state| {
            state.seen.iter().filter(|seen| seen.status().is_some()).count() >= answers
        })
    }

    /// Waits until exactly `requests` are in flight; false if they are not `within` that time.
    pub fn wait_for_in_flight(&self, requests: usize, within: Duration) -> bool {
        self.shared.wait_until(within, |state| state.in_flight == requests)
    }

    fn answered(&self) -> Vec<Arc<Seen>> {
        self.requests().into_iter().filter(|seen| seen.is_answered()).collect()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        const MAX_STOP_WAIT: Duration = Duration::from_secs(5);
        let mut open = Vec::new();
        self.shared.change(|state| {
            state.stopping = true;
            open = std::mem::take(&mut state.connections);
        });
        for stream in open.iter().filter_map(Weak::upgrade) {
            stream.shutdown(Shutdown::Both).ok();
        }
        // The accepting thread sleeps in the system until the next connection.
        TcpStream::connect_timeout(&self.address, MAX_STOP_WAIT).ok();
        self.shared.wait_until(MAX_STOP_WAIT, |state| state.threads == 0);
        let mut state = self.shared.lock();
        if std::thread::panicking() || state.excuse.is_some() {
            return;
        }
        let bill = state.close();
        drop(state);
        let fault = bill.fault(bill.planned());
        assert!(fault.is_none(), "the law of money is broken: {}", fault.unwrap_or_default());
    }
}

fn count_in(seen: &[Arc<Seen>], text: &str) -> usize {
    seen.iter().flat_map(|seen| &seen.texts).filter(|&sent| sent == text).count()
}

/// What the test, the accepting thread and the connections share.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    seen: Vec<Arc<Seen>>,
    in_flight: usize,
    peak: usize,
    /// What was forgotten since the start.
    bill: Bill,
    /// The same, of requests that had no answer then.
    unsettled: Vec<Arc<Seen>>,
    /// Why the law of money is not asserted at the end.
    excuse: Option<&'static str>,
    script: VecDeque<Fault>,
    always: Option<Fault>,
    fault_script: Option<FaultScript>,
    failing_texts: Vec<String>,
    key: Option<String>,
    latency: Duration,
    /// How many answers may still go out; `None`: all.
    gate: Option<usize>,
    stopping: bool,
    /// Threads alive, the accepting one included.
    threads: usize,
    /// Weak, because a second owner would keep a socket open that its thread means to reset.
    connections: Vec<Weak<TcpStream>>,
}

impl Shared {
    /// A test that fails elsewhere must not make the server fail too, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_until(&self, within: Duration, met: impl Fn(&State) -> bool) -> bool {
        let (_state, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), within, |state| !met(state))
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }
}

impl State {
    /// What was sent in this life, whatever became of it.
    fn close(&mut self) -> Bill {
        let open = std::mem::take(&mut self.unsettled).into_iter().chain(std::mem::take(&mut self.seen));
        let mut bill = std::mem::take(&mut self.bill);
        for seen in open {
            bill.add(&seen);
        }
        bill
    }

    /// The fault of the answer to this request, if any, and how long the answer waits.
    fn answer_for(&mut self, seen: &Seen, refused: bool) -> (Option<Fault>, Duration) {
        let (chosen, latency) = match &mut self.fault_script {
            Some(fault_script) if seen.api.is_some() && self.script.is_empty() => fault_script(seen),
            _ => (None, self.latency),
        };
        (self.fault_for(seen, refused, chosen), latency)
    }

    fn fault_for(&mut self, seen: &Seen, refused: bool, chosen: Option<Fault>) -> Option<Fault> {
        seen.api?;
        if self.key.is_some() && seen.key() != self.key.as_deref() {
            return Some(Fault::KeyInvalid);
        }
        let refused_text = || {
            seen.texts.iter().any(|text| self.failing_texts.iter().any(|part| text.contains(part.as_str())))
        };
        let refused_text = !refused && refused_text();
        self.script
            .pop_front()
            .or(chosen)
            .or_else(|| self.always.clone())
            .or_else(|| refused_text.then_some(Fault::InvalidArgument))
    }
}
