//! Aligned columns and durations, for people.
//!
//! Widths are those that a terminal shows, so that a column with wide letters
//! is aligned as well.

pub(super) use crate::app::print::ago;
pub(super) use crate::domain::build_summary::summary;
pub(super) use crate::flows::status::timings_of;

use unicode_width::UnicodeWidthStr;

use crate::domain::pass::{Stage, Timings};
use crate::domain::text::visible;

/// Two columns: names and values.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.width()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{}  {}\n", padded(name, width), visible(value));
    rows.iter().map(line).collect()
}

/// Columns under a head, each as wide as its widest cell.
pub(super) fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| visible(cell)).collect()).collect();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(&rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.width()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| padded(cell, *width));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    std::iter::once(&head).chain(&rows).map(line).collect()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// `812 ms`, `4.2 s`, `3 min 20 s`.
pub(super) fn milliseconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// `snapshot 12 ms, plan 3 ms, embed 7.2 s, …`: where the time went.
pub(super) fn stage_times(timings: &Timings) -> String {
    timings.stages().map(stage_time).collect::<Vec<_>>().join(", ")
}

/// The stage that took longest, written alike; empty if none took any time.
pub(super) fn longest_stage(timings: &Timings) -> String {
    timings.stages().max_by_key(|(_, ms)| *ms).filter(|(_, ms)| *ms > 0).map(stage_time).unwrap_or_default()
}

fn stage_time((stage, ms): (Stage, u64)) -> String {
    format!("{stage} {}", milliseconds(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_at_every_size() {
        let cases =
            [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (119_999, "119.9 s"), (200_000, "3 min 20 s")];
        for (ms, expected) in cases {
            assert_eq!(milliseconds(ms), expected);
        }
    }

    #[test]
    fn stage_times_are_in_order_and_promote_only_where_it_is_known() {
        let mut known = Timings::zero();
        let times = [12, 3, 7_200, 30, 41, 8, 9];
        for (stage, ms) in Stage::ALL.into_iter().skip(1).zip(times) {
            known.add(stage, ms);
        }
        let written = known.before_promotion();

        let expected = "snapshot 12 ms, plan 3 ms, embed 7.2 s, index 30 ms, verify 41 ms, evaluate 8 ms";
        assert_eq!(stage_times(&known), format!("{expected}, promote 9 ms"));
        assert_eq!(stage_times(&written), expected);
        assert_eq!(
            (longest_stage(&known), longest_stage(&Timings::default())),
            ("embed 7.2 s".to_owned(), String::new())
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "long cell".to_owned()], vec!["bbb".to_owned(), "c".to_owned()]];

        assert_eq!(columns(&["x", "y"], &rows), "x    y\na    long cell\nbbb  c\n");
    }

    #[test]
    fn wide_letters_take_the_columns_that_a_terminal_gives_them() {
        let rows = [vec!["山田".to_owned(), "c".to_owned()], vec!["e\u{301}".to_owned(), "d".to_owned()]];

        assert_eq!(columns(&["x", "y"], &rows), "x     y\n山田  c\ne\u{301}     d\n");
    }
}
