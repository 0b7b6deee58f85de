//! Answers that a test makes itself, down to the bytes on the wire.
//!
//! A [`CustomAnswer`] is given the right answer and makes something of it: a lie, or
//! the truth in clothes that it is rarely seen in. It says by itself which of
//! the two it is, since what is charged for hangs on that.

use std::time::Duration;

use serde_json::Value;

use super::request_body::{Api, RequestBody};

/// How to make an answer, and what follows it.
#[derive(Clone, Copy, Debug)]
pub struct CustomAnswer {
    /// Whatever `make` is to know besides: one function makes many answers.
    pub what: &'static str,
    /// All that goes onto the wire, head included.
    pub make: fn(&Right, &str) -> Vec<u8>,
    /// What happens then.
    pub then: Then,
    /// Whether it gives every text its own vector, in a form that must be understood.
    pub right: bool,
}

/// What happens to a connection when the bytes are out.
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
    /// The bytes go out one at a time, so long after each other; then it is closed.
    Drip(Duration),
}

/// The right answer.
pub struct Right {
    /// Who speaks.
    pub api: Api,
    /// How many floats a vector has.
    pub dimension: usize,
    /// How many texts there are.
    pub texts: usize,
    /// The body as it should be.
    pub body: Vec<u8>,
}

impl Right {
    pub(super) fn of(ask: &RequestBody, body: Vec<u8>) -> Self {
        let api = ask.api.unwrap_or(Api::Gemini);
        Self { api, dimension: ask.dimension_due(), texts: ask.texts.len(), body }
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

    /// The same with every vector turned round: none of its numbers may ever be served.
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
