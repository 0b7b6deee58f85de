//! SIGTERM, SIGINT, SIGHUP and SIGUSR1, heard before anything else happens.
//!
//! [`Handlers::install`] is the first thing that `main` does: from then on
//! none of the four ends the process by default, and none is lost before
//! [`Handlers::stream`] begins to tell of them, which needs a running tokio.
//! A second SIGTERM or SIGINT ends the process at once, from inside the signal
//! handler, whatever the rest of the program hangs on.
//!
//! A fifth, SIGXFSZ, is heard so that it does nothing: a write past the limit on
//! a file's size fails then as on a full disk, instead of ending the process.
//!
//! What a signal means is `agent`'s and `cli`'s to decide.

use std::ffi::c_int;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, Stream, StreamExt};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;

/// A signal, by what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGINT.
    Interrupt,
    /// SIGHUP: read the settings again.
    Reload,
    /// SIGUSR1: reconcile now.
    Now,
}

impl Signal {
    /// Whether this one asks the program to end.
    #[must_use]
    pub fn is_stop(self) -> bool {
        match self {
            Self::Terminate | Self::Interrupt => true,
            Self::Reload | Self::Now => false,
        }
    }

    /// The status of a command that this signal stopped: 128 and its number,
    /// which is the same on every Linux.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Reload => 129,
            Self::Interrupt => 130,
            Self::Now => 138,
            Self::Terminate => 143,
        }
    }

    fn from_number(number: c_int) -> Option<Self> {
        match number {
            SIGTERM => Some(Self::Terminate),
            SIGINT => Some(Self::Interrupt),
            SIGHUP => Some(Self::Reload),
            SIGUSR1 => Some(Self::Now),
            _ => None,
        }
    }
}

/// The installed handlers, and what they have heard so far.
#[derive(Debug)]
pub struct Handlers {
    terminate: Arc<AtomicBool>,
    interrupt: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    now: Arc<AtomicBool>,
}

impl Handlers {
    /// Installs the handlers. They stay until the process ends.
    ///
    /// # Errors
    ///
    /// Whatever the system says against it.
    pub fn install() -> io::Result<Self> {
        let handlers = Self {
            terminate: Arc::new(AtomicBool::new(false)),
            interrupt: Arc::new(AtomicBool::new(false)),
            reload: Arc::new(AtomicBool::new(false)),
            now: Arc::new(AtomicBool::new(false)),
        };
        let asked_before = Arc::new(AtomicBool::new(false));
        for (number, signal, heard) in [
            (SIGTERM, Signal::Terminate, &handlers.terminate),
            (SIGINT, Signal::Interrupt, &handlers.interrupt),
        ] {
            // In this order: actions run as they were registered, and the first
            // signal must not find the flag that it is about to raise.
            let status = c_int::from(signal.exit_code());
            flag::register_conditional_shutdown(number, status, Arc::clone(&asked_before))?;
            flag::register(number, Arc::clone(&asked_before))?;
            flag::register(number, Arc::clone(heard))?;
        }
        flag::register(SIGHUP, Arc::clone(&handlers.reload))?;
        flag::register(SIGUSR1, Arc::clone(&handlers.now))?;
        // A file that may grow no further is an error of the write, not the end of the program.
        // Nobody reads this flag. A handler, unlike an ignored signal, is not handed on to commands that we run.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(handlers)
    }

    /// The signal that asked the program to end, if one did.
    #[must_use]
    pub fn stop(&self) -> Option<Signal> {
        let heard = |flag: &AtomicBool, signal| flag.load(Ordering::SeqCst).then_some(signal);
        heard(&self.terminate, Signal::Terminate).or_else(|| heard(&self.interrupt, Signal::Interrupt))
    }

    /// Every signal heard since [`Handlers::install`], and every one to come.
    /// Equal ones that come close together may be told of once.
    ///
    /// # Errors
    ///
    /// Whatever the system says against it.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled.
    pub fn stream(&self) -> io::Result<impl Stream<Item = Signal> + Send + Unpin + use<>> {
        let coming = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        // Asked only now that the stream listens: what falls between the two is
        // told of twice, which is harmless, and never not at all.
        let heard = [
            self.reload.swap(false, Ordering::SeqCst).then_some(Signal::Reload),
            self.now.swap(false, Ordering::SeqCst).then_some(Signal::Now),
            self.stop(),
        ];
        let coming = coming.filter_map(|number| std::future::ready(Signal::from_number(number)));
        Ok(stream::iter(heard.into_iter().flatten()).chain(coming))
    }
}

/// Ends the process with this status, once all is said and written.
///
/// Nothing that libraries registered for the end is run: without memory `OpenBLAS`
/// waits there for a thread of its own that never ends.
pub fn exit_process(status: u8) -> ! {
    // A reader that went away is no failure.
    io::stdout().flush().ok();
    signal_hook::low_level::exit(c_int::from(status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;
    use std::process::Command;
    use std::time::Duration;

    const ROLE: &str = "REINDEXD_TEST_SIGNAL_ROLE";

    /// Runs one test of this module again, alone in a process of its own.
    fn alone(test: &str, role: &str) -> Option<i32> {
        let module = module_path!().split_once("::").unwrap().1;
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
            .env(ROLE, role)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&child.stdout);
        assert!(!child.status.success() || said.contains("1 passed"), "the child ran nothing: {said}");
        child.status.code()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn received(signals: &mut (impl Stream<Item = Signal> + Unpin), count: usize) -> Vec<Signal> {
        let told = signals.take(count).collect();
        tokio::time::timeout(Duration::from_secs(10), told).await.expect("the signals were told of")
    }

    #[test]
    fn signals_before_and_after_the_stream_starts_are_delivered() {
        if std::env::var_os(ROLE).is_none() {
            assert_eq!(alone("signals_before_and_after_the_stream_starts_are_delivered", "child"), Some(0));
            return;
        }
        let handlers = Handlers::install().unwrap();
        raise(SIGHUP).unwrap();
        raise(SIGUSR1).unwrap();
        runtime().block_on(async {
            let mut signals = handlers.stream().unwrap();
            assert_eq!(received(&mut signals, 2).await, [Signal::Reload, Signal::Now]);
            raise(SIGHUP).unwrap();
            assert_eq!(received(&mut signals, 1).await, [Signal::Reload]);
            raise(SIGTERM).unwrap();
            assert_eq!(received(&mut signals, 1).await, [Signal::Terminate]);
            assert_eq!(handlers.stop(), Some(Signal::Terminate));
        });
    }

    #[test]
    fn a_stop_signal_that_came_before_the_stream_is_delivered() {
        if std::env::var_os(ROLE).is_none() {
            assert_eq!(alone("a_stop_signal_that_came_before_the_stream_is_delivered", "child"), Some(0));
            return;
        }
        let handlers = Handlers::install().unwrap();
        assert_eq!(handlers.stop(), None);
        raise(SIGINT).unwrap();
        runtime().block_on(async {
            let mut signals = handlers.stream().unwrap();
            assert_eq!(received(&mut signals, 1).await, [Signal::Interrupt]);
        });
    }

    #[test]
    fn second_stop_signal_exits_at_once_with_128_plus_number() {
        let test = "second_stop_signal_exits_at_once_with_128_plus_number";
        match std::env::var(ROLE).as_deref() {
            Err(_) => {
                for (role, expected) in [("term term", 143), ("int int", 130), ("term int", 130)] {
                    assert_eq!(alone(test, role), Some(expected), "{role}");
                }
            }
            Ok(role) => {
                let _handlers = Handlers::install().unwrap();
                for word in role.split(' ') {
                    raise(if word == "term" { SIGTERM } else { SIGINT }).unwrap();
                }
            }
        }
    }

    #[test]
    fn a_command_stopped_by_a_signal_says_so_in_its_status() {
        for number in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(c_int::from(signal.exit_code()), 128 + number, "{signal:?}");
            assert_eq!(signal.is_stop(), number == SIGTERM || number == SIGINT, "{signal:?}");
        }
    }
}
