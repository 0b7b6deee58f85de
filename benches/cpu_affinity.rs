//! The cores that the bench and its child processes may use.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

/// One core less, for this process and every process and thread that it starts;
/// dropping it gives the core back.
pub struct OneLess {
    before: CpuSet,
    /// How many cores are left.
    pub left: u32,
}

impl OneLess {
    /// `None` if there is only one.
    pub fn take() -> Option<Self> {
        let before = sched_getaffinity(None).unwrap();
        let last = (0..CpuSet::MAX_CPU).rev().find(|core| before.is_set(*core))?;
        let mut fewer = before;
        fewer.unset(last);
        let left = fewer.count();
        (left > 0).then(|| {
            confine(&fewer);
            Self { before, left }
        })
    }
}

impl Drop for OneLess {
    fn drop(&mut self) {
        confine(&self.before);
    }
}

/// Puts every thread of this process on these cores: the server's, too, from which a peer gets its answers.
fn confine(cores: &CpuSet) {
    for entry in std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap) {
        let thread = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // A thread may have just ended; the calling one always exists.
        sched_setaffinity(thread, cores).ok();
    }
    assert_eq!(sched_getaffinity(None).unwrap(), *cores);
}
