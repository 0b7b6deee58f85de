//! How many cases of a proof are run: a sample in the gate, all by `make proof`.

/// Whether all cases are run (`REINDEXD_PROOF=full`, as `make proof` sets it).
pub fn is_full() -> bool {
    std::env::var_os("REINDEXD_PROOF").is_some_and(|how| how == "full")
}

/// The first number in the gate, the second in full.
pub fn pick<T>(thin: T, full: T) -> T {
    if is_full() { full } else { thin }
}

/// In full all cases; in the gate at most `max` of them, spread evenly, first and last included.
pub fn thinned<T>(cases: Vec<T>, max: usize) -> Vec<T> {
    if is_full() { cases } else { spread(cases, max) }
}

/// The seed of all random choices: always the same, unless `REINDEXD_PROOF_SEED` sets another.
pub fn seed() -> u64 {
    let variable = std::env::var("REINDEXD_PROOF_SEED").ok();
    variable.map_or(1, |seed| seed.parse().expect("REINDEXD_PROOF_SEED is a whole number"))
}

/// At most `max` of the cases, spread evenly, first and last included.
pub fn spread<T>(cases: Vec<T>, max: usize) -> Vec<T> {
    if cases.len() <= max {
        return cases;
    }
    let last = cases.len() - 1;
    let mut wanted = (0..max).map(|nth| nth * last / (max - 1).max(1)).peekable();
    let kept = cases.into_iter().enumerate().filter(|(at, _)| wanted.next_if_eq(at).is_some());
    kept.map(|(_, case)| case).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_keeps_both_ends_and_as_many_as_asked_for() {
        assert_eq!(spread((0..=100).collect(), 5), [0, 25, 50, 75, 100]);
        assert_eq!(spread((0..7).collect(), 3), [0, 3, 6]);
        assert_eq!(spread(vec![0, 1], 1), [0]);
    }
}
