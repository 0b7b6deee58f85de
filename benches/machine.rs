//! The machine that the figures are of.

use std::path::Path;
use std::process::Command;

use crate::fixture;
use crate::table::size;

/// Cores, processor, memory, disk and kernel, one line each.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processor = after("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let kilobytes =
        after("/proc/meminfo", "MemTotal").and_then(|line| line.split(' ').next()?.parse::<u64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default().to_owned();
    format!(
        "- processor: {cores} cores, {processor}\n- memory: {}\n- disk: {}\n- kernel: Linux {}\n- load at the start: {load}\n",
        size(kilobytes.unwrap_or(0) * 1024),
        disk(&fixture::root()),
        kernel.trim(),
    )
}

/// The text after a name and a colon in a file of the system.
fn after(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// Device and file system that hold a folder.
fn disk(folder: &Path) -> String {
    let output = Command::new("df").args(["--output=source,fstype", "--"]).arg(folder).output();
    let output =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    output
        .lines()
        .nth(1)
        .map_or_else(|| "unknown".to_owned(), |line| line.split_whitespace().collect::<Vec<_>>().join(", "))
}
