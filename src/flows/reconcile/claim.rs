//! Which source a directory belongs to: what the settings read, recorded once a pass has ended well.
//!
//! A pass that failed claims nothing: its database may be the mistake. Where there is no
//! database at all, no directory is made.

use super::context::PassContext;
use super::error::PassError;
use crate::adapters::builds::{Builds, ClaimedSource, error_chain};
use crate::adapters::source::Source;
use crate::config::Config;

/// What these settings fill the directory from; `None` if the database cannot be found.
pub(crate) fn source(config: &Config, builds: &Builds) -> Option<ClaimedSource> {
    let (rows, id) = config.source_spec().claim();
    ClaimedSource::find(&builds.layout, &config.source.database, &rows, &id)
}

/// Records what the served build was made from. Where that fails, the next pass tries again.
pub(super) fn record(context: &PassContext<'_>, builds: &Builds, source: Option<&ClaimedSource>) {
    let Some(source) = source else { return };
    if let Err(error) = builds.claim_source(source) {
        context.warn(&format!("the source of this directory is not recorded: {}", error_chain(&error)));
    }
}

/// Refuses to make a directory of builds where there is no database, as in a wrong working directory.
///
/// Where there is one already, the failure is recorded in it like any other.
pub(super) fn find_source_of_new_directory(
    context: &PassContext<'_>,
    builds: &Builds,
) -> Result<(), PassError> {
    if !builds.is_prepared() {
        Source::find(&context.config.source.database)?;
    }
    Ok(())
}
