//! Answers with status 200 whose JSON is not what was requested.
//!
//! Every number of a wrong answer is negated, so that any use of one shows in the
//! served build. Where count and order are certain and one vector alone is wrong,
//! only that one is: the others are right and must be kept. A doubtful answer has
//! right vectors in a form that a reader may accept or refuse.
//!
//! What no reader can notice is not here: right vectors for the wrong texts, in
//! the right number and, where the protocol has an index, with the right ones.

use serde_json::Value;

use super::fault_kinds::{Expectation, Kind, http};
use crate::support::provider::{Api, Right};

/// What is wrong with the list of vectors, or with one of them.
const LIST: &[&str] = &[
    "none",
    "one missing",
    "the first twice",
    "one too many",
    "ragged",
    "one empty",
    "one nested",
    "a word for a vector",
    "entry is a list",
    "without its numbers",
    "in a list of lists",
];

/// What is wrong with the indices, which one protocol has.
const PLACES: &[&str] = &[
    "from one",
    "all zero",
    "huge",
    "negative",
    "as text",
    "a fraction",
    "two have none",
    "the first again",
    "list of them",
];

/// Replacements of a number.
const NUMBERS: &[&str] = &[
    "1e309",
    "-1e309",
    "1e39",
    "NaN",
    "Infinity",
    "-inf",
    "0x1p3",
    "1e",
    "01",
    ".5",
    "[]",
    "{}",
    "true",
    "null",
    "\"\"",
    "\"one\"",
    "\"1e400\"",
    "\"inf\"",
    "\"nan\"",
    "\"0x10\"",
    "1 2",
    "[0.5]",
];

/// Factors of one vector.
const SIZES: &[&str] = &["0", "-0.0", "1e-46", "1e-42", "1e-39"];

/// Replacements of a body; `LIST` and `NUMBERS` stand for the protocol's own names.
const BODIES: &[&str] = &[
    "[]",
    "{}",
    "null",
    "true",
    "42",
    "\"ok\"",
    "{\"LIST\":{}}",
    "{\"LIST\":null}",
    "{\"LIST\":\"\"}",
    "{\"LIST\":[1]}",
    "{\"LIST\":[null]}",
    "{\"LIST\":[[[0.5]]]}",
    "{\"error\":null}",
    "{\"error\":{\"message\":5}}",
    "[{\"error\":[]}]",
    "\u{feff}{}",
    "<!DOCTYPE html><html>welcome to this wireless network</html>",
    " ",
    "{\"LIST\":[{\"NUMBERS\":[",
];

/// Changes of a whole body.
const CHANGED: &[&str] = &[
    "cut at a third",
    "cut at the last byte",
    "said twice",
    "twice in one object",
    "with an error next to it",
    "with something after it",
    "with something before it",
    "for the other protocol",
    "in capitals",
    "in UTF-16",
];

/// Where brackets are nested too deeply.
const DEEP: &[&str] = &["vectors", "numbers", "error"];

/// Wrong lists of vectors, wrong vectors, wrong numbers, wrong bodies.
pub(super) fn wrong_answers() -> Vec<Kind> {
    let all = |whats: &'static [&'static str], make| {
        whats.iter().map(move |what| Kind::custom(what, make, Expectation::Wrong)).collect::<Vec<_>>()
    };
    [
        all(LIST, wrong_list),
        all(PLACES, wrong_places).into_iter().map(|kind| kind.only(Api::OpenAi)).collect(),
        all(NUMBERS, wrong_number),
        all(SIZES, wrong_size),
        all(BODIES, wrong_body),
        all(CHANGED, changed_body),
        all(DEEP, too_deep),
    ]
    .concat()
}

/// Right vectors next to fields that no reader needs.
pub(super) fn doubtful_answers() -> Vec<Kind> {
    let odd =
        ["deep", "not UTF-8", "half a surrogate", "a megabyte", "without its index", "one without its index"];
    odd.iter().map(|what| Kind::custom(what, with_irrelevant_parts, Expectation::Doubtful)).collect()
}

/// The answer that most wrong ones are made from: every number negated, then the list edited.
fn turned(right: &Right, edit: impl FnOnce(&mut Vec<Value>)) -> Value {
    edited(right, right.turned(), edit)
}

/// The right answer but for its first and last vector, which are negated, and for what is edited.
fn turned_at_the_ends(right: &Right, edit: impl FnOnce(&mut Vec<Value>)) -> Value {
    let (mut body, turned) = (right.json(), right.turned());
    let list = body[right.list()].as_array_mut().expect("our own answer has a list");
    let end = list.len() - 1;
    for place in [0, end] {
        list[place] = turned[right.list()][place].clone();
    }
    edited(right, body, edit)
}

/// The right answer but for its last vector, which is negated, and for what is edited.
fn turned_last(right: &Right, edit: impl FnOnce(&mut Vec<Value>)) -> Value {
    let (mut body, turned) = (right.json(), right.turned());
    let list = body[right.list()].as_array_mut().expect("our own answer has a list");
    let end = list.len() - 1;
    list[end] = turned[right.list()][end].clone();
    edited(right, body, edit)
}

fn edited(right: &Right, mut body: Value, edit: impl FnOnce(&mut Vec<Value>)) -> Value {
    edit(body[right.list()].as_array_mut().expect("our own answer has a list"));
    body
}

fn wrong_list(right: &Right, what: &str) -> Vec<u8> {
    let numbers = right.numbers();
    let edit = |list: &mut Vec<Value>| {
        let last = list.last().expect("a request has a text").clone();
        let end = list.len() - 1;
        match what {
            "none" => list.clear(),
            "one missing" => drop(list.pop()),
            "the first twice" => list.push(list[0].clone()),
            "one too many" => list.push(last),
            "ragged" => {
                let moved = floats(&mut list[0], numbers).pop();
                floats(&mut list[end], numbers).extend(moved.into_iter().filter(|_| end > 0));
            }
            "one empty" => floats(&mut list[end], numbers).clear(),
            "one nested" => list[end][numbers] = vec![last[numbers].clone()].into(),
            "a word for a vector" => list[end][numbers] = "right".into(),
            "entry is a list" => list[end] = last[numbers].clone(),
            "without its numbers" => drop(list[end].as_object_mut().map(|entry| entry.remove(numbers))),
            _ => *list = vec![Value::Array(std::mem::take(list))],
        }
    };
    // Without a certain count nothing can be used, so all of it is wrong.
    let body = match what {
        "ragged" => turned_at_the_ends(right, edit),
        "one empty" | "one nested" | "a word for a vector" | "entry is a list" | "without its numbers" => {
            turned_last(right, edit)
        }
        _ => turned(right, edit),
    };
    http("", body.to_string().as_bytes())
}

fn wrong_places(right: &Right, what: &str) -> Vec<u8> {
    let body = turned(right, |list| {
        let (several, many) = (list.len() > 1, list.len() > 2);
        for (place, entry) in list.iter_mut().enumerate() {
            entry["index"] = match what {
                "from one" => (place + 1).into(),
                "all zero" if several => 0.into(),
                "huge" => u64::MAX.into(),
                "negative" => (-1).into(),
                "a fraction" => 0.5.into(),
                "list of them" => vec![place].into(),
                // Where all have none, the order is right: that is not a fault.
                "two have none" if many && place < 2 => Value::Null,
                "the first again" if several => place.saturating_sub(1).into(),
                // The protocol has no texts as indices.
                _ => place.to_string().into(),
            };
        }
    });
    http("", body.to_string().as_bytes())
}

fn wrong_number(right: &Right, what: &str) -> Vec<u8> {
    // JSON cannot express such a number, so it is inserted afterwards.
    const HERE: &str = "here";
    let body = turned_last(right, |list| {
        let middle = floats(list.last_mut().expect("a request has a text"), right.numbers());
        let place = middle.len() / 2;
        middle[place] = HERE.into();
    });
    http("", body.to_string().replace(&format!("\"{HERE}\""), what).as_bytes())
}

/// One vector so small that an `f32` cannot hold its direction.
fn wrong_size(right: &Right, what: &str) -> Vec<u8> {
    let factor: f64 = what.parse().expect("the table has numbers");
    let body = turned_last(right, |list| {
        for number in floats(list.last_mut().expect("a request has a text"), right.numbers()) {
            *number = number.as_f64().map(|x| x * factor).into();
        }
    });
    http("", body.to_string().as_bytes())
}

fn wrong_body(right: &Right, what: &str) -> Vec<u8> {
    http("", what.replace("LIST", right.list()).replace("NUMBERS", right.numbers()).as_bytes())
}

fn changed_body(right: &Right, what: &str) -> Vec<u8> {
    let list = right.list();
    let body = right.turned();
    let text = body.to_string();
    let spoilt = match what {
        "cut at a third" => text[..text.len() / 3].to_owned(),
        "cut at the last byte" => text[..text.len() - 1].to_owned(),
        "said twice" => format!("{text}{text}"),
        "twice in one object" => format!("{{\"{list}\":{0},\"{list}\":{0}}}", body[list]),
        "with an error next to it" => {
            format!("{{\"error\":{{\"code\":500,\"message\":\"half\"}},\"{list}\":{}}}", body[list])
        }
        "with something after it" => text + "\0",
        "with something before it" => format!(")]}}'\n{text}"),
        "for the other protocol" => {
            let (there, numbers) =
                if list == "data" { ("embeddings", "values") } else { ("data", "embedding") };
            text.replacen(list, there, 1).replace(right.numbers(), numbers)
        }
        "in capitals" => text.to_uppercase(),
        _ => return http("", &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()),
    };
    http("", spoilt.as_bytes())
}

/// Nested brackets instead of a value: a recursive reader without a limit overflows its stack.
fn too_deep(right: &Right, what: &str) -> Vec<u8> {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let (list, numbers) = (right.list(), right.numbers());
    let body = match what {
        "vectors" => format!("{{\"{list}\":{open}{close}}}"),
        "numbers" => format!("{{\"{list}\":[{{\"{numbers}\":{open}{close}}}]}}"),
        _ => format!("{{\"error\":{open}{close}}}"),
    };
    http("", body.as_bytes())
}

/// A field that no reader needs, before the vectors.
fn with_irrelevant_parts(right: &Right, what: &str) -> Vec<u8> {
    let mut body = right.json();
    if what == "one without its index" {
        // It has the single place that is free.
        if let Some(entry) = body["data"].as_array_mut().and_then(|list| list.first_mut()?.as_object_mut()) {
            entry.remove("index");
        }
        return http("", body.to_string().as_bytes());
    }
    if what == "without its index" {
        for entry in body["data"].as_array_mut().into_iter().flatten() {
            entry.as_object_mut().map(|entry| entry.remove("index"));
        }
        return http("", body.to_string().as_bytes());
    }
    let aside = match what {
        "deep" => format!("{}{}", "[".repeat(50_000), "]".repeat(50_000)).into_bytes(),
        "not UTF-8" => b"\"\xff\xfe\xc0\"".to_vec(),
        "half a surrogate" => b"\"\\ud800\"".to_vec(),
        _ => format!("\"{}\"", "x".repeat(1_000_000)).into_bytes(),
    };
    let whole = body.to_string();
    http("", &[b"{\"aside\":".as_slice(), &aside, b",", &whole.as_bytes()[1..]].concat())
}

fn floats<'a>(entry: &'a mut Value, numbers: &str) -> &'a mut Vec<Value> {
    entry[numbers].as_array_mut().expect("our own answer has numbers")
}
