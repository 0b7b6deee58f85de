//! What was measured, as a table that README can quote.

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

    /// The one in the middle.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The latest, for people who wait.
    pub fn last(&self) -> String {
        self.0.last().map_or_else(String::new, |seconds| time(*seconds))
    }

    /// Each as so many times the one of the same turn, taken right beside it.
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

/// Seconds as a person would say them.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 0.000_999_5 => format!("{:.0} µs", s * 1e6),
        s if s < 0.01 => format!("{:.1} ms", s * 1e3),
        s if s < 0.999_5 => format!("{:.0} ms", s * 1e3),
        s if s < 9.995 => format!("{s:.2} s"),
        s => format!("{s:.1} s"),
    }
}

/// Bytes as a person would say them.
pub fn size(bytes: u64) -> String {
    let megabytes = bytes as f64 / 1e6;
    if megabytes < 10.0 { format!("{megabytes:.1} MB") } else { format!("{megabytes:.0} MB") }
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    line: &'static str,
    cells: [String; 5],
    /// Whether the target is met; none where there is no target.
    met: Option<bool>,
}

/// The table as it grows.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A claim with a limit that was measured beside it: the median of the ratios must not be above `most`.
    pub fn ratio(
        &mut self,
        line: &'static str,
        what: &str,
        ours: &Figures,
        limit: (&str, &Figures),
        most: f64,
    ) {
        let ratio = ours.over(limit.1);
        let met = ratio.median() <= most;
        let limit = format!("{}: {}", limit.0, limit.1.seconds());
        self.add(line, [what.into(), ours.seconds(), limit, ratio.times(), format!("≤ {most} ×")], Some(met));
    }

    /// A claim with a limit that stands fixed, in seconds.
    pub fn within(&mut self, line: &'static str, what: &str, ours: &Figures, most: f64) {
        let ratio = format!("{:.2}", ours.median() / most);
        let met = ours.median() <= most;
        self.add(
            line,
            [what.into(), ours.seconds(), "–".into(), ratio, format!("≤ {}", time(most))],
            Some(met),
        );
    }

    /// The same for memory.
    pub fn memory(&mut self, line: &'static str, what: &str, peak: u64, most: u64) {
        let ratio = format!("{:.2}", peak as f64 / most as f64);
        let cells = [what.into(), size(peak), "–".into(), ratio, format!("≤ {}", size(most))];
        self.add(line, cells, Some(peak <= most));
    }

    /// A count that must not be above `most`.
    pub fn count(&mut self, line: &'static str, what: &str, found: usize, most: usize) {
        let cells = [what.into(), found.to_string(), "–".into(), String::new(), format!("≤ {most}")];
        self.add(line, cells, Some(found <= most));
    }

    /// Something that is only told.
    pub fn report(&mut self, line: &'static str, what: &str, ours: String, limit: String, ratio: String) {
        self.add(line, [what.into(), ours, limit, ratio, "told".into()], None);
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
            writeln!(out, "{}", row.print()).expect("a text takes every line");
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
