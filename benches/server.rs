//! An embedding server that is never the bottleneck.
//!
//! It implements Gemini's `batchEmbedContents` on loopback, with a thread for each
//! connection. The vectors of an answer are made beforehand as text, so that an
//! answer costs no more than its bytes. Which text gets which vector is random:
//! the tests check the content of an index, the bench does not.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How many vectors are made beforehand: enough that few rows share one.
const VECTORS: usize = 2048;
/// The bytes before each text in a request; they are in no text, where quotes are escaped.
const BEFORE_TEXT: &[u8] = b"\"parts\":[";

/// A running server. It ends with the process.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    vectors: Vec<Vec<u8>>,
    next: AtomicUsize,
    requests: AtomicUsize,
    texts: AtomicUsize,
    latency_us: AtomicU64,
    /// Recorded requests, if they will be sent again.
    record: Mutex<Option<Vec<Vec<u8>>>>,
}

impl Server {
    /// Listens on a free port; its vectors have this dimension.
    pub fn start(dimension: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(dimension as u64);
        let vector = |_| {
            // Printed as the service prints: some nine digits after the point.
            let floats: Vec<String> =
                (0..dimension).map(|_| format!("{:.9}", (random.f64() - 0.5) / 8.0)).collect();
            format!("{{\"values\":[{}]}}", floats.join(",")).into_bytes()
        };
        let shared = Arc::new(Shared {
            vectors: (0..VECTORS).map(vector).collect(),
            next: AtomicUsize::new(0),
            requests: AtomicUsize::new(0),
            texts: AtomicUsize::new(0),
            latency_us: AtomicU64::new(0),
            record: Mutex::new(None),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let answering = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&answering);
                // A client that leaves only ends its thread.
                std::thread::spawn(move || shared.serve(&stream).ok());
            }
        });
        Self { address, shared }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every answer waits for this time.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.latency_us.store(u64::try_from(latency.as_micros()).unwrap(), Ordering::Relaxed);
    }

    /// Requests and texts since the last call.
    pub fn counts(&self) -> (usize, usize) {
        let taken = |count: &AtomicUsize| count.swap(0, Ordering::Relaxed);
        (taken(&self.shared.requests), taken(&self.shared.texts))
    }

    /// Records requests from now on.
    pub fn record(&self) {
        *self.shared.record.lock().unwrap() = Some(Vec::new());
    }

    /// The recorded requests, head and body.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.shared.record.lock().unwrap().take().unwrap_or_default()
    }
}

impl Shared {
    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut from = BufReader::with_capacity(1 << 18, stream);
        let (mut request, mut answer) = (Vec::new(), Vec::new());
        while read_request(&mut from, &mut request)? {
            let texts = request.windows(BEFORE_TEXT.len()).filter(|window| *window == BEFORE_TEXT).count();
            self.requests.fetch_add(1, Ordering::Relaxed);
            self.texts.fetch_add(texts, Ordering::Relaxed);
            if let Some(kept) = &mut *self.record.lock().unwrap() {
                kept.push(request.clone());
            }
            self.answer(texts, &mut answer);
            std::thread::sleep(Duration::from_micros(self.latency_us.load(Ordering::Relaxed)));
            (&*stream).write_all(&answer)?;
        }
        Ok(())
    }

    fn answer(&self, texts: usize, out: &mut Vec<u8>) {
        let first = self.next.fetch_add(texts, Ordering::Relaxed);
        let vectors = (first..first + texts).map(|nth| &self.vectors[nth % VECTORS]);
        let (head, tail) = ("{\"embeddings\":[", "]}");
        let length = head.len() + tail.len() + vectors.clone().map(|vector| vector.len() + 1).sum::<usize>();
        let length = length - usize::from(texts > 0);
        out.clear();
        write!(
            out,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{head}"
        )
        .unwrap();
        for (nth, vector) in vectors.enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            out.extend_from_slice(vector);
        }
        out.extend_from_slice(tail.as_bytes());
    }
}

/// Reads one complete message, a request or an answer; false at the end of the connection.
pub fn read_request(from: &mut impl BufRead, message: &mut Vec<u8>) -> std::io::Result<bool> {
    message.clear();
    let mut length = 0;
    loop {
        let begin = message.len();
        if from.read_until(b'\n', message)? == 0 {
            return Ok(false);
        }
        let line = message[begin..].to_ascii_lowercase();
        let line = String::from_utf8_lossy(&line);
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let head = message.len();
    message.resize(head + length, 0);
    from.read_exact(&mut message[head..])?;
    Ok(true)
}
