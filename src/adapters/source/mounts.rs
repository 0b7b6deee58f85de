//! Which mount a path is on, by `/proc/self/mountinfo`.
//!
//! For what `stat` and `statfs` do not say: the kind of a file system by name,
//! and the layers below an overlay.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};

/// A mount, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: PathBuf,
    /// The kind of its file system, such as `ext4` or `nfs4`.
    pub(super) kind: String,
    /// The directories that an overlay is made of, as far as they are named.
    pub(super) layers: Vec<PathBuf>,
}

impl Mount {
    /// The mount of a path without links; `None` where `/proc` does not say.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Self::find(&std::fs::read("/proc/self/mountinfo").ok()?, path)
    }

    /// The last one is on top where several have the same point.
    fn find(table: &[u8], path: &Path) -> Option<Self> {
        let lines = table.split(|&byte| byte == b'\n');
        let mounts = lines.filter_map(Self::parse).filter(|mount| path.starts_with(&mount.point));
        mounts.max_by_key(|mount| mount.point.components().count())
    }

    /// One line: `id parent device root point options [tags…] - kind source options`.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let point = unescaped(fields.nth(4)?);
        let mut rest = fields.skip_while(|&field| field != b"-").skip(1);
        let (kind, options) = (rest.next()?, rest.nth(1)?);
        let layers = if kind == b"overlay" { layers(options) } else { Vec::new() };
        Some(Self {
            point: path_of(point),
            kind: String::from_utf8_lossy(&unescaped(kind)).into_owned(),
            layers,
        })
    }
}

/// Where upper and lower directories of an overlay are.
fn layers(options: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for option in options.split(|&byte| byte == b',') {
        let Some(at) = option.iter().position(|&byte| byte == b'=') else { continue };
        let value = &option[at + 1..];
        match &option[..at] {
            b"upperdir" | b"lowerdir+" | b"datadir+" => found.push(path_of(unescaped(value))),
            b"lowerdir" => {
                // Two colons come before a layer of data alone.
                let paths = value.split(|&byte| byte == b':').filter(|path| !path.is_empty());
                found.extend(paths.map(|path| path_of(unescaped(path))));
            }
            _ => (),
        }
    }
    found
}

/// Undoes the kernel's octal escapes: `\040` is a space.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        if let (b'\\', Some(digits)) = (first, digits) {
            let number = digits.iter().fold(0_u32, |number, digit| number * 8 + u32::from(digit - b'0'));
            out.push(number.to_le_bytes()[0]);
            rest = &after[3..];
        } else {
            out.push(first);
            rest = after;
        }
    }
    out
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// Whether a path without links is itself a mount; `None` where the system does not say.
pub(super) fn is_mount(path: &Path) -> Option<bool> {
    let attributes = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()).ok();
    let said = attributes.filter(|file| file.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT));
    match said {
        Some(file) => Some(file.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)),
        // Before Linux 5.8, and where a sandbox refuses the call.
        None => Mount::of(path).map(|mount| mount.point == path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:27 / /srv rw shared:1 master:2 - nfs4 host:/export rw,vers=4.2
31 27 0:28 / /srv/local rw - overlay overlay rw,lowerdir=/l/one:/l/two::/l/data,upperdir=/u\\040p,workdir=/w
32 31 0:28 /app/experts.db /srv/local/data/experts.db rw - xfs /dev/sdb rw
33 27 0:29 / /a\\040b\\134 rw - fuse.sshfs me@host:/ rw
34 27 0:30 / /srv/local rw - tmpfs tmpfs rw
35 27 0:31 / /new rw - overlay none ro,lowerdir+=/l/three,datadir+=/d,redirect_dir=on
a line that is cut";

    #[test]
    fn a_path_is_on_the_mount_with_the_longest_point_and_the_last_of_equal_ones() {
        for (path, point, kind) in [
            ("/data/experts.db", "/", "ext4"),
            ("/srv2/experts.db", "/", "ext4"),
            ("/srv/experts.db", "/srv", "nfs4"),
            ("/srv/local/experts.db", "/srv/local", "tmpfs"),
            ("/srv/local/data/experts.db", "/srv/local/data/experts.db", "xfs"),
            ("/a b\\/experts.db", "/a b\\", "fuse.sshfs"),
        ] {
            let mount = Mount::find(TABLE, Path::new(path)).unwrap();
            assert_eq!((mount.point.as_path(), mount.kind.as_str()), (Path::new(point), kind), "{path}");
        }
        assert_eq!(Mount::find(b"", Path::new("/data")), None);
    }

    #[test]
    fn every_layer_of_an_overlay_is_found() {
        let layers_of = |line: usize| {
            let line = TABLE.split(|&byte| byte == b'\n').nth(line).unwrap();
            Mount::parse(line).unwrap().layers
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(layers_of(2), paths(&["/l/one", "/l/two", "/l/data", "/u p"]));
        assert_eq!(layers_of(6), paths(&["/l/three", "/d"]));
        assert_eq!(layers_of(1), paths(&[]));
    }

    #[test]
    fn what_is_not_an_escape_stays_as_it_is() {
        for (field, expected) in
            [(&b"a\\040b"[..], &b"a b"[..]), (b"\\", b"\\"), (b"\\04", b"\\04"), (b"\\08x", b"\\08x")]
        {
            assert_eq!(unescaped(field), expected);
        }
    }
}
