//! The sockets: a thread that accepts, and one for each connection.
//!
//! A connection reads a request, records it, waits for the gate and the
//! latency, and answers in the manner that `fault` decided. A thread ends with
//! an error if its client left or did not speak HTTP; neither is reported.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::custom_answer::Then;
use super::fault::{Manner, Response, respond};
use super::request::Request;
use super::request_body::RequestBody;
use super::{Outcome, Seen, Shared};

/// How often a waiting answer checks whether its client is still connected.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Longer than any test.
const HANG_TIME: Duration = Duration::from_secs(24 * 3600);

/// Starts the thread that accepts connections until the provider stops.
pub(super) fn spawn_accepting(listener: TcpListener, shared: &Arc<Shared>) -> io::Result<()> {
    spawn("provider", shared, move |shared| {
        for (number, stream) in listener.incoming().enumerate() {
            match stream {
                Ok(stream) => accept(stream, number, shared),
                // Out of descriptors, most likely: some will be closed soon.
                Err(_) => thread::sleep(POLL_INTERVAL),
            }
            if shared.lock().stopping {
                return;
            }
        }
    })
}

fn accept(stream: TcpStream, number: usize, shared: &Arc<Shared>) {
    let stream = Arc::new(stream);
    {
        let mut state = shared.lock();
        if state.stopping {
            return;
        }
        state.connections.retain(|stream| stream.strong_count() > 0);
        state.connections.push(Arc::downgrade(&stream));
    }
    // Without a thread the stream is dropped, and the client sees it closed.
    spawn("provider connection", shared, move |shared| {
        serve(&stream, number, shared).ok();
    })
    .ok();
}

/// Runs `work` in a thread that is counted as long as it lives, even if it panics.
fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    work: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> io::Result<()> {
    struct Counted(Arc<Shared>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.change(|state| state.threads -= 1);
        }
    }
    shared.change(|state| state.threads += 1);
    let counted = Counted(Arc::clone(shared));
    thread::Builder::new().name(name.to_owned()).spawn(move || work(&counted.0)).map(drop)
}

/// Answers one request after another until either side ends the connection.
fn serve(stream: &TcpStream, connection: usize, shared: &Shared) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let request = match Request::read(stream) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return (&mut &*stream).write_all(
                    b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                );
            }
            Err(error) => return Err(error),
        };
        let (keep_alive, last_byte_unread) = (request.keep_alive, request.last_byte_unread);
        let visit = Visit::admit(request, connection, shared);
        if visit.response.manner == Manner::Reset {
            shared.wait_for_gate(stream, visit.due);
            return Ok(());
        }
        if last_byte_unread && visit.response.manner != Manner::Custom(Then::Reset) {
            (&mut &*stream).read_exact(&mut [0])?;
        }
        if !shared.wait_for_gate(stream, visit.due) {
            return Ok(());
        }
        if visit.response.manner == Manner::Never {
            shared.pause(stream, Instant::now() + HANG_TIME);
            return Ok(());
        }
        let response = visit.record_outcome();
        if !send(stream, &response, keep_alive, shared)? {
            return Ok(());
        }
    }
}

/// A request that has been recorded and awaits its answer; in flight until dropped.
struct Visit<'a> {
    seen: Arc<Seen>,
    response: Response,
    /// No answer before this.
    due: Instant,
    _in_flight: InFlight<'a>,
}

struct InFlight<'a>(&'a Shared);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.in_flight -= 1);
    }
}

impl<'a> Visit<'a> {
    /// Records a request and decides how it is answered.
    fn admit(request: Request, connection: usize, shared: &'a Shared) -> Self {
        let Request { method, path, headers, body, .. } = request;
        let mut ask = RequestBody::read(&method, &path, &headers, &body);
        let mut seen = Seen {
            at: Instant::now(),
            connection,
            method,
            path,
            headers,
            body,
            api: ask.api,
            model: ask.model.clone(),
            dimension: ask.dimension,
            task_type: ask.task_type.take(),
            texts: ask.texts.clone(),
            outcome: OnceLock::new(),
        };
        let mut state = shared.lock();
        // Under the lock, so that the record is in the order of its times.
        seen.at = Instant::now();
        let (fault, latency) = state.answer_for(&seen, ask.refusal.is_some());
        let due = seen.at + latency;
        let seen = Arc::new(seen);
        state.seen.push(Arc::clone(&seen));
        state.in_flight += 1;
        state.peak = state.peak.max(state.in_flight);
        drop(state);
        shared.changed.notify_all();
        let in_flight = InFlight(shared);
        let response = respond(&ask, fault.as_ref(), seen.key().unwrap_or_default());
        Self { seen, response, due, _in_flight: in_flight }
    }

    /// Records the outcome, and counts the request as no longer in flight. This comes
    /// before the first byte is sent: a client that has its answer may read the
    /// record, or send its next request, at once.
    fn record_outcome(self) -> Response {
        let Response { status, right, manner, .. } = self.response;
        let right = right && matches!(manner, Manner::Whole | Manner::Drip { .. } | Manner::Custom(_));
        let after = self.seen.at.elapsed();
        self.seen.outcome.set(Outcome { status, right, after }).expect("a visit is settled once");
        self.response
    }
}

impl Shared {
    /// Waits for the gate, then until `due`; false if the client left or the provider stopped before that.
    fn wait_for_gate(&self, stream: &TcpStream, due: Instant) -> bool {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return false;
            }
            match &mut state.gate {
                None => break,
                Some(0) => {}
                Some(answers) => {
                    *answers -= 1;
                    break;
                }
            }
            state = self.changed.wait_timeout(state, POLL_INTERVAL).unwrap_or_else(PoisonError::into_inner).0;
            if has_left(stream) {
                return false;
            }
        }
        drop(state);
        // A client that was killed before this request came to the gate has not been looked at yet.
        self.pause(stream, due) && !has_left(stream)
    }

    /// Waits until `until`; false if the client left or the provider stopped before that.
    fn pause(&self, stream: &TcpStream, until: Instant) -> bool {
        let mut state = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if state.stopping || (!left.is_zero() && has_left(stream)) {
                return false;
            }
            if left.is_zero() {
                return true;
            }
            let wait = left.min(POLL_INTERVAL);
            state = self.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Whether the client has closed its side. Only for the thread that owns the connection.
fn has_left(stream: &TcpStream) -> bool {
    let peek = || {
        stream.set_nonblocking(true)?;
        let seen = stream.peek(&mut [0]);
        stream.set_nonblocking(false)?;
        seen
    };
    match peek() {
        Ok(bytes) => bytes == 0,
        Err(error) => error.kind() != io::ErrorKind::WouldBlock,
    }
}

/// Sends an answer; true if the connection can take another request.
fn send(mut stream: &TcpStream, response: &Response, keep_alive: bool, shared: &Shared) -> io::Result<bool> {
    let Response { status, headers, body, manner, .. } = response;
    if let Manner::Custom(then) = *manner {
        return send_custom(stream, body, then, shared);
    }
    let mut out = format!("HTTP/1.1 {status} {}\r\n", if *status == 200 { "OK" } else { "Not OK" });
    for (name, value) in headers {
        out.extend([name, ": ", value, "\r\n"]);
    }
    if !keep_alive {
        out.push_str("connection: close\r\n");
    }
    match manner {
        Manner::Endless { .. } => out.push_str("transfer-encoding: chunked\r\n\r\n"),
        _ => out.extend(["content-length: ", &body.len().to_string(), "\r\n\r\n"]),
    }
    let mut out = out.into_bytes();
    let (half, _) = body.split_at(body.len() / 2);
    match *manner {
        Manner::Whole => {
            out.extend_from_slice(body);
            stream.write_all(&out)?;
            Ok(keep_alive)
        }
        Manner::CutOff => {
            out.extend_from_slice(half);
            stream.write_all(&out).map(|()| false)
        }
        Manner::Stall => {
            out.extend_from_slice(half);
            stream.write_all(&out)?;
            shared.pause(stream, Instant::now() + HANG_TIME);
            Ok(false)
        }
        Manner::Drip { bytes, every } => {
            stream.write_all(&out)?;
            for piece in body.chunks(bytes) {
                if !shared.pause(stream, Instant::now() + every) {
                    return Ok(false);
                }
                stream.write_all(piece)?;
            }
            Ok(keep_alive)
        }
        Manner::Endless { bytes } => {
            stream.write_all(&out)?;
            send_endless(stream, bytes)?;
            Ok(keep_alive)
        }
        Manner::Never | Manner::Close | Manner::Reset | Manner::Custom(_) => Ok(false),
    }
}

/// Sends an answer that a test has made, head included, then does what it wants to happen.
fn send_custom(mut stream: &TcpStream, bytes: &[u8], then: Then, shared: &Shared) -> io::Result<bool> {
    if let Then::Drip(every) = then {
        for byte in bytes {
            if !shared.pause(stream, Instant::now() + every) {
                return Ok(false);
            }
            stream.write_all(std::slice::from_ref(byte))?;
        }
        return Ok(false);
    }
    stream.write_all(bytes)?;
    if then == Then::Stall {
        shared.pause(stream, Instant::now() + HANG_TIME);
    }
    Ok(then == Then::GoOn)
}

/// Sends JSON that opens lists and never closes them, in chunks.
fn send_endless(mut stream: &TcpStream, bytes: usize) -> io::Result<()> {
    const CHUNK: usize = 64 * 1024;
    let mut piece = br#"{"embeddings":[{"values":[0.5"#.to_vec();
    let mut left = bytes;
    while left > 0 {
        while piece.len() < CHUNK {
            piece.extend_from_slice(b",0.5");
        }
        let now = left.min(CHUNK);
        stream.write_all(format!("{now:x}\r\n").as_bytes())?;
        stream.write_all(&piece[..now])?;
        stream.write_all(b"\r\n")?;
        piece.drain(..now);
        left -= now;
    }
    stream.write_all(b"0\r\n\r\n")
}
