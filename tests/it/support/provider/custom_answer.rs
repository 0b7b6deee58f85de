//! Answers that a test makes itself, down to the bytes on the wire.
//!
//! A [`CustomAnswer`] receives the right answer and changes it: into a wrong answer, or
//! into a right one in an unusual form. It says which of the two it is, since a provider
//! charges only for right answers.

use std::time::Duration;

use serde_json::Value;

use super::request_body::{Api, RequestBody};

/// How to make an answer, and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct CustomAnswer {
    /// A second argument of `make`, so that one function makes many answers.
    pub what: &'static str,
    /// Makes all bytes that are sent, head included.
    pub make: fn(&Right, &str) -> Vec<u8>,
    /// What happens then.
    pub then: Then,
    /// Whether every text gets its own vector, in a form that must be accepted.
    pub right: bool,
}

/// What happens to a connection after the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Then {
    /// It takes the next request.
    GoOn,
    /// It is closed in good order.
    Close,
    /// It is reset.
    Reset,
    /// Nothing more happens for as long as the client waits.
    Stall,
    /// The bytes are sent one at a time with this pause; then it is closed.
    Drip(Duration),
}

/// The right answer.
pub struct Right {
    /// The API of the request.
    pub api: Api,
    /// How many floats a vector has.
    pub dimension: usize,
    /// How many texts there are.
    pub texts: usize,
    /// The right body.
    pub body: Vec<u8>,
}

impl Right {
    pub(super) fn of(request: &RequestBody, body: Vec<u8>) -> Self {
        let api = request.api.unwrap_or(Api::Gemini);
        Self { api, dimension: request.dimension_due(), texts: request.texts.len(), body }
    }

    /// The body as a value.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("our own answer is JSON")
    }

    /// The name of the list of vectors in it.
    pub fn list(&self) -> &'static str {
        match self.api {
            Api::Gemini => "embeddings",
            Api::OpenAi => "data",
        }
    }

    /// The name of a vector's numbers in an entry of that list.
    pub fn numbers(&self) -> &'static str {
        match self.api {
            Api::Gemini => "values",
            Api::OpenAi => "embedding",
        }
    }

    /// The same with every number negated: none of these may ever be served.
    pub fn turned(&self) -> Value {
        let mut body = self.json();
        for entry in body[self.list()].as_array_mut().into_iter().flatten() {
            for number in entry[self.numbers()].as_array_mut().into_iter().flatten() {
                *number = number.as_f64().map(|x| -x).into();
            }
        }
        body
    }
}
