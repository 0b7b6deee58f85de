//! Answers and errors as providers send them, byte for byte.

use proptest::prelude::*;

use super::*;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, location: None, body: body.into() }
}

const PASSING: FailureKind = FailureKind::Transient { wait: None };

fn after(seconds: f64) -> FailureKind {
    FailureKind::Transient { wait: Some(Duration::from_secs_f64(seconds)) }
}

/// A Gemini answer to too many requests.
fn quota(quota_id: &str, retry: &str) -> String {
    format!(
        r#"{{"error":{{"code":429,"message":"You exceeded your current quota.\n* Quota exceeded","status":"RESOURCE_EXHAUSTED","details":[
        {{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"quotaMetric":"m","quotaId":"{quota_id}","quotaValue":"100"}}]}},
        {{"@type":"type.googleapis.com/google.rpc.Help","links":[]}}{retry}]}}}}"#
    )
}

#[test]
fn what_an_error_means_is_read_from_status_and_body() {
    use FailureKind::{BadRequest, Exhausted, Final, TooLarge};
    let broken = FailureKind::ServerError { wait: None };
    let minute = "EmbedContentRequestsPerMinutePerProjectPerModel-FreeTier";
    let retry = |delay: &str| {
        format!(r#",{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}"}}"#)
    };
    let cases = [
        (429, quota(minute, &retry("45.837906927s")), after(45.837_906_927)),
        (429, quota(minute, &retry("0s")), after(0.0)),
        (429, quota(minute, &retry("soon")), PASSING),
        (429, quota(minute, ""), PASSING),
        (429, quota("EmbedContentRequestsPerDayPerProjectPerModel-FreeTier", &retry("3s")), Exhausted),
        (429, r#"{"error":{"message":"Rate limit","type":"requests","code":"rate_limit_exceeded"}}"#.into(), PASSING),
        (429, r#"{"error":{"message":"You exceeded","type":"insufficient_quota","code":null}}"#.into(), Exhausted),
        (429, r#"{"error":{"message":"Limit reached on requests per day (RPD): Limit 200.","code":"rate_limit_exceeded"}}"#.into(), Exhausted),
        (429, r#"{"error":{"message":"Limit reached on requests per min (RPM): Limit 3.","code":"rate_limit_exceeded"}}"#.into(), PASSING),
        (429, r#"{"error":{"message":"Your prepayment credits are depleted.","status":"RESOURCE_EXHAUSTED"}}"#.into(), Exhausted),
        (403, r#"{"error":{"message":"no money","code":"insufficient_credits"}}"#.into(), Exhausted),
        (402, "Payment Required".into(), Exhausted),
        (200, r#"{"error":{"message":"slow down","type":"rate_limit"}}"#.into(), PASSING),
        (200, r#"{"error":{"message":"You exceeded","code":"insufficient_quota"}}"#.into(), Exhausted),
        (200, r#"{"error":{"code":503,"message":"upstream is down"}}"#.into(), broken),
        (200, r#"{"error":{"code":403,"message":"denied"}}"#.into(), Final),
        (200, r#"{"error":{"code":400,"message":"no"}}"#.into(), BadRequest),
        (204, String::new(), PASSING),
        (403, r#"{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"CONSUMER_SUSPENDED"}]}}"#.into(), Final),
        (400, r#"{"error":{"message":"no","code":"accredited_model"}}"#.into(), BadRequest),
        (429, r#"{"error":{"message":"no","code":"monthly_spend_limit"}}"#.into(), Exhausted),
        (409, String::new(), PASSING),
        (423, String::new(), PASSING),
        (424, r#"{"error":"Backend error: CUDA out of memory","error_type":"Backend"}"#.into(), PASSING),
        (425, String::new(), PASSING),
        (499, r#"{"error":{"code":499,"message":"The operation was cancelled.","status":"CANCELLED"}}"#.into(), PASSING),
        (400, r#"{"error":{"message":"no","code":"unknown_parameter"}}"#.into(), Final),
        (422, r#"{"detail":[{"msg":"Extra inputs are not permitted"}]}"#.into(), Final),
        (429, r#"{"error":{"message":"Request too large for m on tokens per min (TPM): Limit 1000","code":"rate_limit_exceeded"}}"#.into(), TooLarge),
        (400, r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#.into(), Final),
        (400, r#"{"error":{"message":"API key not valid. Please pass a valid API key."}}"#.into(), Final),
        (400, r#"[{"error":{"code":400,"message":"key","details":[{"reason":"API_KEY_INVALID"}]}}]"#.into(), Final),
        (400, r#"{"error":{"message":"no","status":"FAILED_PRECONDITION"}}"#.into(), Final),
        (401, r#"{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}"#.into(), Final),
        (403, r#"{"error":{"status":"PERMISSION_DENIED","details":[{"reason":"BILLING_DISABLED"}]}}"#.into(), Final),
        (404, r#"{"error":{"code":404,"message":"models/x is not found","status":"NOT_FOUND"}}"#.into(), Final),
        (307, String::new(), Final),
        (400, r#"{"error":{"code":400,"message":"text too long","status":"INVALID_ARGUMENT","details":[{"fieldViolations":[{}]}]}}"#.into(), BadRequest),
        (413, r#"{"error":"batch too large","error_type":"Validation"}"#.into(), TooLarge),
        (422, r#"{"error":"batch size 100 > maximum allowed batch size 32","error_type":"Validation"}"#.into(), TooLarge),
        (400, r#"{"error":{"message":"Value error, batch size is invalid, it should not be larger than 10."}}"#.into(), TooLarge),
        (400, r#"{"error":{"message":"Request payload size exceeds the limit: 4194304 bytes."}}"#.into(), TooLarge),
        (400, r#"{"error":{"message":"* BatchEmbedContentsRequest.requests: at most 100 requests can be in one batch"}}"#.into(), TooLarge),
        (422, "<html>".into(), BadRequest),
        (408, String::new(), PASSING),
        (500, "{".into(), broken),
        (503, r#"{"error":{"details":"none"}}"#.into(), broken),
        (529, r#"{"error":null}"#.into(), broken),
    ];
    for (status, body, expected) in cases {
        assert_eq!(failure(&reply(status, &body), None, &[]).kind, expected, "{status} {body}");
    }
}

#[test]
fn limits_and_failures_are_known_as_many_servers_name_them() {
    use FailureKind::{BadRequest, Final, TooLarge};
    let broken = FailureKind::ServerError { wait: None };
    // OpenAI, Voyage, Cohere, Mistral, Gemini, LM Studio, Ollama, llama.cpp.
    let cases = [
        (
            400,
            r#"{"error":{"message":"Requested 309240 tokens, max 300000 tokens per request","code":"max_tokens_per_request"}}"#,
            TooLarge,
        ),
        (
            400,
            r#"{"detail":"The max allowed tokens per submitted batch is 120000. Your batch has 150000 tokens after truncation."}"#,
            TooLarge,
        ),
        (
            400,
            r#"{"message":"invalid request: total number of texts must be at most 96 - received 100"}"#,
            TooLarge,
        ),
        (
            400,
            r#"{"object":"error","message":"Too many tokens overall, split into more batches.","type":"invalid_request_error"}"#,
            TooLarge,
        ),
        (
            400,
            r#"{"object":"error","message":"Too many tokens in batch. Max is 16384, got 20000"}"#,
            TooLarge,
        ),
        (
            429,
            r#"{"error":{"message":"Rate limit reached for m on tokens per min (TPM): Limit 1000, Used 990","code":"rate_limit_exceeded"}}"#,
            PASSING,
        ),
        (405, "", Final),
        (410, "", Final),
        (
            400,
            r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
            Final,
        ),
        (400, r#"{"error":"No models loaded. Please load a model."}"#, BadRequest),
        (400, r#"{"error":"the input length exceeds the context length"}"#, BadRequest),
        (
            500,
            r#"{"error":{"code":500,"message":"input is too large to process. increase the physical batch size","type":"server_error"}}"#,
            broken,
        ),
        (500, r#"{"error":"failed to encode response: json: unsupported value: NaN"}"#, broken),
    ];
    for (status, body, expected) in cases {
        assert_eq!(failure(&reply(status, body), None, &[]).kind, expected, "{status} {body}");
    }
}

#[test]
fn the_providers_message_is_found_in_every_known_shape() {
    let cases = [
        (r#"{"error":{"message":"too\nlong"}}"#, "status 400: too long"),
        (r#"[{"error":{"message":"listed"}}]"#, "status 400: listed"),
        (r#"{"error":"model \"x\" not found"}"#, r#"status 400: model "x" not found"#),
        (r#"{"object":"error","message":"plain"}"#, "status 400: plain"),
        (r#"{"detail":"Not Found"}"#, "status 400: Not Found"),
        (
            r#"{"detail":[{"loc":["body"],"msg":"too long","input":"row text"},{"msg":"bad"}]}"#,
            "status 400: too long; bad",
        ),
        ("upstream\u{7} down", "status 400: upstream\\u{7} down"),
        ("", "status 400"),
    ];
    for (body, expected) in cases {
        assert_eq!(failure(&reply(400, body), None, &[]).message, expected, "{body}");
    }
    let redirect = Reply { location: Some("https://b/".into()), ..reply(301, "<html>") };
    assert_eq!(
        failure(&redirect, None, &[]).message,
        "status 301: the redirect to https://b/ was not followed"
    );
}

#[test]
fn the_longer_of_two_waits_is_kept() {
    let body = r#"{"error":{"details":[{"retryDelay":"2s"}]}}"#;
    for (header, expected) in [(None, 2.0), (Some(1), 2.0), (Some(5), 5.0)] {
        let reply = Reply { retry_after: header.map(Duration::from_secs), ..reply(503, body) };
        let wait = Some(Duration::from_secs_f64(expected));
        assert_eq!(failure(&reply, None, &[]).kind, FailureKind::ServerError { wait });
    }
}

#[test]
fn the_key_is_never_repeated() {
    let key = SecretString::from("sk-secret");
    let failure = failure(&reply(401, r#"{"error":{"message":"Incorrect key sk-secret"}}"#), Some(&key), &[]);
    assert_eq!(failure.message, "status 401: Incorrect key ***");
}

proptest! {
    #[test]
    fn any_error_body_gives_a_message_of_one_short_line(
        status in 100_u16..600,
        body in prop::collection::vec(any::<u8>(), 0..120),
        text in any::<String>(),
        shape in 0_usize..5,
    ) {
        let text = serde_json::Value::from(text);
        let shaped = match shape {
            0 => body,
            1 => serde_json::json!({"error": {"message": text, "details": [{"retryDelay": text}]}}).to_string().into(),
            2 => serde_json::json!([{"error": text, "code": text}]).to_string().into(),
            3 => serde_json::json!({"detail": [{"msg": text}, text]}).to_string().into(),
            _ => text.to_string().into(),
        };
        let reply = Reply { status, retry_after: None, location: None, body: shaped };
        let message = failure(&reply, None, &[]).message;
        prop_assert!(message.chars().count() < 450 && message.chars().all(|char| !char.is_control()));
    }

    #[test]
    fn a_wait_in_an_error_is_read_as_it_is_written(nanoseconds in 0_u64..1 << 45) {
        let wait = Duration::from_nanos(nanoseconds);
        let written = format!("{}.{:09}s", wait.as_secs(), wait.subsec_nanos());
        let read = duration(&written).unwrap();
        // Seconds pass through a float and keep the digits that it holds.
        prop_assert!(read.abs_diff(wait) < Duration::from_micros(10), "{written}: {read:?}");
    }

    #[test]
    fn any_text_may_stand_where_a_wait_is_expected(text in "[-+0-9.eE]{0,24}s?|.{0,20}") {
        duration(&text);
    }
}

#[test]
fn entries_that_all_have_errors_mean_what_the_first_says_and_others_decide_nothing() {
    let broken = FailureKind::ServerError { wait: None };
    let busy = r#"{"code":503,"message":"overloaded"}"#;
    let cases: [(&[Option<&str>], Option<FailureKind>); 8] = [
        (&[Some(busy)], Some(broken)),
        (&[Some(busy), Some(r#"{"code":400}"#)], Some(broken)),
        (&[Some(r#"{"code":"429"}"#)], Some(PASSING)),
        (&[Some(r#"{"code":400,"message":"no"}"#)], Some(FailureKind::BadRequest)),
        (&[Some(r#""overloaded""#)], Some(PASSING)),
        (&[Some(busy), None], None),
        (&[None, Some(busy)], None),
        (&[], None),
    ];
    for (errors, expected) in cases {
        let raw: Vec<Option<&RawValue>> =
            errors.iter().map(|error| error.map(|error| serde_json::from_str(error).unwrap())).collect();
        let found = entry_failure(raw.into_iter(), &reply(200, "{}"), None, &[]);
        assert_eq!(found.as_ref().map(|failure| failure.kind), expected, "{errors:?}");
        // A provider that answers may charge for it.
        assert!(found.is_none_or(|failure| failure.cost == Cost::Possible));
    }
}

#[test]
fn what_was_refused_with_a_4xx_costs_nothing_and_every_other_answer_may() {
    for (status, expected) in [
        (200, Cost::Possible),
        (302, Cost::Possible),
        (400, Cost::Refused),
        (429, Cost::Refused),
        (499, Cost::Refused),
        (500, Cost::Possible),
        (503, Cost::Possible),
    ] {
        // A gateway's word for what happened behind it is not the answer that we got.
        let body = r#"{"error":{"code":429,"message":"no"}}"#;
        assert_eq!(failure(&reply(status, body), None, &[]).cost, expected, "{status}");
    }
}

#[test]
fn the_status_that_an_error_names_is_read_from_numbers_and_digits() {
    let cases = [
        (r#"{"error":{"code":"503","message":"down"}}"#, FailureKind::ServerError { wait: None }),
        (r#"{"error":{"http_status":429,"code":8,"message":"slow down"}}"#, PASSING),
        (r#"{"error":{"status_code":"422","code":"invalid"}}"#, FailureKind::BadRequest),
        (r#"{"error":{"code":"200","message":"no"}}"#, PASSING),
    ];
    for (body, expected) in cases {
        assert_eq!(failure(&reply(200, body), None, &[]).kind, expected, "{body}");
    }
}
