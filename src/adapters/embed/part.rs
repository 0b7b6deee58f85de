//! Texts that travel together, and what becomes of them.
//!
//! The words that the batcher and its queue share. When a part is sent, and
//! what a failure comes to, is `queue`'s decision.

use tokio::time::Instant;

use super::next_step::Tries;
use super::types::{RefusedText, TextItem};

/// Texts that travel together.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) items: Vec<TextItem>,
    pub(super) tries: Tries,
    pub(super) role: Role,
}

/// Why a part is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// For its vectors.
    Batch,
    /// For its vector, and to learn whether the provider works.
    Probe,
    /// To learn whether the provider works; its vector is not used.
    Witness,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Next {
    Send(Part),
    /// Nothing until an answer comes, or until this instant.
    Wait(Option<Instant>),
    /// Every text was taken or refused.
    Done,
}

/// What a failure comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AfterFailure {
    /// The texts are sent again.
    GoOn,
    /// The provider refuses this text.
    Refused(RefusedText),
    /// The attempt ends with this failure.
    End(Ending),
}

/// Why an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// As the failure's kind says.
    Failed,
    /// Every vector has another length than the settings say.
    WrongLength,
    /// The same wrong answer again and again.
    WrongAnswers,
    /// Requests are refused whatever their texts are.
    Request,
    /// There was no success for as long as the settings allow.
    GaveUp,
}
