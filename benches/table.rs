//! The measurements, as a table that the documents can quote.

use std::fmt::Write as _;
use std::time::Duration;

/// Several measurements of one thing.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<f64>);

impl Figures {
    /// Of times, in seconds.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Self {
        Self(times.into_iter().map(|time| time.as_secs_f64()).collect())
    }

    /// One more.
    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// The median.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The latest, for display during the run.
    pub fn last(&self) -> String {
        self.0.last().map_or_else(String::new, |seconds| time(*seconds))
    }

    /// The ratio of each to the limit that was measured in the same turn.
    pub fn over(&self, limits: &Self) -> Self {
        Self(self.0.iter().zip(&limits.0).map(|(ours, limit)| ours / limit).collect())
    }

    /// The sums of two, turn by turn.
    pub fn plus(&self, others: &Self) -> Self {
        Self(self.0.iter().zip(&others.0).map(|(one, other)| one + other).collect())
    }

    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1).expect("something was measured");
        sorted[(last as f64 * share).round() as usize]
    }

    /// Median and, where there are several, the smallest and the largest.
    pub fn seconds(&self) -> String {
        match self.0.len() {
            1 => time(self.median()),
            _ => format!("{} ({} to {})", time(self.median()), time(self.at(0.0)), time(self.at(1.0))),
        }
    }

    /// The same for ratios.
    pub fn times(&self) -> String {
        match self.0.len() {
            1 => format!("{:.2}", self.median()),
            _ => format!("{:.2} ({:.2} to {:.2})", self.median(), self.at(0.0), self.at(1.0)),
        }
    }
}

/// Seconds in a readable unit.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        s if s < 9.995 => format!("{s:.2} s"),
        s => format!("{s:.1} s"),
    }
}

/// Bytes in a readable unit.
pub fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 10.0 { format!("{megabytes:.1} MB") } else { format!("{megabytes:.0} MB") }
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    line: &'static str,
    cells: [String; 5],
    /// Whether the target is met; `None` if there is none.
    met: Option<bool>,
}

/// The table of all lines measured so far.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A claim with a limit that was measured in the same run: the median of
    /// the ratios must not be above `max`.
    pub fn ratio(
        &mut self,
        line: &'static str,
        what: &str,
        ours: &Figures,
        limit: (&str, &Figures),
        max: f64,
    ) {
        let ratio = ours.over(limit.1);
        let met = ratio.median() <= max;
        let limit = format!("{}: {}", limit.0, limit.1.seconds());
        self.add(line, [what.into(), ours.seconds(), limit, ratio.times(), format!("≤ {max} ×")], Some(met));
    }

    /// A claim with a fixed limit, in seconds.
    pub fn within(&mut self, line: &'static str, what: &str, ours: &Figures, max: f64) {
        let ratio = format!("{:.2}", ours.median() / max);
        let met = ours.median() <= max;
        self.add(
            line,
            [what.into(), ours.seconds(), "–".into(), ratio, format!("≤ {}", time(max))],
            Some(met),
        );
    }

    /// The same for memory.
    pub fn memory(&mut self, line: &'static str, what: &str, peak: u64, max: u64) {
        let ratio = format!("{:.2}", peak as f64 / max as f64);
        let cells = [what.into(), size(peak), "–".into(), ratio, format!("≤ {}", size(max))];
        self.add(line, cells, Some(peak <= max));
    }

    /// A count that must not be above `max`.
    pub fn count(&mut self, line: &'static str, what: &str, found: usize, max: usize) {
        let cells = [what.into(), found.to_string(), "–".into(), String::new(), format!("≤ {max}")];
        self.add(line, cells, Some(found <= max));
    }

    /// A figure without a target.
    pub fn report(&mut self, line: &'static str, what: &str, ours: String, limit: String, ratio: String) {
        self.add(line, [what.into(), ours, limit, ratio, "no target".into()], None);
    }

    fn add(&mut self, line: &'static str, cells: [String; 5], met: Option<bool>) {
        let row = Row { line, cells, met };
        eprintln!("{}", row.print());
        self.rows.push(row);
    }

    /// How many targets are missed.
    pub fn missed(&self) -> usize {
        self.rows.iter().filter(|row| row.met == Some(false)).count()
    }

    /// As Markdown.
    pub fn print(&self) -> String {
        let mut out = "| # | what | reindexd | limit, in the same run | ratio | target | |\n\
                       | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
        for row in &self.rows {
            writeln!(out, "{}", row.print()).expect("writing to a String cannot fail");
        }
        out
    }
}

impl Row {
    fn print(&self) -> String {
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        format!("| {} | {} | {met} |", self.line, self.cells.join(" | "))
    }
}
