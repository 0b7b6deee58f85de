//! Lines that are read, not read, and read again.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const SOON: Duration = Duration::from_secs(30);

/// A queue whose reader takes one line for each message to it.
struct QueueWorld {
    queue: LogQueue<Vec<u8>>,
    read_one: Sender<()>,
    written: Receiver<Vec<u8>>,
    lost: Receiver<u64>,
}

impl QueueWorld {
    fn new() -> Self {
        let ((read_one, reads), (writes, written), (losses, lost)) = (channel(), channel(), channel());
        let reads = Mutex::new(reads);
        let write = move |line: &Vec<u8>| {
            if lock(&reads).recv().is_ok() {
                writes.send(line.clone()).ok();
            }
        };
        let queue = LogQueue::start(write, move |count| _ = losses.send(count));
        Self { queue, read_one, written, lost }
    }

    fn read(&self, count: usize) -> Vec<Vec<u8>> {
        (0..count).for_each(|_| self.read_one.send(()).unwrap());
        (0..count).map(|_| self.written.recv_timeout(SOON).unwrap()).collect()
    }
}

fn line(number: usize) -> Vec<u8> {
    number.to_string().into_bytes()
}

#[test]
fn lines_are_written_in_their_order_and_a_flush_waits_for_them() {
    let world = QueueWorld::new();
    (0..10).for_each(|number| world.queue.push(line(number)));

    assert_eq!(world.read(10), (0..10).map(line).collect::<Vec<_>>());
    world.queue.flush(SOON);

    assert_eq!(lock(&world.queue.0.state.counts).lines, 0);
    assert!(world.lost.try_recv().is_err(), "nothing was lost");
}

#[test]
fn a_reader_that_stands_still_delays_no_line_and_no_end() {
    let world = QueueWorld::new();

    (0..MAX_LINES + 500).for_each(|number| world.queue.push(line(number)));
    world.queue.flush(Duration::from_millis(1));

    let counts = lock(&world.queue.0.state.counts);
    assert_eq!((counts.lines, counts.lost), (MAX_LINES, 500));
}

#[test]
fn lost_lines_are_counted_and_reported_once_when_there_is_room_again() {
    let world = QueueWorld::new();
    (0..MAX_LINES + 7).for_each(|number| world.queue.push(line(number)));

    assert_eq!(world.read(MAX_LINES).last(), Some(&line(MAX_LINES - 1)));

    assert_eq!(world.lost.recv_timeout(SOON), Ok(7));
    world.queue.push(line(1));
    assert_eq!(world.read(1), [line(1)]);
    world.queue.flush(SOON);
    assert!(world.lost.try_recv().is_err(), "reported once");
}

#[test]
fn waiting_lines_are_bounded_in_bytes_too() {
    let world = QueueWorld::new();
    (0..10).for_each(|_| world.queue.push(vec![b'x'; MAX_BYTES / 4]));

    let counts = lock(&world.queue.0.state.counts);

    assert_eq!((counts.lines, counts.bytes, counts.lost), (4, MAX_BYTES, 6));
}
