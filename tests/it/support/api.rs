//! What is told of new builds: an API that keeps whatever it is sent, and a command that writes it down.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::World;

/// A listening API. Its thread ends with it.
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
    /// Where it went, with its query.
    pub path: String,
    /// The build's summary.
    pub body: Value,
    /// What stood under `Authorization`.
    pub authorization: Option<String>,
    /// Whether it was taken.
    pub accepted: bool,
}

impl Api {
    /// Listens on a free port of the loopback address.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(ApiState::default()));
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
        Self { address, state: heard }
    }

    /// Where it is told.
    pub fn url(&self) -> String {
        format!("http://{}/admin/reload", self.address)
    }

    /// Whether it answers 503 from now on; what it is told then is kept all the same.
    pub fn refuse(&self, refuses: bool) {
        self.state.lock().unwrap().refuses = refuses;
    }

    /// What is shown at every address to whoever reads it.
    pub fn show(&self, health: &str) {
        health.clone_into(&mut self.state.lock().unwrap().health);
    }

    /// Everything that it was told, in order.
    pub fn requests(&self) -> Vec<Received> {
        self.state.lock().unwrap().received.clone()
    }

    /// The builds that it was told of, by their ids and in order.
    pub fn received(&self) -> Vec<String> {
        self.requests().iter().map(Received::build).collect()
    }

    /// Those that it took.
    pub fn accepted(&self) -> Vec<String> {
        self.requests().iter().filter(|told| told.accepted).map(Received::build).collect()
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
        if let Ok(mut heard) = self.state.lock() {
            heard.gone = true;
        }
        // The thread sleeps in the system until somebody comes.
        TcpStream::connect_timeout(&self.address, Duration::from_secs(1)).ok();
    }
}

fn answer(stream: &TcpStream, heard: &Mutex<ApiState>) -> Option<()> {
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
    let mut heard = heard.lock().ok()?;
    let answer = |status: &str, body: &str| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
        (&mut &*stream).write_all((head + body).as_bytes()).ok()
    };
    if method == "GET" {
        return answer("200 OK", &heard.health);
    }
    let taken = !heard.refuses;
    heard.received.push(Received {
        path,
        body: serde_json::from_slice(&body).ok()?,
        authorization,
        accepted: taken,
    });
    if taken { answer("204 No Content", "") } else { answer("503 Service Unavailable", "loading\n") }
}

impl World {
    /// Settings of a command that appends the build it is told of to `told`, then does as the script says.
    pub fn command_log_settings(&self, then: &str) -> String {
        let told = self.path("told");
        let script = format!(
            "test -f \"$REINDEXD_BUILD_DIR/faiss.index\" && echo \"$REINDEXD_BUILD\" >> {}; {then}",
            told.display()
        );
        format!("[[announce]]\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n")
    }

    /// The lines of a file in the world's folder; none where it is not there.
    pub fn lines(&self, name: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
