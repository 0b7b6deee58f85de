//! Vectors, and the bodies that carry them.
//!
//! A component is a whole number of hundred-millionths. Such a number is
//! printed quickly, and parsing it as an `f64` or as an `f32` gives the same
//! bits, so that no choice of parser affects a test.

use super::fault::Fault;
use super::request_body::{Api, RequestBody};

/// Components are printed with eight decimals.
const SCALE: u32 = 100_000_000;

/// What the provider answers for a text: uniform in [-1, 1), never of unit length.
///
/// A shorter vector is the beginning of a longer one, as with the real models.
pub fn vector(model: &str, text: &str, dimension: usize) -> Vec<f32> {
    row(model, text, dimension).into_iter().map(float).collect()
}

/// A component in hundred-millionths.
type Component = i32;

fn row(model: &str, text: &str, dimension: usize) -> Vec<Component> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(model.len() as u64).to_le_bytes());
    hasher.update(model.as_bytes());
    hasher.update(text.as_bytes());
    let mut bytes = vec![0; 4 * dimension];
    hasher.finalize_xof().fill(&mut bytes);
    let (chunks, _) = bytes.as_chunks::<4>();
    chunks
        .iter()
        .map(|&chunk| (u32::from_le_bytes(chunk) % (2 * SCALE)).cast_signed() - SCALE.cast_signed())
        .collect()
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is wanted")]
fn float(component: Component) -> f32 {
    (f64::from(component) / f64::from(SCALE)) as f32
}

/// The body of a 200 with a vector for each text, changed as `fault` says.
pub(super) fn embeddings(request: &RequestBody, fault: Option<&Fault>) -> Vec<u8> {
    let page = Page::of(request, fault);
    let mut out = Vec::with_capacity(page.rows.iter().map(|(_, row)| 64 + 12 * row.len()).sum());
    let (open, close) = match request.api {
        Some(Api::OpenAi) => (r#"{"object":"list","data":["#, r#"],"model":"#),
        Some(Api::Gemini) | None => (r#"{"embeddings":["#, "]}"),
    };
    out.extend_from_slice(open.as_bytes());
    for (place, (index, row)) in page.rows.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        let odd = page.odd.filter(|_| place + 1 == page.rows.len());
        match request.api {
            Some(Api::OpenAi) => {
                let head = format!(r#"{{"object":"embedding","index":{index},"embedding":"#);
                out.extend_from_slice(head.as_bytes());
            }
            Some(Api::Gemini) | None => out.extend_from_slice(br#"{"values":"#),
        }
        if request.base64 {
            print_base64(&mut out, row, odd);
        } else {
            print_row(&mut out, row, odd, page.quoted);
        }
        out.push(b'}');
    }
    out.extend_from_slice(close.as_bytes());
    if request.api == Some(Api::OpenAi) {
        let tokens: usize = request.texts.iter().map(|text| text.len() / 4 + 1).sum();
        let model = serde_json::Value::from(request.model.as_str());
        let tail = format!(r#"{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#);
        out.extend_from_slice(tail.as_bytes());
    }
    out
}

/// The content of a body, with its faults.
struct Page {
    /// Each vector with the index that `OpenAI` gives it.
    rows: Vec<(usize, Vec<Component>)>,
    /// Stands in the middle of the last vector.
    odd: Option<Odd>,
    quoted: bool,
}

/// A component that is not a finite number: in JSON, and in base64.
#[derive(Clone, Copy)]
struct Odd(&'static str, f32);

impl Page {
    fn of(request: &RequestBody, fault: Option<&Fault>) -> Self {
        let dimension = match fault {
            Some(&Fault::WrongDimension(dimension)) => dimension,
            _ => request.dimension_due(),
        };
        let mut rows: Vec<(usize, Vec<Component>)> =
            request.texts.iter().map(|text| row(&request.model, text, dimension)).enumerate().collect();
        let mut odd = None;
        match fault {
            Some(&Fault::FewerVectors(fewer)) => rows.truncate(rows.len().saturating_sub(fewer)),
            Some(&Fault::MoreVectors(more)) => {
                let next = rows.len();
                rows.extend(
                    (next..next + more).map(|index| (index, row(&request.model, "uncalled for", dimension))),
                );
            }
            Some(Fault::Zeros) => rows.iter_mut().rev().take(1).for_each(|(_, row)| row.fill(0)),
            Some(Fault::NotANumber) => odd = Some(Odd("NaN", f32::NAN)),
            Some(Fault::NullComponent) => odd = Some(Odd("null", f32::NAN)),
            // A number that JSON and an f64 can hold, and an f32 cannot.
            Some(Fault::Infinite) => odd = Some(Odd("1e39", f32::INFINITY)),
            Some(Fault::ReorderedIndices) if request.api == Some(Api::OpenAi) => rows.reverse(),
            Some(Fault::DuplicateIndices) => {
                if let Some((index, _)) = rows.last_mut() {
                    *index = 0;
                }
            }
            _ => {}
        }
        Self { rows, odd, quoted: matches!(fault, Some(Fault::NumbersAsStrings)) }
    }
}

fn print_row(out: &mut Vec<u8>, row: &[Component], odd: Option<Odd>, quoted: bool) {
    out.push(b'[');
    for (place, &component) in row.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        if quoted {
            out.push(b'"');
        }
        match odd {
            Some(odd) if place == row.len() / 2 => out.extend_from_slice(odd.0.as_bytes()),
            _ => print(out, component),
        }
        if quoted {
            out.push(b'"');
        }
    }
    out.push(b']');
}

/// Sign, digit, point, eight decimals.
fn print(out: &mut Vec<u8>, component: Component) {
    let mut digits = *b"0.00000000";
    let mut rest = component.unsigned_abs();
    for place in [9, 8, 7, 6, 5, 4, 3, 2, 0] {
        digits[place] = b'0' + (rest % 10).to_le_bytes()[0];
        rest /= 10;
    }
    if component < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits);
}

fn print_base64(out: &mut Vec<u8>, row: &[Component], odd: Option<Odd>) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::with_capacity(4 * row.len());
    for (place, &component) in row.iter().enumerate() {
        let bits = odd.filter(|_| place == row.len() / 2).map_or_else(|| float(component), |odd| odd.1);
        bytes.extend_from_slice(&bits.to_le_bytes());
    }
    out.push(b'"');
    for three in bytes.chunks(3) {
        let at = |place: usize| three.get(place).copied().unwrap_or(0);
        let group = u32::from_be_bytes([0, at(0), at(1), at(2)]);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET[(group >> shift & 63) as usize];
            out.push(if place <= three.len() { digit } else { b'=' });
        }
    }
    out.push(b'"');
}
