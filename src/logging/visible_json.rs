//! Lines of JSON in which nothing has an effect on the terminal that shows them.
//!
//! JSON escapes the ASCII controls alone; a name from outside may also turn the
//! reading order or hide behind marks without a width. Programs read the same.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use crate::domain::text::visible_json;

/// Makes writers of whole lines.
pub(super) struct VisibleJson<M>(pub(super) M);

/// Escapes what is written through it.
pub(super) struct VisibleJsonWriter<W>(W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for VisibleJson<M> {
    type Writer = VisibleJsonWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        VisibleJsonWriter(self.0.make_writer())
    }
}

impl<W: Write> Write for VisibleJsonWriter<W> {
    /// A line comes as a whole, as valid UTF-8.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_all(visible_json(&String::from_utf8_lossy(line)).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
