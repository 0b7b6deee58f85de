//! What each kind of target does beyond the contract of all: real commands and real sockets.
//!
//! The contract itself is checked in `flows::deliver`. The build here is one
//! that 0.1.0 made.

mod command;
mod webhook;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::command::CommandTarget;
use super::webhook::Webhook;
use super::*;
use crate::config::{AnnounceMethod, AnnounceSettings};
use crate::domain::manifest::Manifest;

pub(crate) const BUILD: &str = "20261127T195431Z-258913";

/// Longer than anything here takes, so that a test that hangs fails with a reason.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// [`BUILD`], in a directory that does not exist.
pub(crate) fn build() -> Build {
    let path = "tests/data/0.1.0/served/data/builds/20261127T195431Z-258913/manifest.json";
    let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    Build { directory: PathBuf::from("/data/builds/x"), manifest: Manifest::parse(&bytes).unwrap() }
}

/// Reads one request, up to the end of its body; `None` if the connection ends before.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let is_complete = |request: &[u8]| {
        let text = String::from_utf8_lossy(request).to_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |length| length.parse().unwrap())
    };
    let mut request = Vec::new();
    while !is_complete(&request) {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    String::from_utf8(request).ok()
}

/// Answers with a status line and further headers, and closes the connection.
pub(crate) async fn answer(stream: &mut TcpStream, head: &str, body: &str) {
    let length = body.len();
    let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.ok();
}

/// Waits for a condition, with a deadline.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Settings of a command without confirmation.
pub(crate) fn command_settings(argv: &[&str]) -> AnnounceSettings {
    AnnounceSettings {
        method: AnnounceMethod::Command(argv.iter().map(|&word| word.to_owned()).collect()),
        confirm: None,
        token_file: None,
        timeout: DEADLINE,
    }
}

async fn deliver(settings: &AnnounceSettings) -> Result<Delivered, DeliverError> {
    deliver_until(settings, &Stop::new()).await
}

async fn deliver_until(settings: &AnnounceSettings, stop: &Stop) -> Result<Delivered, DeliverError> {
    let target: Box<dyn Target> = match &settings.method {
        AnnounceMethod::Post(url) => Box::new(Webhook::new(url, settings)),
        AnnounceMethod::Command(argv) => Box::new(CommandTarget::new(argv, settings)),
    };
    let build = build();
    let delivery = Delivery { served: &build, replaced: Stop::new() };
    tokio::time::timeout(DEADLINE + DEADLINE, target.deliver(&delivery, stop)).await.expect("it ends")
}

/// What the target returned when it received the build.
#[track_caller]
fn output(result: Result<Delivered, DeliverError>) -> String {
    match result {
        Ok(Delivered::Received(receipt)) => receipt.output,
        other => panic!("not received: {other:?}"),
    }
}

/// How the target refused the build.
#[track_caller]
fn refusal(result: Result<Delivered, DeliverError>) -> String {
    match result {
        Ok(Delivered::Refused(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}
