//! An API that is told of new builds: it takes requests and keeps their bodies.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

/// A listening API. Its thread ends with it.
pub struct Api {
    address: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    bodies: Vec<Value>,
    refuses: bool,
    gone: bool,
}

impl Api {
    /// Listens on a free port of the loopback address.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let shared = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().gone {
                    return;
                }
                // A client that leaves half way has told nothing.
                stream.ok().and_then(|stream| answer(&stream, &shared));
            }
        });
        Self { address, heard }
    }

    /// Where it is told.
    pub fn url(&self) -> String {
        format!("http://{}/admin/reload", self.address)
    }

    /// Whether it answers 503 from now on; what it is told then is kept all the same.
    pub fn refuse(&self, refuses: bool) {
        self.heard.lock().unwrap().refuses = refuses;
    }

    /// The builds that it was told of, by their ids and in order.
    pub fn told(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.bodies.iter().map(|body| body["id"].as_str().unwrap().to_owned()).collect()
    }

    /// The bodies it was told with.
    pub fn bodies(&self) -> Vec<Value> {
        self.heard.lock().unwrap().bodies.clone()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Ok(mut heard) = self.heard.lock() {
            heard.gone = true;
        }
        // The thread sleeps in the system until somebody comes.
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
    }
}

fn answer(stream: &TcpStream, heard: &Mutex<Heard>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut heard = heard.lock().ok()?;
    heard.bodies.push(serde_json::from_slice(&body).ok()?);
    let status = if heard.refuses { "503 Service Unavailable" } else { "204 No Content" };
    drop(heard);
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()
}
