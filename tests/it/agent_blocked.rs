//! What is not read or not answered costs nothing but itself: the agent serves changes and ends on SIGTERM.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World, eventually};

/// What a pipe holds while it is not read.
const PIPE_BYTES: usize = 64 << 10;

#[test]
fn an_agent_whose_log_is_not_read_serves_changes_and_stops() {
    let world = World::with_people(2);
    world.settings("[trigger]\nquiet = \"100ms\"\n[log]\nlevel = \"debug\"\n");
    let (_unread, mut log) = std::io::pipe().unwrap();
    log.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
    let mut agent = world.command(&["run"]).stdout(Stdio::null()).stderr(log).spawn().unwrap();

    eventually("the first build is served", || world.served_count() == 2);
    world.add_people([3]);
    eventually("the change is served", || world.served_count() == 3);
    kill_process(Pid::from_child(&agent), Signal::TERM).unwrap();

    let deadline = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = agent.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= deadline {
            agent.kill().unwrap();
            panic!("still running five seconds after SIGTERM");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn answers_and_refusals_full_of_lists_take_no_memory_of_their_own() {
    let lists = "[1],".repeat(200_000);
    let (answer, refusal) = (format!("{{\"embeddings\":[{lists}[1]]}}"), format!("[{lists}[1]]"));
    for (status, body) in [(200, answer), (503, refusal.clone()), (429, refusal)] {
        let world = World::with_people(5);
        world.settings("[embedding]\ndimension = 768\n");
        world.provider.always(Some(Fault::Status(status, body)));
        let agent = Agent::start(&mut world.command(&["run"]));

        // The second request is sent after the first answer was read.
        assert!(world.provider.wait_for_requests(2, SOON), "{}", agent.log());

        let mib = peak_memory_kib(agent.pid()) / 1024;
        assert!(mib < 150, "{status}: {mib} MiB\n{}", agent.log());
    }
}

/// The most memory that a process has had.
fn peak_memory_kib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
