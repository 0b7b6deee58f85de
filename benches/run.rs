//! One run of the program as a whole process: how long, and how much memory.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How often memory is measured; this costs some twenty microseconds each time.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The unit of processor time in `/proc`, on every Linux.
const TICKS_PER_SECOND: u64 = 100;

/// The result of a run.
#[derive(Debug)]
pub struct Ran {
    /// From before the fork to the end of the process.
    pub took: Duration,
    /// The peak of its anonymous memory, in bytes; 0 if it was not measured.
    pub peak: u64,
    /// What `--json` printed.
    pub json: Value,
}

impl Ran {
    /// A text in the answer.
    pub fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }

    /// A number in the answer.
    pub fn number(&self, pointer: &str) -> u64 {
        self.json.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
    }
}

/// Whether memory is measured during a run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// It is: for runs of a second and more, which it does not slow down.
    Watched,
    /// It is not.
    Unwatched,
}

/// Runs a command, which must succeed.
pub fn run(command: &mut Command, memory: Memory) -> Ran {
    let ended = AtomicBool::new(false);
    let began = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let (output, took, peak) = std::thread::scope(|scope| {
        let watch = (memory == Memory::Watched).then(|| {
            scope.spawn(|| {
                let mut peak = 0;
                while !ended.load(Ordering::Relaxed) {
                    peak = peak.max(anonymous(pid));
                    std::thread::sleep(POLL_INTERVAL);
                }
                peak
            })
        });
        let output = child.wait_with_output().unwrap();
        let took = began.elapsed();
        ended.store(true, Ordering::Relaxed);
        (output, took, watch.map_or(0, |watch| watch.join().unwrap()))
    });
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let json = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    Ran { took, peak, json }
}

/// Anonymous memory of a process in bytes: what is not a page of a file.
pub fn anonymous(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// Processor time of a process so far.
pub fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name is in brackets and may contain anything; user and system time are the 12th and 13th after it.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}
