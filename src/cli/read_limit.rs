//! Ends a command that only looks, where a file system does not answer it.
//!
//! A call to a dead network disk returns when the disk does, and no thread that
//! made it can be ended. So a thread beside it watches for signs of life, and
//! ends the process after [`READ_LIMIT`] without one. How long a table takes to
//! read is not limited: each of its steps is a sign of life.

use std::io;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::domain::parallel::{lock, start_detached};

/// Longer than a lock of the database is waited for.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(20);

/// What is read, and when there was last a sign that the reading goes on.
#[derive(Clone)]
pub(super) struct ReadLimit {
    reading: Arc<Mutex<(String, Instant)>>,
    /// The watch ends with the last of them.
    _over: Sender<()>,
}

impl ReadLimit {
    /// `give_up` is called with what was being read, once there was no sign of life for `limit`.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread.
    pub(super) fn start(limit: Duration, give_up: impl FnOnce(&str) + Send + 'static) -> io::Result<Self> {
        let reading = Arc::new(Mutex::new(("the settings".to_owned(), Instant::now())));
        let watched = Arc::clone(&reading);
        let (sender, over) = channel();
        start_detached("read limit", move || {
            loop {
                let (what, last) = lock(&watched).clone();
                let left = limit.saturating_sub(last.elapsed());
                if left.is_zero() {
                    return give_up(&what);
                }
                if over.recv_timeout(left) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        })?;
        Ok(Self { reading, _over: sender })
    }

    /// Something else is read from now on.
    pub(super) fn begin(&self, path: &Path) {
        *lock(&self.reading) = (path.display().to_string(), Instant::now());
    }

    /// A sign of life.
    pub(super) fn beat(&self) {
        lock(&self.reading).1 = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_without_a_sign_of_life_ends_with_its_path() {
        let (sender, named) = channel();
        let give_up = move |what: &str| drop(sender.send(what.to_owned()));
        let limit = ReadLimit::start(Duration::from_millis(200), give_up).unwrap();
        limit.begin(Path::new("/data/experts.db"));
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(600) {
            assert!(named.try_recv().is_err(), "there are signs of life");
            limit.beat();
            std::thread::yield_now();
        }

        assert_eq!(named.recv_timeout(Duration::from_secs(30)).unwrap(), "/data/experts.db");
    }

    #[test]
    fn a_reading_that_has_ended_is_not_named() {
        let (sender, named) = channel::<()>();
        let limit = ReadLimit::start(Duration::from_secs(3600), move |_| {
            sender.send(()).ok();
        })
        .unwrap();
        drop(limit);

        // The thread has ended and taken its sender with it.
        assert_eq!(named.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected));
    }
}
