//! What an attempt asks before texts leave the host, and reports of them afterwards.
//!
//! How many may leave is decided elsewhere, and so is where they are counted: a
//! pass hands both in as a [`SendMeter`]. Texts that stay within the process
//! have none.

use std::error::Error;
use std::fmt;

/// Counts the texts of one attempt.
pub(crate) trait SendMeter: fmt::Debug + Send + Sync {
    /// How many of so many texts may leave; they are counted from now on.
    ///
    /// # Errors
    ///
    /// [`AtCeiling`] if none may.
    fn admit(&self, texts: usize) -> Result<usize, AtCeiling>;

    /// Makes the count durable, before counted texts leave. `in_minute`: what has left within the last
    /// minute, these included.
    ///
    /// # Errors
    ///
    /// If it cannot be written: then the texts must stay.
    fn leaving(&self, in_minute: SentInMinute) -> Result<(), Box<dyn Error + Send + Sync>>;

    /// The vectors of so many texts are stored.
    fn stored(&self, texts: usize);

    /// So many texts have cost nothing: they did not leave, or were refused.
    fn returned(&self, texts: usize);
}

/// What has left within a minute, as far as a limit counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SentInMinute {
    pub(crate) texts: usize,
    /// By estimate.
    pub(crate) tokens: usize,
}

/// No text may leave: too many have left without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AtCeiling {
    /// Texts that left and have no vector.
    pub(crate) unanswered: u64,
    /// The most that there may be.
    pub(crate) ceiling: u64,
}
