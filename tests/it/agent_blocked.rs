//! What others send or do not read costs nothing but itself.

use rustix::process::Pid;

use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World};

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
