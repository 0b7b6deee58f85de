//! A file's identity and state, as `stat` gives them.
//!
//! Equal stamps mean that no process wrote, touched or replaced the file in
//! between, as far as the file system's clock can show. `watch` takes them,
//! `agent` compares them, and the stamp of the marker that was last handled is
//! stored across restarts. That is why the device is not part of it: its number
//! may differ after a reboot.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// Differs after a replacement.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// The last write, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// The last change of any kind, in nanoseconds since 1970.
    pub ctime_ns: i64,
}
