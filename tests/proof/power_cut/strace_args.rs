//! Parses the output of strace: arguments, quoted bytes, paths, numbers.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Splits arguments at the commas between them.
pub fn split(arguments: &str) -> Vec<&str> {
    let (mut out, mut from, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            b'[' | b'{' | b'<' if !quoted => depth += 1,
            b']' | b'}' | b'>' if !quoted => depth -= 1,
            b',' if !quoted && depth == 0 => {
                out.push(arguments[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    out.push(arguments[from..].trim());
    out
}

/// All quoted bytes; there must be `taken`.
pub fn data(arguments: &str, taken: usize) -> Vec<u8> {
    let mut out: Vec<u8> = arguments.split('"').skip(1).step_by(2).flat_map(decode).collect();
    out.truncate(taken);
    assert_eq!(out.len(), taken, "strace printed fewer bytes");
    out
}

pub fn path(quoted: &str) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&decode(quoted.trim_matches('"'))))
}

/// `\x41\x42` to bytes; other characters stay.
pub fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() / 4);
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        if let [b'\\', b'x', high, low, rest @ ..] = bytes {
            let digit = |byte: &u8| (*byte as char).to_digit(16).unwrap() as u8;
            out.push(digit(high) << 4 | digit(low));
            bytes = rest;
        } else {
            out.push(*first);
            bytes = rest;
        }
    }
    out
}

pub fn descriptor(argument: &str) -> i64 {
    argument.split('<').next().unwrap().parse().unwrap_or(-1)
}

pub fn mode(octal: &str) -> u32 {
    u32::from_str_radix(octal, 8).unwrap()
}

/// The path that strace prints after a descriptor.
pub fn printed(descriptor: &str) -> Option<PathBuf> {
    let (_, printed) = descriptor.split_once('<')?;
    Some(PathBuf::from(OsStr::from_bytes(&decode(printed.strip_suffix('>')?))))
}
