//! The search API of a host: `tests/reader/api.py` as a process, and clients that query it continuously.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::Client;
use super::{World, reader_script};

/// A running API. Dropping it kills it.
pub struct SearchApi {
    child: Child,
    address: String,
}

/// A query: the vector of a person.
#[derive(Clone, Debug)]
pub struct Question {
    /// The person who must be found first.
    pub id: u64,
    /// The vector of that person's text.
    pub vector: Vec<f32>,
}

/// The first result of an answer.
#[derive(Debug)]
pub struct Answer {
    /// The person of the question.
    pub asked: u64,
    /// The build that the API names.
    pub build: String,
    /// The nearest row of the index.
    pub row: usize,
    /// Its score.
    pub score: f64,
    /// The record that the API returned for that row.
    pub record: Value,
}

/// Clients that query the API, each on a thread, until they are stopped.
pub struct Load {
    over: Arc<AtomicBool>,
    people: Vec<JoinHandle<Result<Vec<Answer>, String>>>,
}

impl SearchApi {
    /// Starts it on the world's folder. With a token file, a reload needs that file's token.
    #[track_caller]
    pub fn start(world: &World, token_file: Option<&Path>) -> Self {
        let mut command = world.python_command(&reader_script("api.py"), &[&world.path("data")]);
        if let Some(file) = token_file {
            command.env("RELOAD_TOKEN_FILE", file);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").map(str::to_owned);
        Self {
            child,
            address: address.unwrap_or_else(|| panic!("api.py printed {line:?}, expected its address")),
        }
    }

    /// An address of it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The build that it reports as served; none before the first.
    #[track_caller]
    pub fn build(&self) -> Option<String> {
        let (_status, body) = self.client().get("/health").unwrap();
        body["build"].as_str().map(str::to_owned)
    }

    /// A connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::to(&self.address).unwrap()
    }

    /// Starts `people` clients that repeat these questions. Every second one makes
    /// a new connection for each question, the others keep theirs.
    pub fn load(&self, people: usize, questions: &[Question]) -> Load {
        let over = Arc::new(AtomicBool::new(false));
        let person = |nth: usize| {
            let (over, address, questions) = (Arc::clone(&over), self.address.clone(), questions.to_vec());
            std::thread::spawn(move || ask_until(&over, &address, nth.is_multiple_of(2), &questions))
        };
        Load { people: (0..people).map(person).collect(), over }
    }
}

impl Drop for SearchApi {
    fn drop(&mut self) {
        // It may have ended already; then nothing is killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Load {
    /// Ends it; returns every answer of each client, in order. Panics with the first request that failed.
    #[track_caller]
    pub fn stop(self) -> Vec<Vec<Answer>> {
        self.over.store(true, Ordering::SeqCst);
        let ended = self.people.into_iter().map(|person| person.join().unwrap());
        ended.collect::<Result<_, _>>().unwrap_or_else(|failed| panic!("a request failed: {failed}"))
    }
}

fn ask_until(
    over: &AtomicBool,
    address: &str,
    keeps: bool,
    questions: &[Question],
) -> Result<Vec<Answer>, String> {
    // A pause, because the agent needs the two cores of a small machine too.
    const PAUSE: Duration = Duration::from_millis(4);
    let mut kept = None;
    let mut answers = Vec::new();
    for question in questions.iter().cycle() {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let client = match kept.take().filter(|_| keeps) {
            Some(client) => client,
            None => Client::to(address).map_err(|error| format!("no connection: {error}"))?,
        };
        let client = kept.insert(client);
        answers.push(
            ask(client, question).map_err(|error| format!("after {} answers: {error}", answers.len()))?,
        );
        std::thread::sleep(PAUSE);
    }
    Ok(answers)
}

fn ask(client: &mut Client, question: &Question) -> Result<Answer, String> {
    let body = json!({ "vector": question.vector, "k": 3 });
    let (status, body) = client.post("/search", &body).map_err(|error| error.to_string())?;
    let answer = || {
        let first = body["results"].as_array()?.first()?;
        Some(Answer {
            asked: question.id,
            build: body["build"].as_str()?.to_owned(),
            row: usize::try_from(first["row"].as_u64()?).ok()?,
            score: first["score"].as_f64()?,
            record: first["record"].clone(),
        })
    };
    answer().filter(|_| status == 200).ok_or_else(|| format!("status {status}: {body}"))
}
