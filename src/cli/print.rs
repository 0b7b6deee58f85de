//! How commands print what several of them have in common.

use serde_json::json;

pub(super) use crate::app::print::{ago, fail, print, print_error, print_json};

use crate::app::Context;
use crate::flows::reconcile::{PassError, PassProgress};

impl Context {
    /// Ends a command that was stopped before it had an answer.
    pub(super) fn stopped(&self) -> u8 {
        if self.json {
            print_json(&json!({ "error": "stopped" }));
        }
        self.stop_code()
    }

    /// Prints a failed pass if the command has no object of its own for it.
    pub(super) fn fail(&self, error: &PassError) -> u8 {
        fail(self.json, self.code(error), &error.to_line())
    }
}

/// Logs the warnings of a pass, each once.
pub(super) fn log_warnings(progress: PassProgress<'_>) {
    if let PassProgress::Warning(message) = progress {
        tracing::warn!("{message}");
    }
}
