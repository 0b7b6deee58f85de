//! Refusals of fields as servers word them.

use super::*;
use crate::adapters::embed::wire;

fn reply(status: u16, body: &str) -> Reply {
    Reply { status, retry_after: None, location: None, body: body.into() }
}

/// Kind and message of a refusal by a server that was sent these fields.
fn explained(
    status: u16,
    body: &str,
    fields: &str,
    names_dimension: bool,
    text: &str,
) -> (FailureKind, String) {
    let fields = serde_json::from_str(fields).unwrap();
    let sent = SentFields {
        task: Task::Document,
        fields: &fields,
        names_dimension,
        own_dimension: Some(1024),
        task_setting: None,
    };
    let reply = reply(status, body);
    let texts = [text.to_owned()];
    let Failure { kind, message, .. } = explain(wire::failure(&reply, None, &texts), &reply, &sent);
    (kind, message)
}

/// Status, body, the fields of the settings, whether the dimension was named, and what the message advises.
#[rustfmt::skip]
const REFUSALS: &[(u16, &str, &str, bool, &str)] = &[
    // NVIDIA, Cohere, FastAPI, OpenAI's form, Jina.
    (400, r#"{"error":"'input_type' parameter is required for asymmetric models"}"#, "{}", false, "set input_type in embedding.document.fields"),
    (400, r#"{"message":"invalid request: valid input_type must be provided with the provided model"}"#, "{}", false, "set input_type in embedding.document.fields"),
    (422, r#"{"detail":[{"type":"missing","loc":["body","input_type"],"msg":"Field required","input":{"a":1}}]}"#, "{}", false, "set input_type in embedding.document.fields"),
    (422, r#"{"detail":[{"loc":["body","lang",0],"msg":"field required","type":"value_error.missing"}]}"#, "{}", false, "set lang in embedding.document.fields"),
    (400, r#"{"error":{"message":"Missing required parameter: 'encoding'.","param":"encoding","code":"missing_required_parameter"}}"#, "{}", false, "set encoding in embedding.document.fields"),
    (400, r#"{"detail":"The field 'task' is required for this model"}"#, "{}", false, "set task in embedding.document.fields"),
    (422, r#"{"detail":[{"type":"enum","loc":["body","task"],"msg":"Input should be 'a' or 'b'"}]}"#, r#"{"task":"c"}"#, false, "check the value of task in embedding.document.fields"),
    (400, r#"{"error":{"message":"input_type must be one of query, document"}}"#, r#"{"input_type":"passage"}"#, false, "check the value of input_type"),
    // A field that is not taken.
    (422, r#"{"detail":[{"type":"extra_forbidden","loc":["body","task"],"msg":"Extra inputs are not permitted"}]}"#, r#"{"task":"c"}"#, false, "remove task from embedding.document.fields"),
    (400, r#"{"error":{"message":"Unrecognized request argument supplied: input_type"}}"#, r#"{"input_type":"x"}"#, false, "remove input_type from embedding.document.fields"),
    (400, r#"{"detail":"Argument 'input_kind' is not supported by our API"}"#, r#"{"input_kind":"x"}"#, false, "remove input_kind from embedding.document.fields"),
    // vLLM, OpenAI, Voyage, TEI: the length of the vectors.
    (400, r#"{"object":"error","message":"Model \"m\" does not support matryoshka representation, changing output dimensions will lead to poor results.","type":"BadRequestError","code":400}"#, "{}", true, "set embedding.dimension = 1024"),
    (400, r#"{"error":{"message":"This model does not support specifying dimensions.","type":"invalid_request_error","param":null,"code":null}}"#, "{}", true, "set embedding.dimension = 1024"),
    (400, r#"{"error":{"message":"no","param":"dimensions","code":"unsupported_parameter"}}"#, "{}", true, "set embedding.dimension = 1024"),
    (422, r#"{"detail":[{"type":"extra_forbidden","loc":["body","dimensions"],"msg":"Extra inputs are not permitted"}]}"#, "{}", true, "set embedding.dimension = 1024"),
];

#[test]
fn a_refusal_of_a_field_is_final_and_names_its_setting() {
    for &(status, body, fields, names_dimension, advice) in REFUSALS {
        let (kind, message) = explained(status, body, fields, names_dimension, "Ada Byron.");
        assert_eq!(kind, FailureKind::Final, "{body}");
        assert!(message.contains(advice), "{body}\n{message}");
    }
}

#[test]
fn what_is_said_of_texts_is_not_taken_for_a_field() {
    #[rustfmt::skip]
    let cases = [
        (400, r#"{"error":"this text is too long, at most 512 tokens are required"}"#, "{}", false),
        (400, r#"{"error":"the task of this model is missing a text that must be shorter"}"#, "{}", false),
        // Quoted from a row.
        (400, r#"{"error":"refused: The field input_type is required reading, she says."}"#, "{}", false),
        (422, r#"{"detail":[{"type":"missing","loc":["body","input"],"msg":"Field required"}]}"#, "{}", false),
        (422, r#"{"detail":[{"type":"string_too_long","loc":["body","input",3],"msg":"at most 512 characters"}]}"#, "{}", false),
        (400, r#"{"error":"vectors of another dimension"}"#, "{}", false),
        (400, r#"{"error":{"message":"unsupported language","param":"input"}}"#, r#"{"task":"x"}"#, false),
        (413, r#"{"error":"input_type is required"}"#, "{}", false),
        (503, r#"{"error":"input_type is required"}"#, "{}", false),
    ];
    for (status, body, fields, names_dimension) in cases {
        let reply = reply(status, body);
        let text = "Ada Byron. The field input_type is required reading, she says.";
        let plain = wire::failure(&reply, None, &[text.to_owned()]);
        assert_eq!(
            explained(status, body, fields, names_dimension, text),
            (plain.kind, plain.message),
            "{body}"
        );
    }
}

#[test]
fn a_question_is_pointed_to_its_own_fields() {
    let fields = RequestFields::default();
    let sent = SentFields {
        task: Task::Query,
        fields: &fields,
        names_dimension: false,
        own_dimension: None,
        task_setting: Some("embedding.task_type"),
    };
    for (body, advice) in [
        (r#"{"error":"input_type is required"}"#, "set input_type in embedding.query.fields"),
        (
            r#"{"error":{"code":400,"message":"Invalid value at 'requests[0].task_type' (TaskType), \"X\"","status":"INVALID_ARGUMENT"}}"#,
            "check the value of embedding.task_type",
        ),
    ] {
        let reply = reply(400, body);
        let failure = explain(wire::failure(&reply, None, &[]), &reply, &sent);
        assert!(failure.message.ends_with(advice), "{failure:?}");
    }
}
