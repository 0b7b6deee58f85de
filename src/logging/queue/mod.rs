//! Log lines that wait until standard error or the journal takes them.
//!
//! A pipe that is not drained and a journal behind a slow disk stop their
//! writer. So lines are written by a thread: what logs never waits. The queue
//! is bounded in lines and bytes. A line that it cannot take is lost and
//! counted, and the count is reported once, when lines are written again.

use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use crate::domain::parallel::{Background, lock};

/// Lines that wait at most: a build's story is some tens.
const MAX_LINES: usize = 1024;
/// Bytes in these lines at most.
const MAX_BYTES: usize = 4 << 20;

/// One line, or one entry of the journal.
pub(super) trait LogLine: Send + 'static {
    /// About how much memory it takes.
    fn bytes(&self) -> usize;
}

impl LogLine for Vec<u8> {
    fn bytes(&self) -> usize {
        self.len()
    }
}

/// A queue and the thread that empties it; clones share both.
pub(super) struct LogQueue<T>(Arc<QueueEnds<T>>);

struct QueueEnds<T> {
    /// `None` if the system refused a thread: lines are written by the caller.
    thread: Option<Background<T, ()>>,
    state: Arc<QueueState>,
    write: Arc<dyn Fn(&T) + Send + Sync>,
}

#[derive(Default)]
struct QueueState {
    counts: Mutex<QueueCounts>,
    emptied: Condvar,
}

#[derive(Default)]
struct QueueCounts {
    /// Lines in the queue, the one that is being written included.
    lines: usize,
    bytes: usize,
    lost: u64,
}

impl<T> Clone for LogQueue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: LogLine> LogQueue<T> {
    /// `write` may wait; `report_lost` is called from the same thread and may log.
    pub(super) fn start(
        write: impl Fn(&T) + Send + Sync + 'static,
        report_lost: impl Fn(u64) + Send + 'static,
    ) -> Self {
        let (state, write) = (Arc::<QueueState>::default(), Arc::new(write));
        let (thread_state, thread_write) = (Arc::clone(&state), Arc::clone(&write));
        let thread = Background::start("log", MAX_LINES, move |lines| {
            for line in lines {
                thread_write(&line);
                if let Some(lost) = thread_state.written(line.bytes()) {
                    report_lost(lost);
                }
            }
        });
        Self(Arc::new(QueueEnds { thread, state, write }))
    }

    /// Never waits, unless the system refused the thread.
    pub(super) fn push(&self, line: T) {
        let QueueEnds { thread, state, write } = &*self.0;
        let Some(thread) = thread else { return write(&line) };
        if state.admit(line.bytes()) {
            // There is room: what is counted is never more than what the thread's queue takes.
            thread.try_send(line).ok();
        }
    }

    /// Lines that were lost and not yet reported.
    #[cfg(test)]
    pub(super) fn lost(&self) -> u64 {
        lock(&self.0.state.counts).lost
    }

    /// Waits until every line is written, for this long at most.
    pub(super) fn flush(&self, limit: Duration) {
        let QueueState { counts, emptied } = &*self.0.state;
        // Whether it was in time makes no difference: the process ends.
        drop(emptied.wait_timeout_while(lock(counts), limit, |counts| counts.lines > 0));
    }
}

impl QueueState {
    /// Counts a line that there is room for; counts it as lost where there is none.
    fn admit(&self, bytes: usize) -> bool {
        let mut counts = lock(&self.counts);
        // One line of any length: it is cut where it is sent, and not lost.
        let has_room = counts.lines < MAX_LINES && (counts.lines == 0 || counts.bytes + bytes <= MAX_BYTES);
        if has_room {
            counts.lines += 1;
            counts.bytes += bytes;
        } else {
            counts.lost += 1;
        }
        has_room
    }

    /// A line has left the queue. The number of lost lines, once there is room to report it.
    fn written(&self, bytes: usize) -> Option<u64> {
        let mut counts = lock(&self.counts);
        counts.lines -= 1;
        counts.bytes -= bytes;
        if counts.lines == 0 {
            self.emptied.notify_all();
        }
        let has_room = counts.lines <= MAX_LINES / 2 && counts.bytes <= MAX_BYTES / 2;
        (has_room && counts.lost > 0).then(|| std::mem::take(&mut counts.lost))
    }
}

/// Writes the lines of the formatting layer into the queue.
pub(super) struct QueueWriter(pub(super) LogQueue<Vec<u8>>);

impl<'w> MakeWriter<'w> for QueueWriter {
    type Writer = LineWriter<'w>;

    fn make_writer(&'w self) -> LineWriter<'w> {
        LineWriter(&self.0)
    }
}

/// The layer writes each line at once and as a whole.
pub(super) struct LineWriter<'w>(&'w LogQueue<Vec<u8>>);

impl io::Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
