//! Bytes that are not valid HTTP, or valid HTTP in unusual forms.
//!
//! A body that must not be used has wrong vectors, as in `wrong_json`.

use std::time::Duration;

use super::fault_kinds::{Expectation, Kind, http};
use super::gzip;
use crate::support::provider::{Right, Then};

/// Where an answer is cut off.
const HALF: &[&str] = &["in the status", "in a header", "before the body", "in the body", "nothing"];

/// Heads that are invalid, or that promise what does not follow.
const ODD_HEADS: &[&str] = &[
    "HTTP/2.0 200 OK",
    "HTTP/1.1 2000 OK",
    "HTTP/1.1 OK",
    "ICY 200 OK",
    "SSH-2.0-OpenSSH_9.2",
    "\x15\x03\x03\x00\x02\x02\x28",
    "\0\0\0",
    "HTTP/1.1 200 OK\r\ncontent-length: -1",
    "HTTP/1.1 200 OK\r\ncontent-length: many",
    "HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551616",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6",
    "HTTP/1.1 200 OK\r\n: none",
    "HTTP/1.1 200 OK\r\nno colon at all",
    "HTTP/1.1 200 OK\r\ncontent-encoding: gzip",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: other",
];

/// Other answers that are never complete; see [`broken`].
const MORE: &[&str] = &[
    "length too long",
    "length too short",
    "chunk of no size",
    "chunk too large",
    "chunks without an end",
    "a header without end",
    "ten thousand headers",
    "interim answers without end",
    "gzip cut off",
    "gzip with a wrong sum",
    "gzip twice",
    "gzip of endless spaces",
    "no content, then a wrong answer",
];

/// Statuses that are not answers, whatever their body is.
const STATUSES: &[&str] = &[
    "201 Created",
    "204 No Content",
    "206 Partial Content",
    "301 Moved",
    "302 Found",
    "303 See Other",
    "304 Not Modified",
    "308 Moved",
    "407 Proxy Authentication Required",
    "409 Conflict",
    "413 Too Large",
    "418 Teapot",
    "431 Too Large",
    "451 Not Here",
    "511 Log In",
    "599 What",
];

/// Right answers in forms that must be accepted; see [`unusual`].
const GOOD: &[&str] = &[
    "in single bytes of chunks",
    "as HTTP/1.0",
    "until the end",
    "after interim answers",
    "with odd headers",
    "in gzip",
    "up to the limit",
    "and a wrong answer behind it",
];

/// Right answers in forms that may be refused.
const DOUBTFUL: &[&str] = &[
    "past the limit",
    "of both lengths",
    "line ends of one byte",
    "in an unknown coding",
    "gzip with more behind it",
];

/// Every kind of answer with unusual bytes.
pub(super) fn raw_answers() -> Vec<Kind> {
    let ending = |then: Then, whats: &'static [&'static str]| {
        whats.iter().map(move |what| Kind::custom(what, broken, Expectation::Wrong).then(then))
    };
    let closing = |what: &&'static str| {
        !matches!(
            *what,
            "in gzip" | "up to the limit" | "and a wrong answer behind it" | "in single bytes of chunks"
        )
    };
    let right = |what: &&'static str| {
        let then = if closing(what) { Then::Close } else { Then::GoOn };
        Kind::custom(what, unusual, Expectation::Right).then(then)
    };
    let slow = Then::Drip(Duration::from_millis(40));
    ending(Then::Close, HALF)
        .chain(ending(Then::Reset, HALF))
        .chain(ending(Then::Stall, HALF))
        .chain(ending(slow, &["in the status", "in the body"]))
        .chain(ending(Then::Close, ODD_HEADS))
        .chain(
            ending(Then::GoOn, MORE)
                .map(|kind| kind.closing(&["chunks without an end", "length too long", "gzip cut off"])),
        )
        .chain(STATUSES.iter().map(|what| Kind::custom(what, status, Expectation::Wrong)))
        .chain(GOOD.iter().map(right))
        .chain(
            DOUBTFUL.iter().map(|what| Kind::custom(what, unusual, Expectation::Doubtful).then(Then::Close)),
        )
        .collect()
}

/// An answer that is never complete.
fn broken(right: &Right, what: &str) -> Vec<u8> {
    let wrong = right.turned().to_string().into_bytes();
    let length = wrong.len();
    let head = |more: &str| format!("HTTP/1.1 200 OK\r\n{more}\r\n\r\n").into_bytes();
    let chunk =
        |size: &str| [head("transfer-encoding: chunked"), size.as_bytes().to_vec(), wrong.clone()].concat();
    match what {
        "nothing" => Vec::new(),
        "in the status" => b"HTTP/1.1 20".to_vec(),
        "in a header" => b"HTTP/1.1 200 OK\r\ncontent-ty".to_vec(),
        "before the body" => head(&format!("content-length: {length}")),
        "in the body" => [head(&format!("content-length: {length}")), wrong[..length / 2].to_vec()].concat(),
        "length too long" => [head(&format!("content-length: {}", length + 9)), wrong].concat(),
        "length too short" => [head(&format!("content-length: {}", length - 9)), wrong].concat(),
        "chunk of no size" => chunk("zz\r\n"),
        "chunk too large" => chunk("ffffffffffffffff0\r\n"),
        "chunks without an end" => chunk(&format!("{length:x}\r\n")),
        "a header without end" => [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'x'; 2 << 20]].concat(),
        "ten thousand headers" => [head(&"x: y\r\n".repeat(10_000)), wrong].concat(),
        "interim answers without end" => b"HTTP/1.1 100 Continue\r\n\r\n".repeat(20_000),
        "gzip cut off" => {
            let whole = gzip::stored(&wrong);
            coded("gzip", &whole[..whole.len() - 12])
        }
        "gzip with a wrong sum" => {
            let mut whole = gzip::stored(&wrong);
            let sum = whole.len() - 8;
            whole[sum] ^= 1;
            coded("gzip", &whole)
        }
        "gzip twice" => coded("gzip", &gzip::stored(&gzip::stored(&wrong))),
        "gzip of endless spaces" => coded("gzip", &gzip::bomb(64)),
        "no content, then a wrong answer" => {
            [b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), http("", &wrong)].concat()
        }
        // An invalid head, and the rest as if it were valid.
        head => [head.as_bytes(), b"\r\n\r\n", &wrong].concat(),
    }
}

/// A wrong answer with a status that is not an answer.
fn status(right: &Right, what: &str) -> Vec<u8> {
    let wrong = if ["204", "304"].iter().any(|bare| what.starts_with(bare)) {
        String::new()
    } else {
        right.turned().to_string()
    };
    let to = "location: http://127.0.0.1:1/elsewhere";
    format!("HTTP/1.1 {what}\r\n{to}\r\ncontent-length: {}\r\n\r\n{wrong}", wrong.len()).into_bytes()
}

/// The right answer in an unusual form.
fn unusual(right: &Right, what: &str) -> Vec<u8> {
    let body = right.body.as_slice();
    let with_head = |head: &str| [head.as_bytes(), b"\r\n\r\n", body].concat();
    match what {
        "in single bytes of chunks" => {
            let mut out = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n".to_vec();
            for byte in body {
                out.extend_from_slice(b"1;a=b\r\n");
                out.extend_from_slice(&[*byte, b'\r', b'\n']);
            }
            [out, b"0\r\nx: y\r\n\r\n".to_vec()].concat()
        }
        "as HTTP/1.0" => with_head("HTTP/1.0 200 OK\r\nserver: old"),
        "until the end" => with_head("HTTP/1.1 200 OK\r\nconnection: close"),
        "after interim answers" => {
            let interim = "HTTP/1.1 103 Early Hints\r\nlink: <x>\r\n\r\n".repeat(3);
            [interim.as_bytes(), b"HTTP/1.1 100 Continue\r\n\r\n", &http("", body)].concat()
        }
        "with odd headers" => {
            let long = format!("x-long: {}\r\nX-ODD:\t  \r\n", "y".repeat(4000)).repeat(20);
            with_head(&format!("HTTP/1.1 200\r\n{long}CONTENT-LENGTH:   {}", body.len()))
        }
        "in gzip" => coded("gzip", &gzip::stored(body)),
        "up to the limit" => http("", &padded(right, 0)),
        "and a wrong answer behind it" => {
            [http("", body), http("", right.turned().to_string().as_bytes())].concat()
        }
        "past the limit" => http("", &padded(right, 1)),
        "of both lengths" => {
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
                body.len()
            );
            [head.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
        }
        "line ends of one byte" => {
            [format!("HTTP/1.1 200 OK\ncontent-length: {}\n\n", body.len()).as_bytes(), body].concat()
        }
        "in an unknown coding" => coded("br", body),
        _ => coded("gzip", &[gzip::stored(body), b"more".to_vec()].concat()),
    }
}

/// The right body, with spaces up to `past` bytes more than the largest body that is read.
///
/// The limit is that of `embed`: 32 bytes for each float of 4096, and a mebibyte.
fn padded(right: &Right, past: usize) -> Vec<u8> {
    let limit = right.texts * right.dimension.max(4096) * 32 + (1 << 20);
    let mut body = right.body.clone();
    body.resize(limit + past, b' ');
    body
}

fn coded(coding: &str, body: &[u8]) -> Vec<u8> {
    http(&format!("content-encoding: {coding}\r\n"), body)
}
