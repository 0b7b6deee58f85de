//! A file's identity and state, as `stat` gives them.
//!
//! Equal stamps mean that nobody wrote, touched or replaced the file since, as
//! far as the file system's clock can tell. `watch` takes them, `agent`
//! compares them, and the one of the marker that was last acted on is kept
//! across restarts. That is why the device is not in it: its number may be
//! another one after a reboot.

use serde::{Deserialize, Serialize};

/// A file's identity and state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// The inode: another one after a replacement.
    pub inode: u64,
    /// The size in bytes.
    pub size: u64,
    /// The last write, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The last change of any kind, in nanoseconds since 1970.
    pub ctime_ns: i64,
}
