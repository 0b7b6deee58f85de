//! Signal handlers, installed before anything else runs.
//!
//! From [`Handlers::install`] on, SIGTERM, SIGINT, SIGHUP and SIGUSR1 no longer
//! end the process by default, and none of them is lost before
//! [`Handlers::stream`] delivers them, which needs a running tokio. A second
//! SIGTERM or SIGINT ends the process at once, from inside the signal handler,
//! whatever the rest of the program waits for. A fifth, SIGXFSZ, has a handler
//! that does nothing: a write past the limit on a file's size then fails like
//! one on a full disk, instead of ending the process.
//!
//! [`Handlers::end_after_stop`] ends a process that a call to the system keeps
//! from ending by itself. What a signal means is decided by `flows::agent` and `cli`.

use std::ffi::c_int;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::{flag, low_level};

use crate::domain::parallel::start_detached;

/// A signal, by what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    Terminate,
    Interrupt,
    /// SIGHUP: read the settings again.
    Reload,
    /// SIGUSR1: reconcile now.
    Now,
}

impl Signal {
    /// Whether this signal asks the program to end.
    #[must_use]
    pub fn is_stop(self) -> bool {
        match self {
            Self::Terminate | Self::Interrupt => true,
            Self::Reload | Self::Now => false,
        }
    }

    /// The exit code of a command that this signal stopped: 128 plus its
    /// number, which is the same on every Linux.
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

/// The installed handlers, and which signals have arrived so far.
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
    /// If the system refuses a handler.
    pub fn install() -> io::Result<Self> {
        let handlers = Self {
            terminate: Arc::new(AtomicBool::new(false)),
            interrupt: Arc::new(AtomicBool::new(false)),
            reload: Arc::new(AtomicBool::new(false)),
            now: Arc::new(AtomicBool::new(false)),
        };
        let stop_requested = Arc::new(AtomicBool::new(false));
        for (number, signal, arrived) in [
            (SIGTERM, Signal::Terminate, &handlers.terminate),
            (SIGINT, Signal::Interrupt, &handlers.interrupt),
        ] {
            // Actions run in the order of registration: the first signal must not
            // find the flag that it is about to raise.
            let status = c_int::from(signal.exit_code());
            flag::register_conditional_shutdown(number, status, Arc::clone(&stop_requested))?;
            flag::register(number, Arc::clone(&stop_requested))?;
            flag::register(number, Arc::clone(arrived))?;
        }
        flag::register(SIGHUP, Arc::clone(&handlers.reload))?;
        flag::register(SIGUSR1, Arc::clone(&handlers.now))?;
        // A file that may not grow any further is an error of the write, not the
        // end of the program. The flag is never read. Unlike an ignored signal, a
        // handler is not inherited by the commands that we run.
        flag::register(SIGXFSZ, Arc::default())?;
        Ok(handlers)
    }

    /// The signal that asked the program to end, if one has arrived.
    #[must_use]
    pub fn stop(&self) -> Option<Signal> {
        first_stop(&self.terminate, &self.interrupt)
    }

    /// Ends the process once a SIGTERM or SIGINT has not ended it within `limit`: with this exit code, or
    /// with the signal's.
    ///
    /// A file system that hangs can keep any thread of the program from going
    /// on, at its start too; so can a standard error that is not read. The thread that ends it waits for
    /// nothing else.
    ///
    /// # Errors
    ///
    /// If the system refuses a descriptor, a handler or a thread.
    pub fn end_after_stop(&self, limit: Duration, status: Option<u8>) -> io::Result<()> {
        let (mut arrived, raised) = UnixStream::pair()?;
        low_level::pipe::register(SIGTERM, raised.try_clone()?)?;
        low_level::pipe::register(SIGINT, raised)?;
        // Read only now that the pipe receives: a signal before that is not lost.
        let was_requested = self.stop().is_some();
        let (terminate, interrupt) = (Arc::clone(&self.terminate), Arc::clone(&self.interrupt));
        let wait_and_end = move || {
            if !was_requested && arrived.read_exact(&mut [0]).is_err() {
                return;
            }
            let (_nothing, more) = channel::<()>();
            more.recv_timeout(limit).ok();
            let of_signal = || first_stop(&terminate, &interrupt).map_or(1, Signal::exit_code);
            low_level::exit(c_int::from(status.unwrap_or_else(of_signal)))
        };
        start_detached("stop limit", wait_and_end)
    }

    /// Every signal since [`Handlers::install`], and every one to come. Equal
    /// signals that arrive close together may be delivered once.
    ///
    /// # Errors
    ///
    /// If the system refuses a descriptor or a handler.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O enabled.
    pub fn stream(&self) -> io::Result<impl Stream<Item = Signal> + Send + Unpin + use<>> {
        let later = signal_hook_tokio::Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])?;
        // Read only now that the stream receives: a signal between the two steps
        // is delivered twice, which is harmless, and is never lost.
        let earlier = [
            self.reload.swap(false, Ordering::SeqCst).then_some(Signal::Reload),
            self.now.swap(false, Ordering::SeqCst).then_some(Signal::Now),
            self.stop(),
        ];
        let later = later.filter_map(|number| std::future::ready(Signal::from_number(number)));
        Ok(stream::iter(earlier.into_iter().flatten()).chain(later))
    }
}

fn first_stop(terminate: &AtomicBool, interrupt: &AtomicBool) -> Option<Signal> {
    let arrived = |flag: &AtomicBool, signal| flag.load(Ordering::SeqCst).then_some(signal);
    arrived(terminate, Signal::Terminate).or_else(|| arrived(interrupt, Signal::Interrupt))
}

/// Ends the process with this exit code; nothing may remain to be written but standard output.
///
/// Exit functions that libraries registered do not run: without memory `OpenBLAS`
/// waits in its own for a thread that never ends.
pub fn exit_process(status: u8) -> ! {
    // A reader that has closed its end is not a failure.
    io::stdout().flush().ok();
    signal_hook::low_level::exit(c_int::from(status))
}

#[cfg(test)]
mod tests;
