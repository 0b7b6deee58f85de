//! Two pieces of work at a time where a second thread can be had, one after the other where none can.

use std::sync::{Mutex, PoisonError};

/// Does both, and gives what each came to.
pub(super) fn both<A: Send, B>(beside: impl FnOnce() -> A + Send, here: impl FnOnce() -> B) -> (A, B) {
    let waiting = Mutex::new(Some(beside));
    let work = || {
        let work = waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.expect("taken by the thread, or here where there is none")()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("beside".to_owned()).spawn_scoped(scope, work);
        let done = here();
        let other = match thread {
            // A panic there is our own bug and goes on here.
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_none_to_be_had) => work(),
        };
        (other, done)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_done_and_each_gives_its_own() {
        let mut list = vec![1];
        assert_eq!(both(|| list.push(2), || "here"), ((), "here"));
        assert_eq!(list, [1, 2]);
    }
}
