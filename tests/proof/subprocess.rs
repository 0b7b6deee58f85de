//! The current test run again in a process of its own, which shares no lock with it and may be killed.
//!
//! A test that needs such a process calls [`part`] first: in the child it gets the
//! task of the child, performs it and returns.

use std::process::{Child, Command, Stdio};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Environment variable with the task of the child.
const PART: &str = "REINDEXD_TEST_PART";

/// A running child. Dropping it kills it.
pub struct ChildTest(Option<Child>);

impl ChildTest {
    /// Starts the test of this thread again, with `part` as its task.
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

    /// Waits for its end: 0, or [`KILLED`]. Panics if the child did.
    #[track_caller]
    pub fn ended(mut self) -> i32 {
        let ran = crate::support::ended(self.0.take().unwrap());
        assert!([0, KILLED].contains(&ran.code), "{}", ran.stderr);
        ran.code
    }
}

/// The exit code of a process that was killed by SIGKILL.
pub const KILLED: i32 = 137;

impl Drop for ChildTest {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // It may have ended already; then nothing is killed.
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The task of this process, if it is a child.
pub fn part<T: DeserializeOwned>() -> Option<T> {
    let part = std::env::var(PART).ok()?;
    Some(serde_json::from_str(&part).unwrap())
}
