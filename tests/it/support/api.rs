//! Receivers of announcements: an API that records every request, and a command that writes a line for
//! each build.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::World;

/// A listening API. Dropping it ends its thread.
pub struct Api {
    address: SocketAddr,
    state: Arc<Mutex<ApiState>>,
}

#[derive(Default)]
struct ApiState {
    received: Vec<Received>,
    refuses: bool,
    health: String,
    gone: bool,
}

/// One request to reload.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path, with its query.
    pub path: String,
    /// The build's summary.
    pub body: Value,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
    /// Whether it was accepted.
    pub accepted: bool,
}

impl Api {
    /// Listens on a free port of the loopback address.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(ApiState::default()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.lock().unwrap().gone {
                    return;
                }
                // A request that ends half way is not recorded.
                stream.ok().and_then(|stream| answer(&stream, &shared));
            }
        });
        Self { address, state }
    }

    /// The address of its reload request.
    pub fn url(&self) -> String {
        format!("http://{}/admin/reload", self.address)
    }

    /// Whether it answers 503 from now on; refused requests are recorded too.
    pub fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }

    /// Sets the body that it returns for every GET request.
    pub fn show(&self, health: &str) {
        health.clone_into(&mut self.state.lock().unwrap().health);
    }

    /// All recorded requests, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// The ids of the builds that were announced, in order.
    pub fn received(&self) -> Vec<String> {
        self.requests().iter().map(Received::build).collect()
    }

    /// The ids of those that it accepted, in order.
    pub fn accepted(&self) -> Vec<String> {
        self.requests().iter().filter(|request| request.accepted).map(Received::build).collect()
    }
}

impl Received {
    /// The build's id.
    pub fn build(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.gone = true;
        }
        // The thread sleeps in the system until the next connection.
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
    }
}

fn answer(stream: &TcpStream, state: &Mutex<ApiState>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok().map(|_| line.trim_end().to_owned())
    };
    let first = line()?;
    let (method, path) = first.split_once(' ')?;
    let path = path.split(' ').next()?.to_owned();
    let (mut length, mut authorization) = (0, None);
    loop {
        let line = line()?;
        match line.split_once(": ") {
            None => break,
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                authorization = Some(value.to_owned());
            }
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut state = state.lock().ok()?;
    let answer = |status: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        (&mut &*stream).write_all((head + body).as_bytes()).ok()
    };
    if method == "GET" {
        return answer("200 OK", &state.health);
    }
    let accepted = !state.refuses;
    state.received.push(Received {
        path,
        body: serde_json::from_slice(&body).ok()?,
        authorization,
        accepted,
    });
    if accepted { answer("204 No Content", "") } else { answer("503 Service Unavailable", "loading\n") }
}

impl World {
    /// Settings of a command that appends the announced build to the file `received`, then runs `then`.
    pub fn command_log_settings(&self, then: &str) -> String {
        let received = self.path("received");
        let script = format!(
            "test -f \"$REINDEXD_BUILD_DIR/faiss.index\" && echo \"$REINDEXD_BUILD\" >> {}; {then}",
            received.display()
        );
        format!("[[announce]]\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n")
    }

    /// The lines of a file in the world's folder; none where it does not exist.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
