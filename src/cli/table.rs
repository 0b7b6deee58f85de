//! Aligned columns and durations for people, and where the time of a build went.

use crate::adapters::builds::state::History;
pub(crate) use crate::app::print::ago;
pub(crate) use crate::domain::build_summary::summary;
use crate::domain::manifest::Manifest;
use crate::domain::pass::{Stage, Timings};

/// Two columns: names, and what they stand for.
pub(crate) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {value}\n");
    rows.iter().map(line).collect()
}

/// Columns under a head, each as wide as its widest cell.
pub(crate) fn columns(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

/// `812 ms`, `4.2 s`, `3 min 20 s`.
pub(crate) fn milliseconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000),
    }
}

/// `snapshot 12 ms, plan 3 ms, embed 7.2 s, …`: where the time went.
pub(crate) fn stage_times(timings: &Timings) -> String {
    timings.stages().map(stage_time).collect::<Vec<_>>().join(", ")
}

/// The phase that took longest, in the same words; nothing where none took any time.
pub(crate) fn longest_stage(timings: &Timings) -> String {
    timings.stages().max_by_key(|(_, ms)| *ms).filter(|(_, ms)| *ms > 0).map(stage_time).unwrap_or_default()
}

fn stage_time((stage, ms): (Stage, u64)) -> String {
    format!("{stage} {}", milliseconds(ms))
}

/// Where the time of a build went: with the promotion while the pass is remembered, else as the manifest has
/// it, which is written before the promotion ends.
pub(crate) fn timings_of(manifest: &Manifest, history: &History) -> Timings {
    let remembered = history.attempt_of(&manifest.id).map(|attempt| attempt.timings);
    remembered.filter(Timings::has_stages).unwrap_or(manifest.timings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well_at_every_size() {
        let cases =
            [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (119_999, "119.9 s"), (200_000, "3 min 20 s")];
        for (ms, words) in cases {
            assert_eq!(milliseconds(ms), words);
        }
    }

    #[test]
    fn stage_times_are_in_order_and_promote_only_where_it_is_known() {
        let mut known = Timings::zero();
        let times = [12, 3, 7_200, 30, 41, 9];
        for (stage, ms) in Stage::ALL.into_iter().skip(1).zip(times) {
            known.add(stage, ms);
        }
        let written = known.before_promotion();

        let words = "snapshot 12 ms, plan 3 ms, embed 7.2 s, index 30 ms, verify 41 ms";
        assert_eq!(stage_times(&known), format!("{words}, promote 9 ms"));
        assert_eq!(stage_times(&written), words);
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
}
