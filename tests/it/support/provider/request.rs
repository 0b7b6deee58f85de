//! Reads HTTP/1.1 requests from a connection.
//!
//! Nothing is read ahead, and the last byte of a body is seen but stays in the
//! socket until it is known how to answer: closing a socket with unread bytes
//! makes the system send a reset. A request that the program would never send
//! is an error of kind `InvalidData`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The program never sends longer heads and bodies.
const MAX_HEAD: usize = 64 * 1024;
const MAX_BODY: usize = 64 * 1024 * 1024;

/// One request.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    pub(super) keep_alive: bool,
    /// The body's last byte is known but still in the socket.
    pub(super) last_byte_unread: bool,
}

impl Request {
    /// Reads the next request; `None` if the client left instead.
    pub(super) fn read(mut stream: &TcpStream) -> io::Result<Option<Self>> {
        let Some(head) = read_head(stream)? else {
            return Ok(None);
        };
        let mut request = Self::parse(&head)?;
        if request.header("expect").eq_ignore_ascii_case("100-continue") {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let length = match request.header("content-length") {
            "" => 0,
            length => length.parse().map_err(|_| invalid("content-length is not a number"))?,
        };
        if length > MAX_BODY || request.headers.contains_key("transfer-encoding") {
            return Err(invalid("the body is too long, or its length is unknown"));
        }
        request.body = vec![0; length];
        if let Some((last, rest)) = request.body.split_last_mut() {
            stream.read_exact(rest)?;
            if stream.peek(std::slice::from_mut(last))? == 0 {
                return Ok(None);
            }
            request.last_byte_unread = true;
        }
        Ok(Some(request))
    }

    fn parse(head: &[u8]) -> io::Result<Self> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        let status = parsed.parse(head).map_err(|_| invalid("invalid head of a request"))?;
        let (httparse::Status::Complete(_), Some(method), Some(path)) = (status, parsed.method, parsed.path)
        else {
            return Err(invalid("the head is incomplete"));
        };
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for header in parsed.headers.iter() {
            let value = String::from_utf8_lossy(header.value).into_owned();
            named
                .entry(header.name.to_ascii_lowercase())
                .and_modify(|all| all.extend([", ", &value]))
                .or_insert_with(|| value.clone());
        }
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: named,
            body: Vec::new(),
            keep_alive: parsed.version == Some(1),
            last_byte_unread: false,
        };
        request.keep_alive &= !request.header("connection").eq_ignore_ascii_case("close");
        Ok(request)
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Reads up to the empty line and not a byte further; `None` if the client left before it.
fn read_head(mut stream: &TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut piece = [0; 4096];
    while head.len() < MAX_HEAD {
        let before = head.len();
        let bytes = stream.peek(&mut piece)?;
        if bytes == 0 {
            return Ok(None);
        }
        head.extend_from_slice(&piece[..bytes]);
        let from = before.saturating_sub(3);
        if let Some(end) = head[from..].windows(4).position(|four| four == b"\r\n\r\n") {
            head.truncate(from + end + 4);
        }
        stream.read_exact(&mut piece[..head.len() - before])?;
        if head.ends_with(b"\r\n\r\n") {
            return Ok(Some(head));
        }
    }
    Err(invalid("the head is too long"))
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
