//! The ways in which providers and networks fail, in the form of each API.
//!
//! A test chooses a [`Fault`]. [`respond`] turns it, or its absence, into a
//! [`Response`]: a status, a body, and the manner in which `connection` sends
//! them. No sockets here.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::embeddings;
use super::custom_answer::{CustomAnswer, Right, Then};
use super::request_body::{Api, RequestBody};

/// One way to fail. A fault of only one of the two services has the nearest form in the other.
#[derive(Clone, Debug)]
pub enum Fault {
    /// 429 that ends by waiting. Gemini names the wait in its body, `OpenAI` in message and header.
    RateLimited {
        /// Gemini's `RetryInfo`; it may be zero, it may be missing.
        retry_info: Option<&'static str>,
        /// The header `retry-after`: seconds or a date.
        retry_after: Option<String>,
    },
    /// 429 for a quota by the day, with a short wait named beside it, as Gemini does.
    PerDayQuota,
    /// 429 for credit that is used up.
    InsufficientQuota,
    /// This status from 500 on, in the service's form; 502 comes from a proxy, in HTML.
    ServerError(u16),
    /// This status and body, as they are.
    Status(u16, String),
    /// The key is wrong: 400 `API_KEY_INVALID` from Gemini, 401 from `OpenAI`.
    KeyInvalid,
    /// The same, and the message contains the whole key.
    KeyEchoed,
    /// 403.
    Forbidden,
    /// 404.
    ModelNotFound,
    /// 400 that does not say which text it means.
    InvalidArgument,
    /// No answer for as long as the client waits.
    Hang,
    /// The connection is reset (RST) before any answer.
    ResetBeforeAnswer,
    /// The connection is closed in good order before any answer.
    CloseBeforeAnswer,
    /// The promised length, half the body, the end of the connection.
    CutOffBody,
    /// The promised length, half the body, and nothing more for as long as the client waits.
    StallInBody,
    /// The right answer, `bytes` at a time.
    SlowDrip {
        /// How many are sent together.
        bytes: usize,
        /// How long before the next.
        every: Duration,
    },
    /// This number of vectors too few.
    FewerVectors(usize),
    /// This number of vectors too many.
    MoreVectors(usize),
    /// Vectors of this dimension instead of the requested one.
    WrongDimension(usize),
    /// `NaN` in the last vector, as Python prints it.
    NotANumber,
    /// `null` in the last vector.
    NullComponent,
    /// `1e39` in the last vector, which is infinite as an `f32`.
    Infinite,
    /// The last vector is all zero.
    Zeros,
    /// The right vectors, each number as a JSON string.
    NumbersAsStrings,
    /// `OpenAI`: the right vectors, each with its right index, last one first.
    ReorderedIndices,
    /// `OpenAI`: the last vector has the index of the first.
    DuplicateIndices,
    /// 200 with bytes that are neither JSON nor UTF-8.
    GarbageBody,
    /// 200 with JSON that never closes, this number of bytes, without a content length.
    HugeBody(usize),
    /// 200 with the body of a 429.
    ErrorInside200,
    /// 200 with nothing.
    EmptyBody,
    /// 307 to this address.
    Redirect(String),
    /// An answer that a test makes from the right one, byte for byte.
    Custom(CustomAnswer),
}

/// An answer, and how to send it.
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) manner: Manner,
    /// Whether every text gets its own vector.
    pub(super) right: bool,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Manner {
    Whole,
    CutOff,
    Stall,
    Drip {
        bytes: usize,
        every: Duration,
    },
    Endless {
        bytes: usize,
    },
    Never,
    Close,
    Reset,
    /// Head and body are in the body already.
    Custom(Then),
}

/// The answer to a request.
pub(super) fn respond(request: &RequestBody, fault: Option<&Fault>, key: &str) -> Response {
    let Some(fault) = fault else {
        return match &request.refusal {
            None => Response::vectors(request, None),
            Some((status, message)) => Response::error(*status, &error(request, *status, message)),
        };
    };
    let error_with = |status: u16, message: &str| Response::error(status, &error(request, status, message));
    let manner = |manner: Manner| Response { manner, ..Response::vectors(request, None) };
    match fault {
        Fault::RateLimited { retry_info, retry_after } => Response {
            headers: retry_after.iter().map(|wait| ("retry-after", wait.clone())).collect(),
            ..Response::error(429, &rate_limited(request, Quota::PerMinute, *retry_info))
        },
        Fault::PerDayQuota => Response::error(429, &rate_limited(request, Quota::PerDay, Some("12s"))),
        Fault::InsufficientQuota => Response::error(429, &out_of_credit(request)),
        Fault::ServerError(502) => Response::html(502, "<html><title>502 Bad Gateway</title></html>"),
        Fault::ServerError(status) => error_with(*status, "The model is overloaded. Please try again later."),
        Fault::Status(status, body) => Response::plain(*status, body.clone().into_bytes()),
        Fault::KeyInvalid => key_invalid(request, "API key not valid. Please pass a valid API key."),
        Fault::KeyEchoed => key_invalid(request, &format!("Incorrect API key provided: {key}.")),
        Fault::Forbidden => error_with(403, "Your project has been denied access. Please contact support."),
        Fault::ModelNotFound => {
            error_with(404, &format!("models/{} is not found, or has no embeddings.", request.model))
        }
        Fault::InvalidArgument => error_with(400, "Request contains an invalid argument."),
        Fault::Hang => manner(Manner::Never),
        Fault::ResetBeforeAnswer => manner(Manner::Reset),
        Fault::CloseBeforeAnswer => manner(Manner::Close),
        Fault::CutOffBody => manner(Manner::CutOff),
        Fault::StallInBody => manner(Manner::Stall),
        &Fault::SlowDrip { bytes, every } => manner(Manner::Drip { bytes: bytes.max(1), every }),
        Fault::FewerVectors(_)
        | Fault::MoreVectors(_)
        | Fault::WrongDimension(_)
        | Fault::NotANumber
        | Fault::NullComponent
        | Fault::Infinite
        | Fault::Zeros
        | Fault::NumbersAsStrings
        | Fault::ReorderedIndices
        | Fault::DuplicateIndices => Response::vectors(request, Some(fault)),
        Fault::GarbageBody => Response::plain(200, b"\x00\xff\xfe{\"embeddings\": [{\"val".to_vec()),
        &Fault::HugeBody(bytes) => {
            Response { manner: Manner::Endless { bytes }, ..Response::plain(200, Vec::new()) }
        }
        Fault::ErrorInside200 => Response::error(200, &rate_limited(request, Quota::PerMinute, None)),
        Fault::EmptyBody => Response::plain(200, Vec::new()),
        Fault::Redirect(to) => {
            Response { headers: vec![("location", to.clone())], ..Response::html(307, "<html>moved</html>") }
        }
        Fault::Custom(custom) => {
            let right = Right::of(request, embeddings(request, None));
            Response {
                manner: Manner::Custom(custom.then),
                right: custom.right,
                ..Response::plain(200, (custom.make)(&right, custom.what))
            }
        }
    }
}

impl Response {
    fn plain(status: u16, body: Vec<u8>) -> Self {
        let headers = vec![("content-type", "application/json; charset=UTF-8".to_owned())];
        Self { status, headers, body, manner: Manner::Whole, right: false }
    }

    fn html(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "text/html; charset=UTF-8".to_owned())];
        Self { headers, ..Self::plain(status, body.as_bytes().to_vec()) }
    }

    fn error(status: u16, body: &Value) -> Self {
        Self::plain(status, format!("{body:#}").into_bytes())
    }

    fn vectors(request: &RequestBody, fault: Option<&Fault>) -> Self {
        let right = matches!(fault, None | Some(Fault::NumbersAsStrings | Fault::ReorderedIndices));
        Self { right, ..Self::plain(200, embeddings(request, fault)) }
    }
}

/// An error in the form of the request's API.
fn error(request: &RequestBody, status: u16, message: &str) -> Value {
    match request.api {
        Some(Api::OpenAi) => {
            let (kind, code) = match status {
                404 => ("invalid_request_error", Some("model_not_found")),
                403 => ("request_forbidden", Some("unsupported_country_region_territory")),
                500.. => ("server_error", None),
                _ => ("invalid_request_error", None),
            };
            openai_error(message, kind, code)
        }
        Some(Api::Gemini) | None => gemini_error(status, message, Vec::new()),
    }
}

fn openai_error(message: &str, kind: &str, code: Option<&str>) -> Value {
    json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
}

fn gemini_error(code: u16, message: &str, details: Vec<Value>) -> Value {
    let status = match code {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "UNKNOWN",
    };
    let mut error = json!({"code": code, "message": message, "status": status});
    if !details.is_empty() {
        error["details"] = Value::Array(details);
    }
    json!({"error": error})
}

#[derive(Clone, Copy)]
enum Quota {
    PerMinute,
    PerDay,
}

fn rate_limited(request: &RequestBody, quota: Quota, wait: Option<&str>) -> Value {
    let (per, limit, openai) = match quota {
        Quota::PerMinute => ("PerMinute", 100, "requests per min (RPM)"),
        Quota::PerDay => ("PerDay", 1000, "requests per day (RPD)"),
    };
    let model = &request.model;
    if request.api == Some(Api::OpenAi) {
        let retry = wait.map(|wait| format!(" Please try again in {wait}.")).unwrap_or_default();
        let message =
            format!("Rate limit reached for {model} on {openai}: Limit {limit}, Used {limit}.{retry}");
        return openai_error(&message, "requests", Some("rate_limit_exceeded"));
    }
    let mut details = vec![
        json!({
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/embed_content_free_tier_requests",
                "quotaId": format!("EmbedContentRequests{per}PerUserPerProjectPerModel-FreeTier"),
                "quotaDimensions": {"location": "global", "model": model},
                "quotaValue": limit.to_string(),
            }],
        }),
        json!({
            "@type": "type.googleapis.com/google.rpc.Help",
            "links": [{"description": "Quotas", "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}],
        }),
    ];
    details.extend(
        wait.map(|wait| json!({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": wait})),
    );
    gemini_error(429, "You exceeded your current quota, please check your plan and billing details.", details)
}

fn out_of_credit(request: &RequestBody) -> Value {
    match request.api {
        Some(Api::OpenAi) => {
            let message = "You exceeded your current quota, please check your plan and billing details.";
            openai_error(message, "insufficient_quota", Some("insufficient_quota"))
        }
        Some(Api::Gemini) | None => gemini_error(429, "Your prepayment credits are depleted.", Vec::new()),
    }
}

fn key_invalid(request: &RequestBody, message: &str) -> Response {
    if request.api == Some(Api::OpenAi) {
        return Response::error(
            401,
            &openai_error(message, "invalid_request_error", Some("invalid_api_key")),
        );
    }
    let info = json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    });
    Response::error(400, &gemini_error(400, message, vec![info]))
}
