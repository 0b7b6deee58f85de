//! Threads that are refused, that panic, and that are no longer wanted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn both_are_done_and_each_gives_its_own() {
    for is_worth_it in [false, true] {
        let mut list = vec![1];
        assert_eq!(join(is_worth_it, || list.push(2), || "second"), ((), "second"));
        assert_eq!(list, [1, 2]);
    }
}

#[test]
fn a_panic_in_a_thread_resumes_in_the_caller() {
    let message = |run: &mut dyn FnMut()| {
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        *panic.downcast::<&str>().unwrap()
    };

    assert_eq!(message(&mut || _ = join(true, || panic!("joined"), || ())), "joined");
    assert_eq!(message(&mut || SpawnedTask::start("task", &Stop::new(), |_| panic!("task")).join()), "task");
    let background = || Background::start("background", 1, |_: Receiver<()>| panic!("background")).unwrap();
    assert_eq!(message(&mut || background().finish()), "background");
    let mut take_all = || {
        let mut workers = Workers::new("worker", 2, 1, |n: u32| if n == 3 { panic!("worker") } else { n });
        let taken = (0..100).filter_map(|n| workers.push(n)).count();
        unreachable!("{taken} results");
    };
    assert_eq!(message(&mut take_all), "worker");
}

#[test]
fn a_lock_outlives_a_panic_of_its_holder() {
    let mutex = Mutex::new(1);
    let panic = catch_unwind(AssertUnwindSafe(|| {
        let _held = lock(&mutex);
        panic!("while it is held");
    }));

    assert!(panic.is_err() && mutex.is_poisoned());
    assert_eq!(*lock(&mutex), 1);
}

#[test]
fn results_come_back_in_the_order_of_the_items() {
    // With no thread at all, as on a host with one processor, and with several.
    for (max_threads, items) in [(0, 50), (1, 50), (4, 0), (4, 1), (4, 1000)] {
        let under_way = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (mine, seen) = (Arc::clone(&under_way), Arc::clone(&most));
        let mut workers = Workers::new("worker", max_threads, 3, move |n: usize| {
            seen.fetch_max(mine.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            n * 2
        });

        let mut results = Vec::new();
        let mut keep = |result: Option<usize>| {
            result.map(|result| {
                under_way.fetch_sub(1, Ordering::SeqCst);
                results.push(result);
            })
        };
        for n in 0..items {
            keep(workers.push(n));
        }
        while keep(workers.take()).is_some() {}

        assert_eq!(results, (0..items).map(|n| n * 2).collect::<Vec<_>>(), "{max_threads} threads");
        assert!(
            most.load(Ordering::SeqCst) <= 3 * max_threads.max(1) + 1,
            "{most:?} of {max_threads} threads"
        );
    }
}

#[test]
fn workers_that_are_dropped_leave_no_thread() {
    let shared = Arc::new(());
    let held = Arc::clone(&shared);
    let mut workers = Workers::new("worker", 4, 100, move |n: u32| {
        assert!(Arc::strong_count(&held) > 1);
        n
    });
    for n in 0..100 {
        workers.push(n);
    }

    drop(workers);

    assert_eq!(Arc::strong_count(&shared), 1);
}

#[test]
fn a_background_consumer_gets_all_items_in_order_and_refuses_what_exceeds_its_queue() {
    let (open, door) = channel::<()>();
    let consume = move |items: Receiver<u32>| {
        door.recv().ok();
        items.into_iter().collect::<Vec<_>>()
    };
    let background = Background::start("background", 2, consume).unwrap();

    assert_eq!([1, 2, 3].map(|n| background.try_send(n)), [Ok(()), Ok(()), Err(3)]);
    drop(open);
    background.send(4);

    assert_eq!(background.finish(), [1, 2, 4]);
}

#[test]
fn a_task_is_asked_to_stop_when_it_is_dropped_or_its_owner_is() {
    let wait = |stop: &Stop| {
        while stop.check().is_ok() {
            thread::yield_now();
        }
        "stopped"
    };
    let stop = Stop::new();
    let task = SpawnedTask::start("task", &stop, wait);
    stop.request();
    assert_eq!(task.join(), "stopped");

    let (ended, end) = channel();
    let stop = Stop::new();
    let task = SpawnedTask::start("task", &stop, move |stop| ended.send(wait(stop)));
    drop(task);
    assert_eq!((end.recv(), stop.is_requested()), (Ok("stopped"), false));
}

#[test]
fn a_task_without_a_thread_runs_when_its_result_is_needed() {
    let (_stop, guard) = Stop::new().child();
    let task = SpawnedTask { work: SpawnedWork::Deferred(Box::new(|| 7)), _stop_on_drop: guard };

    assert_eq!(task.join(), 7);
}
