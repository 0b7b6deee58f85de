//! Durations as people write them: `250ms`, `30s`, `10m`, `1h 30m`, `1d`.
//!
//! A day has 24 hours, a week seven days; months and years are refused.
//! A bare number is refused, because it does not say whether it means seconds
//! or milliseconds. A printed duration parses as the same duration.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// What a duration looks like, for messages.
pub(super) const SYNTAX: &str = "a duration in quotes, such as \"30s\", \"10m\" or \"1h 30m\"";

/// Parses a duration; `None` if the text is not one, or is negative.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let signed = match text.parse::<SignedDuration>() {
        Ok(signed) => signed,
        // The only form that has days.
        Err(_) => text.parse::<Span>().ok()?.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?,
    };
    Duration::try_from(signed).ok()
}

/// Parses a duration of the command line.
///
/// # Errors
///
/// What was expected.
pub(crate) fn parse_flag(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| "expected a duration, such as 30s, 1h 30m or 1d".to_owned())
}

/// Prints a duration in the form that [`parse`] reads.
pub(super) fn print(duration: Duration) -> String {
    SignedDuration::try_from(duration)
        .map_or_else(|_| format!("{}s", duration.as_secs()), |signed| format!("{signed:#}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let table = [
            ("250ms", Some(Duration::from_millis(250))),
            ("30s", Some(Duration::from_secs(30))),
            (" 30s ", Some(Duration::from_secs(30))),
            ("10m", Some(Duration::from_secs(600))),
            ("1h", Some(Duration::from_secs(3600))),
            ("1h 30m", Some(Duration::from_secs(5400))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1d", Some(Duration::from_secs(86_400))),
            ("1d 1h", Some(Duration::from_secs(90_000))),
            ("2w", Some(Duration::from_secs(1_209_600))),
            ("90m", Some(Duration::from_secs(5400))),
            ("-1d", None),
            ("1mo", None),
            ("1y", None),
            ("1.5h", Some(Duration::from_secs(5400))),
            ("0s", Some(Duration::ZERO)),
            ("30", None),
            ("", None),
            ("-5s", None),
            ("5 parsecs", None),
            ("s", None),
            ("30s and a bit", None),
            ("1e3s", None),
            ("99999999999999999999h", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for (milliseconds, text) in [
            (0, "0s"),
            (250, "250ms"),
            (1500, "1s 500ms"),
            (30_000, "30s"),
            (600_000, "10m"),
            (5_400_000, "1h 30m"),
        ] {
            let duration = Duration::from_millis(milliseconds);
            assert_eq!(print(duration), text);
            assert_eq!(parse(text), Some(duration));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[-+0-9.ehmsu ]{0,20}|.{0,20}") {
            parse(&text);
        }

        #[test]
        fn every_duration_that_is_printed_reads_back(milliseconds in 0_u64..1 << 50) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&print(duration)), Some(duration));
        }
    }
}
