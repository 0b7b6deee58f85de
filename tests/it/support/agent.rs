//! A running agent: the real program, its log while it runs, signals, and its end.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, World};

/// A running agent. Dropping it kills it.
pub struct Agent {
    child: Child,
    log: Arc<Mutex<String>>,
    /// Ends with the last line.
    reader: JoinHandle<()>,
}

impl World {
    /// Starts `reindexd run` with short triggers, and waits until it watches.
    #[track_caller]
    pub fn agent(&self) -> Agent {
        self.agent_with("quiet = \"200ms\"\nmax_wait = \"2s\"\nmarker_quiet = \"50ms\"\nresync = \"1h\"\n")
    }

    /// Starts `reindexd run` with these lines in `[trigger]`, where other sections may follow, and waits
    /// until it watches. Without a section `[log]`, passes that find nothing are logged too.
    #[track_caller]
    pub fn agent_with(&self, triggers: &str) -> Agent {
        let log = if triggers.contains("[log]") { "" } else { "[log]\nlevel = \"debug\"\n" };
        self.settings(&format!("[trigger]\n{triggers}{log}"));
        let agent = Agent::start(&mut self.command(&["run"]));
        agent.wait_for_log("watching");
        agent
    }
}

impl Agent {
    /// Starts a command that is an agent, and keeps its log.
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader }
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// What was logged after the first `bytes`: a long log need not be read from its beginning each time.
    pub fn log_from(&self, bytes: usize) -> String {
        self.log.lock().unwrap().get(bytes..).unwrap_or_default().to_owned()
    }

    /// How often a text was logged.
    pub fn logged(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until a text is in the log.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        self.wait_for(&format!("{text:?} in the log"), || self.logged(text) > 0);
    }

    /// How many passes have started, rechecks included where the log level shows them.
    pub fn passes(&self) -> usize {
        self.logged("pass: started") + self.logged("pass: repeated")
    }

    /// How many passes have led to a new build.
    pub fn promotions(&self) -> usize {
        self.logged("outcome=promoted")
    }

    /// Waits until `count` records are served.
    #[track_caller]
    pub fn wait_for_records(&self, world: &World, count: usize) {
        self.wait_for(&format!("{count} records are served"), || world.served_count() == count);
    }

    /// Waits until `count` passes have led to a new build and have logged it.
    #[track_caller]
    pub fn wait_for_promotions(&self, count: usize) {
        self.wait_for(&format!("{count} promotions"), || self.promotions() >= count);
    }

    /// Waits for a condition; panics with the log where it does not come true.
    #[track_caller]
    pub fn wait_for(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + SOON;
        while !holds() {
            assert!(Instant::now() < deadline, "still not so: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The agent's process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Sends a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Sends a signal to the program that strace runs; strace itself would only detach from it.
    #[track_caller]
    pub fn signal_traced(&self, signal: Signal) {
        let pid = self.pid().as_raw_nonzero();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let child = children.split_whitespace().next().and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        kill_process(child.expect("strace has one child"), signal).unwrap();
    }

    /// Waits for the end and the whole log, and returns the exit code; 128 and the number for a signal.
    #[track_caller]
    pub fn ended(&mut self, within: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait().unwrap()
                && self.reader.is_finished()
            {
                return status.code().or_else(|| status.signal().map(|number| 128 + number)).unwrap();
            }
            assert!(Instant::now() < deadline, "still running after {within:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the agent by SIGTERM, which must exit with 0 within five seconds.
    #[track_caller]
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        let code = self.ended(Duration::from_secs(5));
        assert_eq!(code, 0, "{}", self.log());
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already; then nothing is killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
