//! Where a database may be read without locks: only where a write is sure to show.
//!
//! A write changes the time of last change before it changes a byte. So a file
//! whose stamps are the same before and after a read was not written, if its
//! file system keeps stamps finer than a second, sets them on this machine, and
//! the file had been at rest before. Coarse stamps, those of a server, and those
//! of a cache prove nothing: there, only locks do.

use std::time::Duration;

/// How long a file must have been unchanged before it is read without locks.
pub(crate) const REST: Duration = Duration::from_secs(3);

/// ext2 to ext4, XFS, btrfs, tmpfs, F2FS, ZFS, bcachefs.
const LISTED: [i64; 7] =
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E];
/// An overlay gives the stamps of the layer that a file is in.
pub(crate) const OVERLAY: i64 = 0x794C_7630;

/// A time stamp: seconds and nanoseconds since 1970.
pub(crate) type Stamp = (i64, i64);

/// Whether each write of a file shows in its stamps.
///
/// `magic` is the number by which `statfs` names the file system, `layers` those
/// of everything below an overlay, `changed` when the file's inode last changed.
/// That stamp cannot be set by hand, so a file system that keeps whole seconds, as
/// ext4 does in small inodes, shows in it: its nanoseconds are 0.
pub(crate) fn has_fine_stamps(magic: i64, layers: &[Option<i64>], changed: Stamp) -> bool {
    let is_listed = |magic: i64| LISTED.contains(&magic);
    let is_local = match magic {
        OVERLAY => !layers.is_empty() && layers.iter().all(|layer| layer.is_some_and(is_listed)),
        magic => is_listed(magic),
    };
    is_local && changed.1 != 0
}

/// Whether a file had been at rest when it was looked at, `now` after 1970. A stamp far in the future, as
/// after the clock was set back, is as safe as one long past: the next write has another.
pub(crate) fn is_at_rest(stamps: [Stamp; 2], now: Duration) -> bool {
    let nanos = |(seconds, nanos): Stamp| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let now = i128::try_from(now.as_nanos()).unwrap_or(i128::MAX);
    let is_far = |stamp| (nanos(stamp) - now).unsigned_abs() > REST.as_nanos();
    stamps.into_iter().all(is_far)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: i64 = 0xEF53;
    const NFS: i64 = 0x6969;
    const FAT: i64 = 0x4d44;
    const FUSE: i64 = 0x6573_5546;
    const FINE: Stamp = (1_700_000_000, 1);
    const WHOLE: Stamp = (1_700_000_000, 0);

    #[test]
    fn stamps_are_fine_on_listed_file_systems_that_keep_parts_of_a_second() {
        for magic in LISTED {
            assert!(has_fine_stamps(magic, &[], FINE), "{magic:x}");
            assert!(!has_fine_stamps(magic, &[], WHOLE), "{magic:x} keeps whole seconds");
        }
        // NFS, FAT, FUSE, CIFS, SMB2, 9p, exFAT, Ceph, proc, and what is not known yet.
        for magic in
            [NFS, FAT, FUSE, 0xFF53_4D42, 0xFE53_4D42, 0x0102_1997, 0x2011_BAB0, 0x00C3_6400, 0x9FA0, 0, -1]
        {
            assert!(!has_fine_stamps(magic, &[], FINE), "{magic:x}");
            assert!(!has_fine_stamps(magic, &[Some(EXT4)], FINE), "{magic:x}: has no layers");
        }
    }

    #[test]
    fn an_overlay_is_as_good_as_the_worst_of_its_layers() {
        let cases: [(&[Option<i64>], Stamp, bool); 8] = [
            (&[Some(EXT4)], FINE, true),
            (&[Some(EXT4), Some(LISTED[3])], FINE, true),
            (&[Some(EXT4)], WHOLE, false),
            (&[Some(EXT4), Some(NFS)], FINE, false),
            (&[Some(EXT4), None], FINE, false),
            (&[Some(OVERLAY)], FINE, false),
            (&[None], FINE, false),
            (&[], FINE, false),
        ];
        for (layers, changed, expected) in cases {
            assert_eq!(has_fine_stamps(OVERLAY, layers, changed), expected, "{layers:?} {changed:?}");
        }
    }

    #[test]
    fn a_file_is_at_rest_when_both_stamps_are_more_than_three_seconds_away() {
        let now = Duration::from_secs(1000);
        for (seconds, nanos, expected) in [
            (990, 0, true),
            (996, 999_999_999, true),
            (997, 0, false),
            (999, 0, false),
            (1000, 0, false),
            (1003, 0, false),
            (1003, 1, true),
            (5000, 0, true),
            (-5, 0, true),
            (i64::MAX, 0, true),
            (i64::MIN, 0, true),
        ] {
            let stamp = (seconds, nanos);
            assert_eq!(is_at_rest([stamp, (0, 0)], now), expected, "{stamp:?}");
            assert_eq!(is_at_rest([(0, 0), stamp], now), expected, "{stamp:?}");
        }
    }
}
