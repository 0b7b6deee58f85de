//! This test once more, in a process of its own: one that shares no lock with it and may be killed.
//!
//! A test that wants twins begins by asking for [`part`]: in the twin it gets
//! what its twin is to play, plays it and returns.

use std::process::{Child, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Names what the twin is to play.
const PART: &str = "REINDEXD_TEST_PART";

/// A twin at work. Dropping it kills it.
pub struct ChildTest(Option<Child>);

impl ChildTest {
    /// Starts the test that runs on this thread once more, to play `part`.
    #[track_caller]
    pub fn start(part: &impl Serialize) -> Self {
        let test = std::thread::current().name().unwrap().to_owned();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &test, "--include-ignored", "--nocapture"])
            .env(PART, serde_json::to_string(part).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(Some(child.unwrap()))
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.0.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Waits for its end: 0, or 128 and the number of the signal that killed it. Panics where it did.
    #[track_caller]
    pub fn ended(mut self) -> i32 {
        let ran = crate::support::ended(self.0.take().unwrap());
        assert!([0, KILLED].contains(&ran.code), "{}", ran.stderr);
        ran.code
    }
}

/// How a process ends that was killed by SIGKILL.
pub const KILLED: i32 = 137;

impl Drop for ChildTest {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already; then there is nothing to kill.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// What this process is to play, where it is a twin.
pub fn part<T: DeserializeOwned>() -> Option<T> {
    let part = std::env::var(PART).ok()?;
    Some(serde_json::from_str(&part).unwrap())
}
