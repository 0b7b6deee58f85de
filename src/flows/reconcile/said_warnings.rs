//! What a pass has warned of: each trouble once, however many of its steps meet it.

use std::collections::HashSet;
use std::sync::Mutex;

use super::context::PassProgress;
use crate::domain::parallel::lock;

/// Warnings beyond these are not remembered, and may come again.
const MAX_REMEMBERED: usize = 1000;

/// The warnings of one pass so far.
#[derive(Default)]
pub(super) struct SaidWarnings(Mutex<HashSet<String>>);

impl SaidWarnings {
    /// Whether this is to be said: everything but a warning that was said before.
    pub(super) fn is_new(&self, progress: &PassProgress<'_>) -> bool {
        let (PassProgress::Note(message) | PassProgress::Warning(message)) = progress else { return true };
        let mut said = lock(&self.0);
        let is_known = said.contains(*message);
        if !is_known && said.len() < MAX_REMEMBERED {
            said.insert((*message).to_owned());
        }
        !is_known
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::pass::Stage;

    #[test]
    fn a_warning_is_said_once_and_every_other_step_each_time() {
        let said = SaidWarnings::default();
        let steps = [
            (PassProgress::Warning("a"), true),
            (PassProgress::Stage(Stage::Scan), true),
            (PassProgress::Warning("b"), true),
            (PassProgress::Stage(Stage::Scan), true),
            (PassProgress::Warning("a"), false),
        ];
        for (step, expected) in steps {
            assert_eq!(said.is_new(&step), expected, "{step:?}");
        }
    }
}
