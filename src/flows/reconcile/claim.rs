//! Which source a directory belongs to: what the settings read, recorded once a pass has ended well.
//!
//! A pass that failed claims nothing: its database may be the mistake.

use super::context::PassContext;
use crate::adapters::builds::{Builds, ClaimedSource, error_chain};
use crate::config::Config;
use crate::domain::record::Schema;

/// What these settings fill the directory from; `None` if the database cannot be found.
pub(crate) fn source(config: &Config, builds: &Builds) -> Option<ClaimedSource> {
    let schema = Schema::experts();
    let id = &schema.columns[schema.id].name;
    ClaimedSource::find(&builds.layout, &config.source.database, &schema.table, &[id])
}

/// Records what the served build was made from. Where that fails, the next pass tries again.
pub(super) fn record(context: &PassContext<'_>, builds: &Builds, source: Option<&ClaimedSource>) {
    let Some(source) = source else { return };
    if let Err(error) = builds.claim_source(source) {
        context.warn(&format!("the source of this directory is not recorded: {}", error_chain(&error)));
    }
}
