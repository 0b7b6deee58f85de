//! Decides what follows a request that gave no vectors.
//!
//! Pure: a failure, the number of its texts and what is known of them give one
//! [`Step`]. The same texts again, or they come back in halves down to one, or the
//! attempt ends. A text that stands alone is blamed only with proof: it was
//! refused for itself, then the provider took another text, and then it was
//! refused again.
//!
//! When a step is taken is `queue`'s work.

use super::types::FailureKind;

/// What is known of texts that travel together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tries {
    /// Failures that may pass.
    pub(super) failures: u32,
    /// How many requests had succeeded when the server failed over these texts.
    pub(super) server_error_at: Option<u64>,
    /// How many requests had succeeded when the text, alone, was refused for itself.
    pub(super) refused_at: Option<u64>,
    /// Whether a vector of the text could not be used.
    pub(super) is_flawed: bool,
}

/// What is done with the texts of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The same texts again, later.
    Repeat,
    /// The same texts again, in another form and at once.
    Resend,
    /// Both halves, each by itself.
    Halve {
        /// Whether other requests hold fewer texts too.
        shrink: bool,
        /// Whether it may pass by itself as well.
        wait: bool,
    },
    /// The text again, once another one was taken.
    Suspect,
    /// The provider refuses this text: proven.
    Refuse,
    /// Nothing more is sent.
    End,
}

impl Tries {
    /// Whether another text must be taken before these are sent again.
    pub(super) fn lack_a_success(&self, successes: u64) -> bool {
        self.server_error_at == Some(successes) || self.refused_at == Some(successes)
    }
}

/// What follows a failure of `texts` texts, after `successes` requests of the attempt that succeeded.
pub(super) fn after_failure(kind: FailureKind, texts: usize, tries: &Tries, successes: u64) -> Step {
    let is_older = |at: Option<u64>| at.is_some_and(|at| at < successes);
    let alone = if is_older(tries.refused_at) { Step::Refuse } else { Step::Suspect };
    match kind {
        FailureKind::Exhausted | FailureKind::Final => Step::End,
        FailureKind::Resend => Step::Resend,
        FailureKind::Timeout if texts > 1 => Step::Halve { shrink: true, wait: true },
        FailureKind::ServerError { .. } if !is_older(tries.server_error_at) => Step::Repeat,
        FailureKind::ServerError { .. } | FailureKind::BadRequest if texts > 1 => {
            Step::Halve { shrink: false, wait: false }
        }
        FailureKind::TooLarge if texts > 1 => Step::Halve { shrink: true, wait: false },
        FailureKind::ServerError { .. } | FailureKind::BadRequest | FailureKind::TooLarge => alone,
        FailureKind::Wrong(_) if tries.is_flawed && texts == 1 => alone,
        FailureKind::Transient { .. } | FailureKind::Timeout | FailureKind::Wrong(_) => Step::Repeat,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::embed::types::WrongKind;

    #[test]
    fn what_follows_a_failure_depends_on_its_kind_its_texts_and_what_succeeded_since() {
        use FailureKind::{BadRequest, Exhausted, Final, Resend, Timeout, TooLarge, Wrong};
        let (busy, broken) = (FailureKind::Transient { wait: None }, FailureKind::ServerError { wait: None });
        let new = Tries::default();
        let failed_at = |at| Tries { server_error_at: Some(at), ..new };
        let refused_at = |at| Tries { server_error_at: Some(0), refused_at: Some(at), ..new };
        let flawed = Tries { is_flawed: true, ..new };
        let halve = |shrink, wait| Step::Halve { shrink, wait };
        let cases = [
            (Exhausted, 9, new, 3, Step::End),
            (Final, 1, new, 3, Step::End),
            (Resend, 9, new, 0, Step::Resend),
            (busy, 9, failed_at(0), 3, Step::Repeat),
            (busy, 1, refused_at(1), 3, Step::Repeat),
            (Timeout, 2, new, 0, halve(true, true)),
            (Timeout, 1, refused_at(1), 3, Step::Repeat),
            (broken, 9, new, 3, Step::Repeat),
            (broken, 9, failed_at(3), 3, Step::Repeat),
            (broken, 9, failed_at(2), 3, halve(false, false)),
            (broken, 1, new, 3, Step::Repeat),
            (broken, 1, failed_at(3), 3, Step::Repeat),
            (broken, 1, failed_at(2), 3, Step::Suspect),
            (broken, 1, refused_at(3), 3, Step::Suspect),
            (broken, 1, refused_at(2), 3, Step::Refuse),
            (TooLarge, 9, new, 3, halve(true, false)),
            (TooLarge, 1, new, 3, Step::Suspect),
            (TooLarge, 1, refused_at(2), 3, Step::Refuse),
            (BadRequest, 9, new, 3, halve(false, false)),
            (BadRequest, 1, new, 0, Step::Suspect),
            (BadRequest, 1, refused_at(0), 0, Step::Suspect),
            (BadRequest, 1, refused_at(0), 1, Step::Refuse),
            (Wrong(WrongKind::Count), 9, new, 3, Step::Repeat),
            (Wrong(WrongKind::Length), 1, new, 3, Step::Repeat),
            (Wrong(WrongKind::Length), 1, flawed, 3, Step::Suspect),
        ];
        for (kind, texts, tries, successes, expected) in cases {
            let step = after_failure(kind, texts, &tries, successes);
            assert_eq!(step, expected, "{kind:?} of {texts} with {tries:?} after {successes}");
        }
    }
}
