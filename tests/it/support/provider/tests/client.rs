//! A client with just enough HTTP to see the bytes of an answer.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::Provider;

pub(super) const SOON: Duration = Duration::from_secs(10);
pub(super) const GEMINI: &str = "gemini-embedding-001";
pub(super) const OPENAI: &str = "text-embedding-3-small";

/// One connection.
pub(super) struct Client {
    stream: BufReader<TcpStream>,
}

pub(super) struct Post<'a> {
    pub(super) path: &'a str,
    /// Name and value of a header.
    pub(super) key: (&'a str, &'a str),
    pub(super) body: Value,
}

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

pub(super) fn gemini(texts: &[&str]) -> Post<'static> {
    let request = |text: &&str| {
        json!({
            "model": format!("models/{GEMINI}"),
            "content": {"parts": [{"text": text}], "role": "user"},
            "taskType": "RETRIEVAL_DOCUMENT",
            "outputDimensionality": 5,
        })
    };
    Post {
        path: "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        key: ("x-goog-api-key", "secret"),
        body: json!({"requests": texts.iter().map(request).collect::<Vec<_>>()}),
    }
}

pub(super) fn openai(body: &Value) -> Post<'static> {
    Post { path: "/v1/embeddings", key: ("authorization", "Bearer secret"), body: body.clone() }
}

impl Client {
    pub(super) fn of(provider: &Provider) -> Self {
        provider.excuse_money("this client asks as it likes");
        let stream = TcpStream::connect(provider.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(super) fn post(&mut self, post: &Post<'_>) -> Answer {
        self.try_post(post).unwrap()
    }

    pub(super) fn try_post(&mut self, post: &Post<'_>) -> io::Result<Answer> {
        self.send(post)?;
        let first = self.line()?;
        let status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let mut headers = BTreeMap::new();
        while let Some((name, value)) = self.line()?.split_once(": ") {
            headers.insert(name.to_owned(), value.to_owned());
        }
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            self.chunk(length.parse().unwrap(), &mut body)?;
        } else {
            loop {
                let length = usize::from_str_radix(&self.line()?, 16).unwrap();
                self.chunk(length, &mut body)?;
                self.line()?;
                if length == 0 {
                    break;
                }
            }
        }
        Ok(Answer { status, headers, body })
    }

    pub(super) fn send(&mut self, post: &Post<'_>) -> io::Result<()> {
        let Post { path, key: (name, key), body } = post;
        let body = body.to_string();
        let head = format!("POST {path} HTTP/1.1\r\n{name}: {key}\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send_bytes((head + &body).as_bytes())
    }

    pub(super) fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    fn chunk(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let before = body.len();
        body.resize(before + length, 0);
        self.stream.read_exact(&mut body[before..])
    }
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub(super) fn vectors(answer: &Value) -> Vec<Vec<f32>> {
    let rows = answer["embeddings"].as_array().or(answer["data"].as_array()).unwrap();
    rows.iter().map(|row| row.get("values").unwrap_or(&row["embedding"])).map(floats).collect()
}

fn floats(values: &Value) -> Vec<f32> {
    match values {
        Value::String(base64) => {
            let bits = base64.trim_end_matches('=').bytes().flat_map(|digit| {
                let six = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
                    .iter()
                    .position(|&known| known == digit)
                    .unwrap();
                (0..6).rev().map(move |bit| u8::from(six >> bit & 1 == 1))
            });
            let bits: Vec<u8> = bits.collect();
            let bytes: Vec<u8> =
                bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)).collect();
            bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
        }
        values => values.as_array().unwrap().iter().map(|value| value.to_string().parse().unwrap()).collect(),
    }
}

pub(super) fn indices(answer: &Value) -> Vec<u64> {
    answer["data"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()).collect()
}
