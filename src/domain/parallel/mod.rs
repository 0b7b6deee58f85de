//! Threads: the ways in which work is spread over them.
//!
//! [`join`] runs two closures, [`Workers`] one function over many items in
//! their order, [`Background`] consumes items while more of them are made, and
//! [`SpawnedTask`] runs ahead of the moment when its result is needed.
//!
//! A panic in a thread is a bug of ours and resumes in the caller. A thread
//! that the system refuses is not an error: the work then runs in the caller.
//! Whether work is large enough for a thread is decided by the caller, beside
//! the figure that says so.

use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use tokio_util::sync::DropGuard;

use crate::domain::stop::Stop;

/// Runs both closures, the first on a second thread if that `is_worth_it`.
pub(crate) fn join<A: Send, B>(
    is_worth_it: bool,
    first: impl FnOnce() -> A + Send,
    second: impl FnOnce() -> B,
) -> (A, B) {
    let first = Mutex::new(Some(first));
    let run_first = || run_once(&first);
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("join".to_owned());
        let thread = if is_worth_it { builder.spawn_scoped(scope, run_first).ok() } else { None };
        let of_second = second();
        let of_first = match thread {
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => run_first(),
        };
        (of_first, of_second)
    })
}

/// Locks a mutex whose content no panic can leave half changed.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that consumes items in their order while the caller makes more of them.
pub(crate) struct Background<T, R> {
    input: SyncSender<T>,
    thread: JoinHandle<R>,
}

impl<T: Send + 'static, R: Send + 'static> Background<T, R> {
    /// Starts the thread, with `capacity` items waiting for it at most; `None` if the system refuses it.
    pub(crate) fn start(
        name: &str,
        capacity: usize,
        consume: impl FnOnce(Receiver<T>) -> R + Send + 'static,
    ) -> Option<Self> {
        let (input, items) = sync_channel(capacity);
        let thread = spawn(name, move || consume(items))?;
        Some(Self { input, thread })
    }

    /// Passes an item on, and waits while `capacity` items wait. A consumer that has ended drops it.
    pub(crate) fn send(&self, item: T) {
        self.input.send(item).ok();
    }

    /// Passes an item on unless `capacity` items wait: it is given back then.
    pub(crate) fn try_send(&self, item: T) -> Result<(), T> {
        match self.input.try_send(item) {
            Err(TrySendError::Full(item)) => Err(item),
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Waits until all items are consumed.
    pub(crate) fn finish(self) -> R {
        drop(self.input);
        join_thread(self.thread)
    }
}

/// Work that was started before its result is needed. Dropped, it is asked to stop.
pub(crate) struct SpawnedTask<T> {
    work: SpawnedWork<T>,
    _stop_on_drop: DropGuard,
}

enum SpawnedWork<T> {
    Thread(JoinHandle<T>),
    /// No thread was available: the work runs when its result is needed.
    Deferred(Box<dyn FnOnce() -> T + Send>),
}

impl<T: Send + 'static> SpawnedTask<T> {
    /// Starts `work` with a stop request that follows `stop`.
    pub(crate) fn start(name: &str, stop: &Stop, work: impl FnOnce(&Stop) -> T + Send + 'static) -> Self {
        let (stop, stop_on_drop) = stop.child();
        let work = Arc::new(Mutex::new(Some(move || work(&stop))));
        let deferred = Arc::clone(&work);
        let work = match spawn(name, move || run_once(&work)) {
            Some(thread) => SpawnedWork::Thread(thread),
            None => SpawnedWork::Deferred(Box::new(move || run_once(&deferred))),
        };
        Self { work, _stop_on_drop: stop_on_drop }
    }

    /// Waits for the result.
    pub(crate) fn join(self) -> T {
        match self.work {
            SpawnedWork::Thread(thread) => join_thread(thread),
            SpawnedWork::Deferred(work) => work(),
        }
    }
}

/// Applies one function to many items; the results come back in the order of the items.
///
/// At most `queue_length` items for each thread are in work or done and not
/// yet taken, so that memory has a limit.
pub(crate) struct Workers<I, O> {
    name: &'static str,
    max_threads: usize,
    queue_length: usize,
    work: Arc<dyn Fn(I) -> O + Send + Sync>,
    /// Started with the first item. Each gets its turn, so that order needs no bookkeeping.
    threads: Option<Vec<Worker<I, O>>>,
    pushed: usize,
    taken: usize,
}

/// A thread that does one item after the other.
struct Worker<I, O> {
    input: Sender<I>,
    output: Receiver<O>,
    thread: JoinHandle<()>,
}

impl<I: Send + 'static, O: Send + 'static> Workers<I, O> {
    /// As many threads as the host has processors and `max_threads` permits: on a host with one none.
    pub(crate) fn new(
        name: &'static str,
        max_threads: usize,
        queue_length: usize,
        work: impl Fn(I) -> O + Send + Sync + 'static,
    ) -> Self {
        let work = Arc::new(work);
        Self { name, max_threads, queue_length, work, threads: None, pushed: 0, taken: 0 }
    }

    /// Adds an item. If the queues are full, waits for the result that is next in order and gives it.
    pub(crate) fn push(&mut self, item: I) -> Option<O> {
        let threads = match &mut self.threads {
            Some(threads) => threads.len(),
            none => none.insert(Worker::start_all(self.name, self.max_threads, &self.work)).len(),
        };
        if threads == 0 {
            return Some((self.work)(item));
        }
        let is_full = self.pushed - self.taken == threads * self.queue_length;
        let result = if is_full { self.take() } else { None };
        if self.worker(self.pushed).input.send(item).is_err() {
            self.resume_panic();
        }
        self.pushed += 1;
        result
    }

    /// Waits for the result that is next in order; `None` once all were taken.
    pub(crate) fn take(&mut self) -> Option<O> {
        if self.taken == self.pushed {
            return None;
        }
        let Ok(result) = self.worker(self.taken).output.recv() else { self.resume_panic() };
        self.taken += 1;
        Some(result)
    }

    fn worker(&self, nth: usize) -> &Worker<I, O> {
        let threads = self.threads.as_deref().expect("started with the first item");
        &threads[nth % threads.len()]
    }

    /// A thread that ended while items are waiting has panicked.
    fn resume_panic(&mut self) -> ! {
        end(self.threads.take());
        unreachable!("a worker ends only after its input")
    }
}

impl<I, O> Drop for Workers<I, O> {
    fn drop(&mut self) {
        // No thread outlives what it works for. One at most finishes the item it has.
        end(self.threads.take());
    }
}

/// Lets threads finish the item they have, and waits for them.
fn end<I, O>(workers: Option<Vec<Worker<I, O>>>) {
    // All of them learn that nothing more is wanted before one is waited for.
    let threads: Vec<_> = workers.into_iter().flatten().map(|worker| worker.thread).collect();
    for thread in threads {
        match thread.join() {
            Err(panic) if !thread::panicking() => std::panic::resume_unwind(panic),
            _ => {}
        }
    }
}

impl<I: Send + 'static, O: Send + 'static> Worker<I, O> {
    fn start_all(name: &str, max_threads: usize, work: &Arc<dyn Fn(I) -> O + Send + Sync>) -> Vec<Self> {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        // More threads than processors would only wait for the caller.
        let wanted = if processors == 1 { 0 } else { processors.min(max_threads) };
        (0..wanted).map_while(|_| Self::start(name, Arc::clone(work))).collect()
    }

    fn start(name: &str, work: Arc<dyn Fn(I) -> O + Send + Sync>) -> Option<Self> {
        let (input, items) = channel();
        let (results, output) = channel();
        let run = move || {
            for item in items {
                if results.send(work(item)).is_err() {
                    // The caller no longer wants results.
                    return;
                }
            }
        };
        Some(Self { input, output, thread: spawn(name, run)? })
    }
}

/// A thread that lasts as long as the process, or as its work.
///
/// # Errors
///
/// If the system refuses it: there is no caller in which this work could run.
pub(crate) fn start_detached(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Option<JoinHandle<T>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).ok()
}

fn join_thread<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Runs work that a thread would have taken, had it started.
fn run_once<T>(work: &Mutex<Option<impl FnOnce() -> T>>) -> T {
    let work = lock(work).take();
    work.expect("taken by the thread, or in the caller if it did not start")()
}

#[cfg(test)]
mod tests;
