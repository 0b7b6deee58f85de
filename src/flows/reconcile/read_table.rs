//! The second scan of a look: rows become records, hashes, metadata and a plan.
//!
//! Forty bytes a row are held. Records go into the draft as they come, and so
//! do the texts that must be bought; without a draft nothing is written, which
//! is what `plan` and `status` ask for.

use std::collections::HashMap;

use super::record_workers::{EncodedRow, RecordWorkers};
use super::{PassContext, PassError};
use crate::adapters::builds::staging::Draft;
use crate::adapters::source::Rows;
use crate::decide::guard::{MAX_NAMED_FAULTS, UnfitRows};
use crate::decide::plan::{Need, Plan, Planner};
use crate::domain::manifest::QuarantinedRow;
use crate::domain::pass::REFUSED_PREFIX;
use crate::domain::record::{
    ContentHash, ContentHasher, IdHash, Row, RowError, TextHash, column, raw_row_hash,
};
use crate::domain::row_hashes::RowHashes;

/// Rows left out that the manifest lists; any further ones are left out too, and only counted.
const MAX_LISTED_ROWS: usize = 10_000;

/// What a look found, row by row.
pub(super) struct TableSummary {
    /// Rows with tags.
    pub tagged: u64,
    /// Rows that are indexed, in index order.
    pub rows: Vec<RowHashes>,
    /// What must be bought and what can be kept.
    pub plan: Plan,
    /// What "differs from the last build" means.
    pub content_hash: ContentHash,
    /// Rows that cannot be indexed.
    pub unfit: UnfitRows,
    /// The same, for the manifest.
    pub quarantined: Vec<QuarantinedRow>,
    /// Bytes of the texts to be bought.
    pub text_bytes: u64,
    /// Texts that the provider may still refuse.
    pub refusals_allowed: usize,
}

/// Reads all rows of a look.
///
/// # Errors
///
/// [`PassError`] where reading the source or writing the draft fails.
pub(super) fn read_table(
    rows: &Rows,
    world: &PassContext<'_>,
    planner: Planner<'_>,
    draft: Option<&mut Draft>,
    refused: &HashMap<TextHash, String>,
) -> Result<TableSummary, PassError> {
    let allowed = world.config.guard.quarantine;
    let mut surveyor = TableReader {
        planner,
        draft,
        refused,
        content: ContentHasher::new(&world.space),
        rows: Vec::new(),
        unfit: UnfitRows { count: 0, allowed, named: Vec::new() },
        quarantined: Vec::new(),
        text_bytes: 0,
        last_id: None,
    };
    let tagged = std::thread::scope(|scope| {
        let mut making = RecordWorkers::new(scope);
        let tagged =
            rows.for_each(&mut |raw| making.push(raw, &mut |raw, id, made| surveyor.row(raw, id, made)))?;
        making.finish(&mut |raw, id, made| surveyor.row(raw, id, made))?;
        Ok::<_, PassError>(tagged)
    })?;
    let unfit = surveyor.unfit;
    Ok(TableSummary {
        tagged,
        rows: surveyor.rows,
        plan: surveyor.planner.finish(),
        content_hash: surveyor.content.finish(),
        refusals_allowed: usize::try_from(allowed.saturating_sub(unfit.count)).unwrap_or(usize::MAX),
        unfit,
        quarantined: surveyor.quarantined,
        text_bytes: surveyor.text_bytes,
    })
}

struct TableReader<'a> {
    planner: Planner<'a>,
    draft: Option<&'a mut Draft>,
    refused: &'a HashMap<TextHash, String>,
    content: ContentHasher,
    rows: Vec<RowHashes>,
    unfit: UnfitRows,
    quarantined: Vec<QuarantinedRow>,
    text_bytes: u64,
    last_id: Option<IdHash>,
}

impl TableReader<'_> {
    fn row(
        &mut self,
        raw: Row<'_>,
        id: IdHash,
        made: Result<EncodedRow<'_>, RowError>,
    ) -> Result<(), PassError> {
        let again = self.last_id.replace(id) == Some(id);
        match made {
            Ok(_) if again => {
                let fault = "the row before has the same id, expected every id once".to_owned();
                let column = crate::domain::record::COLUMNS[column::ID];
                let id = crate::domain::record::printable_id(raw[column::ID]);
                self.quarantine(raw, RowError { id, column, message: fault }, None);
            }
            Ok(made) => return self.accept(id, &made, raw),
            Err(fault) => self.quarantine(raw, fault, None),
        }
        Ok(())
    }

    fn accept(&mut self, id: IdHash, made: &EncodedRow<'_>, raw: Row<'_>) -> Result<(), PassError> {
        let text = made.text_hash;
        if let Some(words) = self.refused.get(&text).filter(|_| self.unfit.allowed > 0) {
            let fault = RowError {
                id: crate::domain::record::printable_id(raw[column::ID]),
                column: "document text",
                message: format!("{REFUSED_PREFIX}{words}"),
            };
            self.quarantine(raw, fault, Some(text));
            return Ok(());
        }
        let row = RowHashes { id, text, record: made.record_hash };
        self.content.record(id, text, row.record);
        let verdict = self.planner.row(&row);
        self.rows.push(row);
        if verdict == Need::Embed {
            self.text_bytes += made.text.len() as u64;
        }
        if let Some(draft) = self.draft.as_deref_mut() {
            draft.record(made.json)?;
            if verdict == Need::Embed {
                draft.text(text, &crate::domain::record::printable_id(raw[column::ID]), made.text)?;
            }
        }
        Ok(())
    }

    fn quarantine(&mut self, raw: Row<'_>, fault: RowError, refused_text: Option<TextHash>) {
        let hash = raw_row_hash(raw);
        self.content.quarantined(hash);
        self.unfit.count += 1;
        if self.quarantined.len() < MAX_LISTED_ROWS {
            let RowError { id, column, message: fault } = fault.clone();
            self.quarantined.push(QuarantinedRow {
                id,
                hash,
                column: column.to_owned(),
                reason: fault,
                refused_text,
            });
        }
        if self.unfit.named.len() < MAX_NAMED_FAULTS {
            self.unfit.named.push(fault);
        }
    }
}
