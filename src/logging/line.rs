//! One log line for people: `subject: fact (key=value key=value)`.
//!
//! Standard error and the journal print the same line; programs read the
//! fields by their names, which JSON and the journal carry as well.

use std::fmt::{self, Debug, Display, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::domain::text::visible;

/// The parts of one line, gathered field by field.
#[derive(Default)]
pub(super) struct Line {
    message: String,
    fields: String,
}

impl Line {
    pub(super) fn bytes(&self) -> usize {
        self.message.len() + self.fields.len()
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A value may be a path or another's message: it must not begin a line of its own.
        let value = visible(&format!("{value:?}"));
        let written = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => {
                let separator = if self.fields.is_empty() { "" } else { " " };
                write!(self.fields, "{separator}{name}={value}")
            }
        };
        written.expect("a string takes all that is written");
    }
}

impl Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.fields.is_empty() { Ok(()) } else { write!(f, " ({})", self.fields) }
    }
}

/// Formats the fields of events for standard error.
pub(super) struct LineFormat;

impl<'w> FormatFields<'w> for LineFormat {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line::default();
        fields.record(&mut line);
        write!(out, "{line}")
    }
}
