//! What is not read or not answered costs nothing but itself: the agent serves changes and ends on SIGTERM.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::crash::strace;
use crate::support::agent::Agent;
use crate::support::provider::Fault;
use crate::support::{SOON, World, eventually};

const QUICK: &str = "quiet = \"100ms\"\nmax_wait = \"1s\"\nmarker_quiet = \"50ms\"\nresync = \"1s\"\n";
/// What a file system that went away does to the calls that name a file or use one.
const HANGS: &str = "inject=?stat,?newfstatat,?statx,?openat,?open,?readlink,?readlinkat:delay_enter=60s";

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

#[test]
fn a_file_system_that_hangs_never_keeps_the_agent_from_a_stop() {
    if strace().is_none() {
        return;
    }
    let (commit, reload, now) = (None, Some(Signal::HUP), Some(Signal::USR1));
    let target =
        |name: &str| format!("[[announce]]\npost = \"http://127.0.0.1:9/{name}\"\ntoken_file = \"token\"\n");
    let hung_paths = [
        (vec!["data/experts.db"], commit),
        (vec!["data/tagging-complete"], commit),
        (vec!["reindexd.toml"], reload),
        (vec!["key"], reload),
        (vec!["data/.reindexd/lock"], now),
        (vec!["data/current"], now),
        (vec!["data/.reindexd/announced.json"], commit),
        (vec!["token"], commit),
    ];
    for (paths, cause) in hung_paths {
        let world = World::with_people(2);
        std::fs::write(world.path("key"), "a-key\n").unwrap();
        std::fs::write(world.path("token"), "a-token\n").unwrap();
        let agent = world.agent_with(&format!(
            "{QUICK}[embedding]\napi_key_file = \"key\"\n{}{}",
            target("one"),
            target("two")
        ));
        agent.wait_for_promotions(1);
        let tracer = Hang::begin(&world, agent.pid(), &paths);
        world.add_people([3]);
        if let Some(signal) = cause {
            agent.signal(signal);
        }
        // The hint, the resync and the signal have all come to the file by then.
        std::thread::sleep(Duration::from_millis(1500));

        agent.signal(Signal::TERM);
        tracer.wait_for_end_of(&agent, &paths.join(", "));
        assert!(agent.log().contains("agent: stopping"), "{paths:?}: the loop\n{}", agent.log());
        agent.stop();
    }
}

#[test]
fn an_agent_whose_first_sweep_hangs_says_so_and_stops() {
    if strace().is_none() {
        return;
    }
    let world = World::with_people(1);
    world.build();
    let run = world.command(&["run"]);
    let mut stopped = Command::new("sh");
    stopped.args(["-c", "kill -STOP $$; exec \"$0\" run"]).arg(run.get_program());
    stopped.env_clear().envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let agent = Agent::start(stopped.current_dir(world.path("")));
    eventually("it can be traced from its first call", || state_of(&agent) == Some('T'));
    let tracer = Hang::begin(&world, agent.pid(), &["data/.reindexd/notes.lock"]);
    agent.signal(Signal::CONT);

    agent.wait_for_log("sweep: failed, stale staging may remain");

    assert!(agent.log().contains("has not ended within 5s"), "{}", agent.log());
    agent.signal(Signal::TERM);
    tracer.wait_for_end_of(&agent, "the sweep");
    agent.stop();
}

#[test]
fn status_ends_with_the_path_where_a_file_system_does_not_answer() {
    if strace().is_none() {
        return;
    }
    for (hung, named) in [("data/current", "data/faiss.index"), ("data/experts.db", "data/experts.db")] {
        let world = World::with_people(1);
        world.build();
        let status = world.command(&["status", "--check"]);
        let mut stopped = Command::new("sh");
        stopped.args(["-c", "kill -STOP $$; exec \"$0\" status --check"]).arg(status.get_program());
        stopped.env_clear().envs(status.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let mut status = Agent::start(stopped.current_dir(world.path("")));
        eventually("it can be traced from its first call", || state_of(&status) == Some('T'));
        let tracer = Hang::begin(&world, status.pid(), &[hung]);
        status.signal(Signal::CONT);

        status.wait_for_log(&format!("{named} was being read: its file system hangs"));
        let threads = format!("/proc/{}/task", status.pid().as_raw_nonzero());
        eventually("all has ended but the call that the tracer delays", || {
            std::fs::read_dir(&threads).map_or(0, Iterator::count) <= 1
        });
        drop(tracer);
        assert_eq!(status.ended(SOON), 1, "{}", status.log());
    }
}

#[test]
fn the_watchdog_is_notified_while_a_stat_hangs() {
    if strace().is_none() {
        return;
    }
    let world = World::with_people(1);
    world.settings(&format!("[trigger]\n{QUICK}"));
    let manager = UnixDatagram::bind(world.path("notify")).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let agent = Agent::start(
        world.command(&["run"]).env("NOTIFY_SOCKET", world.path("notify")).env("WATCHDOG_USEC", "400000"),
    );
    agent.wait_for_promotions(1);
    let tracer = Hang::begin(&world, agent.pid(), &["data/experts.db"]);
    world.add_people([2]);
    let (hung, mut notified) = (Instant::now(), Vec::new());
    while hung.elapsed() < Duration::from_secs(4) {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).unwrap();
        if message[..length].starts_with(b"WATCHDOG=1") {
            notified.push(hung.elapsed());
        }
    }

    // The loop waits for an answer for a second at most, and the manager of a real unit for 30.
    let longest = notified.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap();
    assert!(longest < Duration::from_secs(2) && notified.len() > 3, "{notified:?}");
    drop(tracer);
    agent.stop();
}

#[test]
fn a_stop_wins_over_a_reload_that_hangs_while_texts_are_embedded() {
    if strace().is_none() {
        return;
    }
    let world = World::with_people(3);
    world.provider.hold();
    let agent = world.agent_with(QUICK);
    assert!(world.provider.wait_for_requests(1, SOON), "{}", agent.log());
    let tracer = Hang::begin(&world, agent.pid(), &["reindexd.toml"]);
    agent.signal(Signal::HUP);
    agent.wait_for_log("settings: reading them again");

    agent.signal(Signal::TERM);
    agent.wait_for_log("agent: stopping");
    world.provider.release();

    tracer.wait_for_end_of(&agent, "reindexd.toml");
    agent.stop();
    let again = world.run(&["build", "--json"]);
    assert_eq!((again.code, again.number("embedded")), (0, 0), "what was in flight is kept: {again:?}");
}

#[test]
fn a_pipe_in_the_place_of_the_settings_is_refused_at_a_reload() {
    let world = World::with_people(1);
    let agent = world.agent_with(QUICK);
    agent.wait_for_promotions(1);
    std::fs::remove_file(world.path("reindexd.toml")).unwrap();
    let made = Command::new("mkfifo").arg(world.path("reindexd.toml")).status().unwrap();
    assert!(made.success());

    agent.signal(Signal::HUP);

    agent.wait_for_log("settings: refused, the previous ones stay in force");
    world.add_people([2]);
    agent.wait_for_records(&world, 2);
    agent.stop();
}

/// Calls on some files of a process that do not return, until it is dropped.
struct Hang {
    tracer: Child,
    /// Kept open: the tracer names each thread that it finds.
    _said: BufReader<ChildStderr>,
}

impl Hang {
    fn begin(world: &World, agent: Pid, paths: &[&str]) -> Self {
        let mut tracer = Command::new(strace().expect("asked before"));
        tracer.args(["-f", "-o", "/dev/null", "-e", HANGS, "-p", &agent.as_raw_nonzero().to_string()]);
        for path in paths {
            tracer.args(["-P", path]).arg("-P").arg(world.path(path));
        }
        let mut tracer = tracer.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(tracer.stderr.take().unwrap());
        let attached = said.by_ref().lines().any(|line| line.is_ok_and(|line| line.contains("attached")));
        assert!(attached, "strace did not attach");
        Self { tracer, _said: said }
    }

    /// Waits for the end of an agent that was asked to: it can be waited for when nothing traces it.
    #[track_caller]
    fn wait_for_end_of(self, agent: &Agent, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while state_of(agent) != Some('Z') {
            assert!(Instant::now() < deadline, "{what}: still running\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(5));
        }
        drop(self);
    }
}

impl Drop for Hang {
    fn drop(&mut self) {
        self.tracer.kill().unwrap();
        self.tracer.wait().unwrap();
    }
}

/// How the kernel names the state of an agent's process.
fn state_of(agent: &Agent) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", agent.pid().as_raw_nonzero())).ok()?;
    stat.split_once(") ")?.1.chars().next()
}

/// The most memory that a process has had.
fn peak_memory_kib(pid: Pid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
