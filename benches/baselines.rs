//! What the program is compared with: the minimum that any program would have to do.
//!
//! Each baseline runs in this process, so that it does not include the start of one,
//! and returns the time that it took.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reindexd::domain::record::Schema;
use rusqlite::Connection;

use crate::server::read_request;

/// Steps the program's own SELECT through SQLite and drops the values.
pub fn stepping(database: &Path) -> Duration {
    let began = Instant::now();
    let connection = Connection::open(database).unwrap();
    let schema = Schema::experts();
    let mut statement = connection.prepare(&schema.select()).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        for at in 0..schema.width() {
            std::hint::black_box(row.get_ref(at).unwrap());
        }
    }
    began.elapsed()
}

/// Sends requests as they were recorded, so many at a time, and drops the
/// answers; also how many bytes these had.
pub fn replaying(server: SocketAddr, requests: &[Vec<u8>], concurrency: usize) -> (Duration, usize) {
    let (next, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..concurrency {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(server).unwrap();
                stream.set_nodelay(true).unwrap();
                let mut answers = BufReader::with_capacity(1 << 18, stream.try_clone().unwrap());
                let mut answer = Vec::new();
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    stream.write_all(request).unwrap();
                    assert!(read_request(&mut answers, &mut answer).unwrap(), "an answer for each request");
                    bytes.fetch_add(std::hint::black_box(&answer).len(), Ordering::Relaxed);
                }
            });
        }
    });
    (began.elapsed(), bytes.into_inner())
}

/// Copies files as `cp` does, and makes the copies durable; they are gone afterwards.
pub fn copying(files: &[PathBuf], folder: &Path) -> Duration {
    std::fs::create_dir_all(folder).unwrap();
    let copies: Vec<PathBuf> = files.iter().map(|file| folder.join(file.file_name().unwrap())).collect();
    let began = Instant::now();
    for (file, copy) in files.iter().zip(&copies) {
        std::fs::copy(file, copy).unwrap();
        File::open(copy).unwrap().sync_all().unwrap();
    }
    let took = began.elapsed();
    std::fs::remove_dir_all(folder).unwrap();
    took
}

/// Reads and hashes files once.
pub fn hashing(files: &[PathBuf]) -> Duration {
    let began = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    for file in files {
        let (mut file, mut hasher) = (File::open(file).unwrap(), blake3::Hasher::new());
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                read => hasher.update(&buffer[..read]),
            };
        }
        std::hint::black_box(hasher.finalize());
    }
    began.elapsed()
}
