//! Whether another host is at work in a directory that both reach over a network.
//!
//! A lock may be local to a host there, so the holder of one also leaves a note
//! with the boot that it runs under, and renews the note's time stamp. Under one
//! boot the lock decides alone. All times are those of the file system, whose
//! clock both hosts share.

use std::time::Duration;

/// How often the holder renews its note.
pub(crate) const RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// How long after a renewal its holder counts as alive: it may have missed four.
pub(crate) const LIVE: Duration = Duration::from_secs(5 * 60);

/// For how long the holder of a note of another boot still counts as alive; `None` if it no longer does.
///
/// `apart`: between the note's renewal and now, in either direction: where the file system's clock was
/// set back, a note from the future is as good as one from the past.
pub(crate) fn alive_for(apart: Duration) -> Option<Duration> {
    LIVE.checked_sub(apart).filter(|left| !left.is_zero())
}

/// The boot's id as hexadecimal digits, however it was written; `None` for anything else.
pub(crate) fn boot_id(text: &str) -> Option<String> {
    let digits: String = text.trim().chars().filter(|&c| c != '-').map(|c| c.to_ascii_lowercase()).collect();
    (digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_alive_for_five_minutes_after_its_note_was_renewed() {
        let seconds = Duration::from_secs;
        for (apart, left) in [(0, Some(300)), (60, Some(240)), (299, Some(1)), (300, None), (86_400, None)] {
            assert_eq!(alive_for(seconds(apart)), left.map(seconds), "{apart}");
        }
    }

    #[test]
    fn a_boot_has_one_id_in_every_way_of_writing_it() {
        let id = "0123456789abcdef0123456789abcdef";
        for (text, expected) in [
            ("01234567-89ab-cdef-0123-456789abcdef\n", Some(id)),
            ("0123456789ABCDEF0123456789abcdef", Some(id)),
            ("", None),
            ("%b", None),
            ("0123456789abcdef0123456789abcde", None),
            ("0123456789abcdef0123456789abcdeg", None),
        ] {
            assert_eq!(boot_id(text).as_deref(), expected, "{text:?}");
        }
    }
}
