//! Keeps other hosts away while a lock is held, however long its holder computes or waits.
//!
//! The note of the lock is renewed by a task on the runtime, and the writing on
//! a thread that the runtime has already: a pass that may start no thread goes
//! on, and a disk that does not answer holds up this task alone.

use tokio::runtime::Handle;
use tokio::task::{AbortHandle, spawn_blocking};

use crate::adapters::builds::lock::PassLock;
use crate::decide::other_host::RENEWAL_INTERVAL;

/// Ends the renewal when it is dropped.
pub struct LockRenewal(Option<AbortHandle>);

/// Begins to renew the note of this lock.
#[must_use]
pub fn renew(runtime: &Handle, lock: &PassLock) -> LockRenewal {
    LockRenewal(lock.renewal().map(|renewal| {
        let renew_each_minute = async move {
            loop {
                tokio::time::sleep(RENEWAL_INTERVAL).await;
                let renewal = renewal.clone();
                if spawn_blocking(move || renewal.renew()).await.is_err() {
                    return;
                }
            }
        };
        runtime.spawn(renew_each_minute).abort_handle()
    }))
}

impl Drop for LockRenewal {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::adapters::builds::Builds;

    #[tokio::test(start_paused = true)]
    async fn the_note_of_a_lock_is_renewed_until_the_renewal_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let [index, metadata] = ["faiss.index", "metadata.json"].map(|name| folder.path().join(name));
        let builds = Builds::at(&index, &metadata).unwrap();
        let lock = builds.lock().unwrap().unwrap();
        let note = builds.layout.private.join("lock.host");
        let age = || {
            File::options().write(true).open(&note).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        let is_old = || note.metadata().unwrap().modified().unwrap() == SystemTime::UNIX_EPOCH;

        let renewal = renew(&Handle::current(), &lock);
        for _ in 0..2 {
            age();
            tokio::time::timeout(2 * RENEWAL_INTERVAL, async {
                while is_old() {
                    tokio::time::sleep(RENEWAL_INTERVAL / 60).await;
                }
            })
            .await
            .expect("renewed within two minutes");
        }
        drop(renewal);
        age();
        tokio::time::sleep(3 * RENEWAL_INTERVAL).await;
        assert!(is_old());
    }
}
