//! Two pieces of work at a time where it is worth a second thread and one can be had, else one after the other.

use std::sync::{Mutex, PoisonError};

/// Bytes that take longer to read or to hash than a thread takes to begin.
const MIN_BYTES_FOR_THREAD: u64 = 512 << 10;

/// Does both, and gives what each came to. `bytes` are what the smaller of the two works on.
pub(crate) fn join<A: Send, B>(
    bytes: u64,
    beside: impl FnOnce() -> A + Send,
    here: impl FnOnce() -> B,
) -> (A, B) {
    let waiting = Mutex::new(Some(beside));
    let work = || {
        let work = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.expect("taken by the thread, or here where there is none")()
    };
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("beside".to_owned());
        let thread = if bytes < MIN_BYTES_FOR_THREAD { None } else { builder.spawn_scoped(scope, work).ok() };
        let done = here();
        let other = match thread {
            // A panic there is our own bug and goes on here.
            Some(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => work(),
        };
        (other, done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_and_each_gives_its_own() {
        for bytes in [0, MIN_BYTES_FOR_THREAD] {
            let mut list = vec![1];
            assert_eq!(join(bytes, || list.push(2), || "here"), ((), "here"));
            assert_eq!(list, [1, 2]);
        }
    }
}
