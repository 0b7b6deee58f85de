//! What the path to the database hides, as a pass meets it.
//!
//! A person who asks for a pass is warned. The agent warns by itself, once,
//! whether a pass runs or not.

use super::context::{PassContext, PassOptions};
use crate::adapters::source::path_warnings;
use crate::decide::source_path::PathWarning;
use crate::domain::pass::Trigger;

/// Warns of it. Returns whether what is read is not what the database is now: such a pass knows nothing
/// of how up to date the served build is.
pub(super) fn warn(context: &PassContext<'_>, options: &PassOptions) -> bool {
    let warnings = path_warnings(&context.config.source.database);
    if options.trigger == Trigger::Command {
        for warning in &warnings {
            context.warn(&warning.to_string());
        }
    }
    warnings.iter().any(PathWarning::is_outdated)
}
