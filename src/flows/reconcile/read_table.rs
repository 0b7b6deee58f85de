//! Reads all rows of a scan into records, hashes, metadata and a plan.
//!
//! A digest of each row is held in memory, and no text. Records and the texts
//! to embed go into the draft as they come; without a draft nothing is written,
//! which is what `plan` and `status` need. Rows that cannot be indexed are
//! collected; whether there may be any is the caller's decision.

use std::collections::HashMap;
use std::sync::Arc;

use super::context::PassContext;
use super::error::PassError;
use super::long_texts;
use super::record_workers::{EncodedRow, Piece, RecordWorkers};
use super::text_sample::{KnownText, TextSample};
use crate::adapters::builds::staging::Draft;
use crate::adapters::embed::BatchCounter;
use crate::adapters::source::{Rows, ScanDigest};
use crate::decide::decision::OtherAddress;
use crate::decide::guard::{MAX_NAMED_FAULTS, UnfitRows};
use crate::decide::plan::{Need, Plan, Planner};
use crate::domain::manifest::QuarantinedRow;
use crate::domain::pass::REFUSED_PREFIX;
use crate::domain::record::{
    ContentHash, ContentHasher, IdHash, Row, RowError, Schema, SeenIds, TextHash, ValuesHash, printable_id,
    raw_row_hash, seen_id,
};
use crate::domain::row_hashes::RowHashes;
use crate::domain::source_facts::RulesFacts;
use crate::domain::tokens::LongTexts;

/// Quarantined rows that the manifest lists; any further ones are excluded too, and only counted.
const MAX_LISTED_ROWS: usize = 10_000;

/// A longer text is not sent only to see whether the provider works.
const MAX_WITNESS_BYTES: usize = 4096;

/// What the rows of one scan came to.
pub(super) struct TableSummary {
    /// Rows that are indexed or excluded.
    pub indexed_rows: u64,
    /// Rows that are indexed, in index order.
    pub rows: Vec<RowHashes>,
    /// What must be embedded and what can be reused.
    pub plan: Plan,
    /// Equal to that of another build: nothing differs from it.
    pub content_hash: ContentHash,
    /// Digest of the raw values alone.
    pub values_hash: ValuesHash,
    /// What was read and how texts were made of it.
    pub rules: RulesFacts,
    /// Indexed rows whose tags are the JSON word `null`.
    pub null_tags: u64,
    /// Texts that the model does not read whole.
    pub too_long: LongTexts,
    /// Digest of the ids of their rows, if there are any.
    pub long_rows: Option<String>,
    /// Rows that cannot be indexed.
    pub unfit: UnfitRows,
    /// The same, for the manifest.
    pub quarantined: Vec<QuarantinedRow>,
    /// Bytes of the texts to embed.
    pub text_bytes: u64,
    /// Requests for these texts.
    pub requests: u64,
    /// Texts that the provider may still refuse.
    pub refusals_allowed: usize,
    /// The first short text that this table need not embed.
    pub witness: Option<String>,
    /// Texts whose vector a build has, to be compared with what the provider gives now.
    pub sample: Vec<KnownText>,
}

/// What was read before a decision.
pub(super) struct FoundRows<'a> {
    pub(super) table: &'a TableSummary,
    /// Judged queries that must be embedded.
    pub(super) queries: u64,
    pub(super) other_address: Option<&'a OtherAddress>,
}

/// Reads all rows.
///
/// # Errors
///
/// [`PassError`] if reading the source or writing the draft fails.
pub(super) fn read_table(
    rows: &Rows,
    context: &PassContext<'_>,
    planner: Planner<'_>,
    draft: Option<&mut Draft>,
    refused: &HashMap<TextHash, String>,
    sample: TextSample,
) -> Result<TableSummary, PassError> {
    let allowed = context.config.guard.quarantine;
    let rules = Arc::clone(rows.rules());
    let measure = long_texts::measure(context);
    let mut reader = TableReader {
        schema: &rules.schema,
        planner,
        draft,
        refused,
        sample,
        content: ContentHasher::new(context.basis(), &rules.schema.digest_input),
        rows: Vec::new(),
        null_tags: 0,
        too_long: LongTexts::new(measure.as_ref()),
        long_ids: blake3::Hasher::new(),
        unfit: UnfitRows { count: 0, allowed, named: Vec::new() },
        quarantined: Vec::new(),
        text_bytes: 0,
        witness: None,
        batches: BatchCounter::new(&context.config.embedding),
        ids: SeenIds::default(),
        id_text: String::new(),
        other_ids: Vec::new(),
    };
    let mut workers = RecordWorkers::new(&rules, measure);
    let mut sink = |row: Row<'_>, encoded: Result<EncodedRow<'_>, _>| reader.row(row, encoded);
    let mut values = ScanDigest::of_values();
    let indexed_rows = rows.for_each(&mut |row| {
        values.row(row);
        workers.push(row, &mut sink)
    })?;
    workers.finish(&mut sink)?;
    let unfit = reader.unfit;
    Ok(TableSummary {
        indexed_rows,
        rows: reader.rows,
        plan: reader.planner.finish(),
        content_hash: reader.content.finish(),
        values_hash: values.finish_values(),
        rules: RulesFacts::of(&rules, context.basis().limit),
        refusals_allowed: usize::try_from(allowed.saturating_sub(unfit.count)).unwrap_or(usize::MAX),
        null_tags: reader.null_tags,
        long_rows: (!reader.too_long.is_empty())
            .then(|| reader.long_ids.finalize().to_hex()[..16].to_owned()),
        too_long: reader.too_long,
        unfit,
        quarantined: reader.quarantined,
        text_bytes: reader.text_bytes,
        requests: reader.batches.requests(),
        witness: reader.witness,
        sample: reader.sample.into_texts(),
    })
}

struct TableReader<'a> {
    schema: &'a Schema,
    planner: Planner<'a>,
    draft: Option<&'a mut Draft>,
    /// Texts that the provider refused before, with its message.
    refused: &'a HashMap<TextHash, String>,
    sample: TextSample,
    content: ContentHasher,
    rows: Vec<RowHashes>,
    null_tags: u64,
    too_long: LongTexts,
    /// Fed with the ids of rows whose texts are too long.
    long_ids: blake3::Hasher,
    unfit: UnfitRows,
    quarantined: Vec<QuarantinedRow>,
    text_bytes: u64,
    batches: BatchCounter,
    ids: SeenIds,
    /// A buffer.
    id_text: String,
    /// The ids so far that are not those of `rows`.
    other_ids: Vec<IdHash>,
    /// The first short text that need not be embedded.
    witness: Option<String>,
}

impl TableReader<'_> {
    fn row(&mut self, row: Row<'_>, encoded: Result<EncodedRow<'_>, RowError>) -> Result<(), PassError> {
        let indexed = self.rows.len();
        let mut id_text = std::mem::take(&mut self.id_text);
        let (id, hash) = seen_id(self.schema, row, &mut id_text);
        let known = if self.schema.is_experts() { self.rows.as_slice() } else { &[] };
        let before = known.iter().map(|row| row.id).chain(self.other_ids.iter().copied());
        let is_new = self.ids.insert(id, hash, before);
        self.id_text = id_text;
        self.decide(row, encoded, is_new)?;
        if self.rows.len() == indexed || !self.schema.is_experts() {
            self.other_ids.push(hash);
        }
        Ok(())
    }

    fn decide(
        &mut self,
        row: Row<'_>,
        encoded: Result<EncodedRow<'_>, RowError>,
        is_new: bool,
    ) -> Result<(), PassError> {
        match encoded {
            Ok(_) if !is_new => {
                let message = "another row has the same id, expected every id once";
                self.quarantine(row, self.error(row, &self.schema.id_names(), message.to_owned()), None);
                Ok(())
            }
            Ok(encoded) => self.accept(row, &encoded),
            Err(error) => {
                self.quarantine(row, error, None);
                Ok(())
            }
        }
    }

    fn accept(&mut self, row: Row<'_>, encoded: &EncodedRow<'_>) -> Result<(), PassError> {
        let known = self.refused;
        let refused = encoded.pieces().map(|piece| piece.text_hash);
        let mut refused = refused.filter_map(|text| Some((text, known.get(&text)?.clone())));
        // A text that has a vector was taken since it was refused.
        let refused = refused.find(|(text, _)| !self.planner.has_vector(*text));
        if let Some((text, message)) = refused.filter(|_| self.unfit.allowed > 0) {
            let error = self.error(row, "document text", format!("{REFUSED_PREFIX}{message}"));
            self.quarantine(row, error, Some(text));
            return Ok(());
        }
        self.null_tags += u64::from(encoded.has_null_tags);
        let mut begins_row = true;
        encoded
            .pieces()
            .try_for_each(|piece| self.add(row, encoded.members, &piece, std::mem::take(&mut begins_row)))
    }

    /// Adds one entry of index and metadata.
    fn add(
        &mut self,
        row: Row<'_>,
        members: &[u8],
        piece: &Piece<'_>,
        begins_row: bool,
    ) -> Result<(), PassError> {
        let hashes = RowHashes { id: piece.id_hash, text: piece.text_hash, record: piece.record_hash };
        self.content.record(hashes.id, hashes.text, hashes.record);
        let need = self.planner.row(&hashes, begins_row);
        self.rows.push(hashes);
        self.sample.offer(&hashes, piece.text);
        if let Some(tokens) = piece.long {
            self.too_long.add(|| printable_id(self.schema, row), tokens);
            self.long_ids.update(&hashes.id.0);
        }
        if need == Need::Embed {
            self.text_bytes += piece.text.len() as u64;
            self.batches.add(piece.text);
        } else if self.witness.is_none() && piece.text.len() <= MAX_WITNESS_BYTES {
            self.witness = Some(piece.text.to_owned());
        }
        if let Some(draft) = self.draft.as_deref_mut() {
            draft.record(members, piece.ending)?;
            if need == Need::Embed {
                draft.text(hashes.text, &printable_id(self.schema, row), piece.text)?;
            }
        }
        Ok(())
    }

    fn quarantine(&mut self, row: Row<'_>, error: RowError, refused_text: Option<TextHash>) {
        let hash = raw_row_hash(row);
        self.content.quarantined(hash);
        self.unfit.count += 1;
        if self.quarantined.len() < MAX_LISTED_ROWS {
            let RowError { id, column, message: reason } = error.clone();
            self.quarantined.push(QuarantinedRow { id, hash, column, reason, refused_text, since: None });
        }
        if self.unfit.named.len() < MAX_NAMED_FAULTS {
            self.unfit.named.push(error);
        }
    }

    fn error(&self, row: Row<'_>, column: &str, message: String) -> RowError {
        RowError { id: printable_id(self.schema, row), column: column.to_owned(), message }
    }
}
