//! What a process uses: memory, descriptors, threads; and whether that grows.
//!
//! Growth is the difference of the medians of the first and the last third of a
//! run, so that one sample in the middle of a pass decides nothing.

use rustix::process::Pid;

/// What a process uses at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessStats {
    /// Anonymous memory, in KiB.
    pub anonymous: u64,
    /// Peak memory, in KiB.
    pub peak: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

/// How much more a process may use at the end than at the beginning.
#[derive(Clone, Copy, Debug)]
pub struct Margin {
    /// KiB of memory.
    pub anonymous: u64,
    /// Descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessStats {
    /// Of a running process; `None` after its end.
    pub fn of(pid: Pid) -> Option<Self> {
        let folder = format!("/proc/{}", pid.as_raw_nonzero());
        let status = std::fs::read_to_string(format!("{folder}/status")).ok()?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_start_matches(':').split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            anonymous: number("RssAnon")?,
            peak: number("VmHWM")?,
            descriptors: std::fs::read_dir(format!("{folder}/fd")).ok()?.count() as u64,
            threads: number("Threads")?,
        })
    }
}

/// The medians of the first third and of the last third.
pub fn thirds(samples: &[ProcessStats]) -> (ProcessStats, ProcessStats) {
    let third = (samples.len() / 3).max(1);
    (median(&samples[..third]), median(&samples[samples.len() - third..]))
}

/// Fails with what grew by more than the margin.
pub fn steady(samples: &[ProcessStats], margin: Margin) -> Result<(), String> {
    let (early, late) = thirds(samples);
    let grown: Vec<String> = [
        ("KiB of memory", early.anonymous, late.anonymous, margin.anonymous),
        ("descriptors", early.descriptors, late.descriptors, margin.descriptors),
        ("threads", early.threads, late.threads, margin.threads),
    ]
    .into_iter()
    .filter(|(_, early, late, margin)| *late > early + margin)
    .map(|(what, early, late, margin)| format!("{what}: {early} at first, {late} at last, {margin} allowed"))
    .collect();
    if grown.is_empty() { Ok(()) } else { Err(grown.join("; ")) }
}

fn median(samples: &[ProcessStats]) -> ProcessStats {
    let of = |part: fn(&ProcessStats) -> u64| {
        let mut all: Vec<u64> = samples.iter().map(part).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    ProcessStats {
        anonymous: of(|stats| stats.anonymous),
        peak: of(|stats| stats.peak),
        descriptors: of(|stats| stats.descriptors),
        threads: of(|stats| stats.threads),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_distinguished_from_a_single_high_sample() {
        let at = |anonymous, descriptors| ProcessStats { anonymous, peak: 0, descriptors, threads: 3 };
        let margin = Margin { anonymous: 10, descriptors: 1, threads: 0 };
        let steady_but_once = [at(100, 9), at(101, 9), at(900, 9), at(102, 10), at(99, 9), at(110, 10)];
        let leaking: Vec<ProcessStats> = (0..30).map(|n| at(100, 9 + n / 5)).collect();

        assert_eq!(steady(&steady_but_once, margin), Ok(()));
        assert_eq!(
            steady(&leaking, margin),
            Err("descriptors: 10 at first, 14 at last, 1 allowed".to_owned())
        );
    }
}
