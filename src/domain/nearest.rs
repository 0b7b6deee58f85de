//! The nearest known name to an unknown one, for messages.
//!
//! Distance is that of `strsim`; how near is near enough is decided here.

/// The nearest of the known names, if it is near enough to be a typing error.
#[must_use]
pub fn closest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = (name.chars().count() / 3).clamp(1, 3);
    let rated = known.iter().map(|candidate| (distance(name, candidate), *candidate));
    rated.min_by_key(|(steps, _)| *steps).filter(|(steps, _)| *steps <= near).map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    // Names far longer than any key are cut: the time taken would grow with them.
    let plain = |name: &str| name.to_lowercase().replace('-', "_").chars().take(64).collect::<String>();
    strsim::osa_distance(&plain(from), &plain(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_of_neighbours_is_one_step() {
        for (from, to, steps) in [
            ("", "", 0),
            ("abc", "abc", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("quite", "quiet", 1),
            ("kep", "keep", 1),
            ("max-rows", "MAX_ROWS", 0),
            ("ERSTE-ZEIEL", "Erste-Zeile", 1),
        ] {
            assert_eq!(distance(from, to), steps, "{from} {to}");
        }
    }
}
