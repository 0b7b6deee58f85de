//! The second scan of a look: rows become records, hashes, metadata and a plan.
//!
//! Forty bytes a row are held. Records go into the draft as they come, and so
//! do the texts that must be bought; without a draft nothing is written, which
//! is what `plan` and `status` ask for.

use std::collections::HashMap;

use super::record_workers::{Made, Making};
use super::{PassError, World};
use crate::adapters::builds::staging::Draft;
use crate::adapters::source::Look;
use crate::decide::guard::{FAULTS_NAMED, UnfitRows};
use crate::decide::plan::{Plan, Planner, Verdict};
use crate::domain::manifest::{LeftOut, RowHashes};
use crate::domain::record::{
    ContentHash, ContentHasher, IdHash, RawValue, RowFault, TextHash, column, raw_row_hash,
};

/// Rows left out that the manifest lists; any further ones are left out too, and only counted.
const MOST_LEFT_OUT: usize = 10_000;

/// How the reason begins for a row whose text the provider would not take.
pub(super) const PROVIDER_REFUSES: &str = "the provider refuses it: ";

/// What a look found, row by row.
pub(super) struct Survey {
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
    pub left_out: Vec<LeftOut>,
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
pub(super) fn survey(
    look: &Look<'_>,
    world: &World<'_>,
    planner: Planner<'_>,
    draft: Option<&mut Draft>,
    refused: &HashMap<TextHash, String>,
) -> Result<Survey, PassError> {
    let allowed = world.config.guard.quarantine;
    let mut surveyor = Surveyor {
        planner,
        draft,
        refused,
        content: ContentHasher::new(&world.space),
        rows: Vec::new(),
        unfit: UnfitRows { count: 0, allowed, named: Vec::new() },
        left_out: Vec::new(),
        text_bytes: 0,
        last_id: None,
    };
    let tagged = std::thread::scope(|scope| {
        let mut making = Making::new(scope);
        let tagged =
            look.rows(&mut |raw| making.row(raw, &mut |raw, id, made| surveyor.row(raw, id, made)))?;
        making.finish(&mut |raw, id, made| surveyor.row(raw, id, made))?;
        Ok::<_, PassError>(tagged)
    })?;
    let unfit = surveyor.unfit;
    Ok(Survey {
        tagged,
        rows: surveyor.rows,
        plan: surveyor.planner.finish(),
        content_hash: surveyor.content.finish(),
        refusals_allowed: usize::try_from(allowed.saturating_sub(unfit.count)).unwrap_or(usize::MAX),
        unfit,
        left_out: surveyor.left_out,
        text_bytes: surveyor.text_bytes,
    })
}

struct Surveyor<'a> {
    planner: Planner<'a>,
    draft: Option<&'a mut Draft>,
    refused: &'a HashMap<TextHash, String>,
    content: ContentHasher,
    rows: Vec<RowHashes>,
    unfit: UnfitRows,
    left_out: Vec<LeftOut>,
    text_bytes: u64,
    last_id: Option<IdHash>,
}

impl Surveyor<'_> {
    fn row(
        &mut self,
        raw: &[RawValue<'_>; 14],
        id: IdHash,
        made: Result<Made<'_>, RowFault>,
    ) -> Result<(), PassError> {
        let again = self.last_id.replace(id) == Some(id);
        match made {
            Ok(_) if again => {
                let fault = "the row before has the same id, expected every id once".to_owned();
                let column = crate::domain::record::COLUMNS[column::ID];
                let id = crate::domain::record::printable_id(raw[column::ID]);
                self.leave_out(raw, RowFault { id, column, fault }, None);
            }
            Ok(made) => return self.take(id, &made, raw),
            Err(fault) => self.leave_out(raw, fault, None),
        }
        Ok(())
    }

    fn take(&mut self, id: IdHash, made: &Made<'_>, raw: &[RawValue<'_>; 14]) -> Result<(), PassError> {
        let text = made.text_hash;
        if let Some(words) = self.refused.get(&text).filter(|_| self.unfit.allowed > 0) {
            let fault = RowFault {
                id: crate::domain::record::printable_id(raw[column::ID]),
                column: "document text",
                fault: format!("{PROVIDER_REFUSES}{words}"),
            };
            self.leave_out(raw, fault, Some(text));
            return Ok(());
        }
        let row = RowHashes { id, text, record: made.record_hash };
        self.content.record(id, text, row.record);
        let verdict = self.planner.row(&row);
        self.rows.push(row);
        if verdict == Verdict::Buy {
            self.text_bytes += made.text.len() as u64;
        }
        if let Some(draft) = self.draft.as_deref_mut() {
            draft.record(made.json)?;
            if verdict == Verdict::Buy {
                draft.text(text, &crate::domain::record::printable_id(raw[column::ID]), made.text)?;
            }
        }
        Ok(())
    }

    fn leave_out(&mut self, raw: &[RawValue<'_>; 14], fault: RowFault, refused_text: Option<TextHash>) {
        let hash = raw_row_hash(raw);
        self.content.left_out(hash);
        self.unfit.count += 1;
        if self.left_out.len() < MOST_LEFT_OUT {
            let RowFault { id, column, fault } = fault.clone();
            self.left_out.push(LeftOut { id, hash, column: column.to_owned(), reason: fault, refused_text });
        }
        if self.unfit.named.len() < FAULTS_NAMED {
            self.unfit.named.push(fault);
        }
    }
}
