//! Error bodies as APIs send them, shortened.

use beamline_contract::record::Kind;
use bytes::Bytes;

use super::*;
use crate::request::endpoint::Answer;
use crate::request::failure::CallFailure;
use crate::request::reply;
use FailureKind::{
    Auth, ClientError, ContentFilter, ContextLength, Cut, Empty, Quota, RateLimited, ServerError,
    Timeout,
};

fn failure(body: &str) -> AnsweredFailure {
    let answer = Answer {
        body: Bytes::copy_from_slice(body.as_bytes()),
        ..Answer::default()
    };
    match reply::read(Kind::Provider, &answer) {
        Err(CallFailure::Answered(failure)) => failure,
        other => panic!("{body} was read as {other:?}"),
    }
}

/// Body, class, number, code, seconds to wait.
type Case = (&'static str, FailureKind, Option<u16>, &'static str, f64);

const OPENAI: &[Case] = &[
    (
        r#"{"error": {"message": "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 28000, Requested 9000. Please try again in 7.66s.", "type": "tokens", "param": null, "code": "rate_limit_exceeded"}}"#,
        RateLimited,
        Some(429),
        "rate_limit_exceeded",
        7.66,
    ),
    (
        r#"{"error": {"message": "You exceeded your current quota, please check your plan and billing details.", "type": "insufficient_quota", "param": null, "code": "insufficient_quota"}}"#,
        Quota,
        Some(429),
        "insufficient_quota",
        0.0,
    ),
    (
        r#"{"error": {"message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.", "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}}"#,
        ContextLength,
        Some(400),
        "context_length_exceeded",
        0.0,
    ),
    (
        r#"{"error": {"message": "Incorrect API key provided: sk-x.", "type": "invalid_request_error", "param": null, "code": "invalid_api_key"}}"#,
        Auth,
        Some(401),
        "invalid_api_key",
        0.0,
    ),
    (
        r#"{"error": {"message": "The model `gpt-9` does not exist or you do not have access to it.", "type": "invalid_request_error", "param": null, "code": "model_not_found"}}"#,
        ClientError,
        Some(404),
        "model_not_found",
        0.0,
    ),
    (
        r#"{"error": {"message": "The server had an error while processing your request.", "type": "server_error", "param": null, "code": null}}"#,
        ServerError,
        Some(500),
        "server_error",
        0.0,
    ),
    (
        r#"{"error": {"message": "Your request was rejected as a result of our safety system.", "type": "image_generation_user_error", "code": "moderation_blocked"}}"#,
        ContentFilter,
        Some(400),
        "moderation_blocked",
        0.0,
    ),
    (
        r#"{"error": "Error code: 429 - {'error': {'message': 'Rate limit reached', 'code': 'rate_limit_exceeded'}}"}"#,
        RateLimited,
        Some(429),
        "error",
        0.0,
    ),
    (
        r#"{"error": {"type": "RateLimitError", "message": "litellm.RateLimitError: slow down", "http_status": 429, "headers": {"retry-after": "3"}}}"#,
        RateLimited,
        Some(429),
        "RateLimitError",
        3.0,
    ),
];

const AZURE: &[Case] = &[
    (
        r#"{"error": {"message": "The response was filtered due to the prompt triggering our content management policy.", "type": null, "param": "prompt", "code": "content_filter", "status": 400, "innererror": {"code": "ResponsibleAIPolicyViolation"}}}"#,
        ContentFilter,
        Some(400),
        "content_filter",
        0.0,
    ),
    (
        r#"{"error": {"code": "429", "message": "Requests to the ChatCompletions_Create Operation have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 20 seconds."}}"#,
        RateLimited,
        Some(429),
        "429",
        20.0,
    ),
    (
        r#"{"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}}"#,
        ClientError,
        Some(404),
        "DeploymentNotFound",
        0.0,
    ),
    (
        r#"{"statusCode": 401, "message": "Unauthorized. Access token is missing, invalid, or expired."}"#,
        Auth,
        Some(401),
        "401",
        0.0,
    ),
    (
        r#"{"error": {"code": "NoCapacity", "message": "The system is currently experiencing high demand and cannot process your request."}}"#,
        ServerError,
        Some(503),
        "NoCapacity",
        0.0,
    ),
];

const ANTHROPIC: &[Case] = &[
    (
        r#"{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}"#,
        ServerError,
        Some(529),
        "overloaded_error",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "rate_limit_error", "message": "This request would exceed your organization's rate limit of 40,000 input tokens per minute."}}"#,
        RateLimited,
        Some(429),
        "rate_limit_error",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 215000 tokens > 200000 maximum"}}"#,
        ContextLength,
        Some(400),
        "invalid_request_error",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the Anthropic API."}}"#,
        Quota,
        Some(429),
        "invalid_request_error",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}}"#,
        Auth,
        Some(401),
        "authentication_error",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "not_found_error", "message": "model: claude-x"}}"#,
        ClientError,
        Some(404),
        "not_found_error",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}"#,
        ClientError,
        Some(413),
        "request_too_large",
        0.0,
    ),
    (
        r#"{"type": "error", "error": {"type": "invalid_request_error", "message": "messages: roles must alternate"}}"#,
        ClientError,
        Some(400),
        "invalid_request_error",
        0.0,
    ),
];

const GOOGLE: &[Case] = &[
    (
        r#"{"error": {"code": 429, "message": "You exceeded your current quota. Please retry in 34.07s.", "status": "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]}}"#,
        RateLimited,
        Some(429),
        "RESOURCE_EXHAUSTED",
        34.0,
    ),
    (
        r#"{"error": {"code": 503, "message": "The model is overloaded. Please try again later.", "status": "UNAVAILABLE"}}"#,
        ServerError,
        Some(503),
        "UNAVAILABLE",
        0.0,
    ),
    (
        r#"{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]}}"#,
        Auth,
        Some(400),
        "INVALID_ARGUMENT",
        0.0,
    ),
    (
        r#"{"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}"#,
        ContextLength,
        Some(400),
        "INVALID_ARGUMENT",
        0.0,
    ),
    (
        r#"{"error": {"code": 403, "message": "Permission denied on resource project x.", "status": "PERMISSION_DENIED"}}"#,
        Auth,
        Some(403),
        "PERMISSION_DENIED",
        0.0,
    ),
    (
        r#"{"error": {"code": 504, "message": "Deadline expired before operation could complete.", "status": "DEADLINE_EXCEEDED"}}"#,
        Timeout,
        Some(504),
        "DEADLINE_EXCEEDED",
        0.0,
    ),
];

const BEDROCK: &[Case] = &[
    (
        r#"{"message": "Too many tokens, please wait before trying again.", "__type": "com.amazon.coral.service#ThrottlingException"}"#,
        RateLimited,
        Some(429),
        "com.amazon.coral.service#ThrottlingException",
        0.0,
    ),
    (
        r#"{"error": {"name": "ValidationException", "message": "Input is too long for requested model.", "$metadata": {"httpStatusCode": 400}}}"#,
        ContextLength,
        Some(400),
        "ValidationException",
        0.0,
    ),
    (
        r#"{"error": {"name": "AccessDeniedException", "$fault": "client", "message": "You don't have access to the model with the specified model ID."}}"#,
        Auth,
        Some(403),
        "AccessDeniedException",
        0.0,
    ),
    (
        r#"{"error": {"Code": "ServiceUnavailableException", "Message": "Bedrock is unable to process your request."}, "ResponseMetadata": {"HTTPStatusCode": 503}}"#,
        ServerError,
        Some(503),
        "ServiceUnavailableException",
        0.0,
    ),
    (
        r#"{"error": {"name": "ModelTimeoutException", "message": "Model has timed out."}}"#,
        Timeout,
        Some(408),
        "ModelTimeoutException",
        0.0,
    ),
];

const OTHERS: &[Case] = &[
    (
        r#"{"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "REQUEST_LIMIT_EXCEEDED: Exceeded workspace input tokens per minute rate limit."}"#,
        RateLimited,
        Some(429),
        "REQUEST_LIMIT_EXCEEDED",
        0.0,
    ),
    (
        r#"{"error_code": "BAD_REQUEST", "message": "Bad request: prompt token count (9000) cannot exceed 8192: reduce the length of the prompt"}"#,
        ContextLength,
        Some(400),
        "BAD_REQUEST",
        0.0,
    ),
    (
        r#"{"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "service_tier_capacity_exceeded", "param": null, "code": "3505"}"#,
        RateLimited,
        Some(429),
        "service_tier_capacity_exceeded",
        0.0,
    ),
    (
        r#"{"error": {"message": "Insufficient Balance", "type": "unknown_error", "param": null, "code": "invalid_request_error"}}"#,
        Quota,
        Some(429),
        "invalid_request_error",
        0.0,
    ),
    (
        r#"{"error": {"message": "insufficient credits", "code": 402}}"#,
        Quota,
        Some(402),
        "402",
        0.0,
    ),
    (
        r#"{"error": {"message": "You exceeded your current quota", "type": "insufficient_quota", "code": 401}}"#,
        Quota,
        Some(429),
        "insufficient_quota",
        0.0,
    ),
    (
        r#"{"code": "too_many_requests", "message": "slow down", "retry_after": 1.5}"#,
        RateLimited,
        Some(429),
        "too_many_requests",
        1.5,
    ),
    (
        r#"{"detail": "Not authenticated", "status_code": 401}"#,
        Auth,
        Some(401),
        "401",
        0.0,
    ),
    (
        r#"{"error": {"status": 429}}"#,
        RateLimited,
        Some(429),
        "429",
        0.0,
    ),
    (
        r#"{"error": {"status": "429"}}"#,
        RateLimited,
        Some(429),
        "429",
        0.0,
    ),
    (
        r#"{"error": "model is overloaded"}"#,
        ServerError,
        Some(500),
        "error",
        0.0,
    ),
    (
        r#"{"error": "rate_limit_exceeded"}"#,
        RateLimited,
        Some(429),
        "rate_limit_exceeded",
        0.0,
    ),
    (
        r#"{"status": "error", "error_code": "THROTTLED", "error_message": "try again in 250ms"}"#,
        RateLimited,
        Some(429),
        "THROTTLED",
        0.25,
    ),
    (
        r#"{"error": {"class": "cut", "code": "E7"}}"#,
        Cut,
        None,
        "E7",
        0.0,
    ),
    (
        r#"{"error": {"class": "context_length", "code": 500}}"#,
        ContextLength,
        Some(500),
        "500",
        0.0,
    ),
    (
        r#"{"error": {"class": "empty"}}"#,
        Empty,
        None,
        "error",
        0.0,
    ),
    (
        r#"{"error": {"class": "from the future", "code": 404}}"#,
        ClientError,
        Some(404),
        "404",
        0.0,
    ),
    (r#"{"error": {}}"#, ServerError, Some(500), "error", 0.0),
    (r#"{"error": 7}"#, ServerError, Some(500), "error", 0.0),
];

const MORE: &[Case] = &[
    (
        r#"{"error": {"code": 403, "message": "Your chosen model requires moderation and your input was flagged", "metadata": {"reasons": ["violence"]}}}"#,
        ContentFilter,
        Some(403),
        "403",
        0.0,
    ),
    (
        r#"{"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Field required"}], "status_code": 422}"#,
        ClientError,
        Some(422),
        "missing",
        0.0,
    ),
    (
        r#"{"object": "error", "message": "Expected last role User", "type": "invalid_request_message_order", "code": "3230"}"#,
        ClientError,
        Some(400),
        "invalid_request_message_order",
        0.0,
    ),
    (
        r#"{"message": "Malformed input request: extraneous key is not permitted"}"#,
        ClientError,
        Some(400),
        "error",
        0.0,
    ),
    (
        r#"{"error": "model 'x' not found, try pulling it first"}"#,
        ClientError,
        Some(404),
        "error",
        0.0,
    ),
    (
        r#"{"error": {"message": "You didn't provide an API key.", "type": "invalid_request_error", "code": null, "http_status": 401}}"#,
        Auth,
        Some(401),
        "invalid_request_error",
        0.0,
    ),
    (
        r#"{"error": {"message": "The model has been decommissioned", "type": "invalid_request_error", "code": "model_decommissioned"}}"#,
        ClientError,
        Some(404),
        "model_decommissioned",
        0.0,
    ),
    (
        r#"{"error": "Error code: 429 - {'error': {'code': 'insufficient_quota'}}"}"#,
        Quota,
        Some(429),
        "error",
        0.0,
    ),
    (
        r#"{"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048", "error_type": "validation"}"#,
        ContextLength,
        Some(400),
        "validation",
        0.0,
    ),
    (
        r#"{"detail": "Not authenticated"}"#,
        Auth,
        Some(401),
        "error",
        0.0,
    ),
];

/// Codes go into logs, where nobody's text may be.
#[test]
fn what_is_no_word_of_a_program_is_no_code() {
    for body in [
        r#"{"error": {"reason": "User john@example.com asked for it"}}"#,
        r#"{"error": "4111111111111111"}"#,
        r#"{"error": {"code": "card 4111 1111 1111 1111"}}"#,
        r#"{"error": {"code": "x4111111111111111"}}"#,
    ] {
        let code = failure(body).code;
        assert!(!code.contains("4111") && !code.contains('@'), "{code}");
    }
}

#[test]
fn errors_of_real_apis_are_what_they_are() {
    for cases in [OPENAI, AZURE, ANTHROPIC, GOOGLE, BEDROCK, OTHERS, MORE] {
        for (body, kind, number, code, wait) in cases {
            let failure = failure(body);
            assert_eq!(failure.kind(), *kind, "{body}");
            assert_eq!(failure.meaning.number, *number, "{body}");
            assert_eq!(failure.code, *code, "{body}");
            let asked = failure.retry_after.map_or(0.0, |wait| wait.as_secs_f64());
            assert!((asked - wait).abs() < 1e-9, "{asked} {body}");
        }
    }
}

#[test]
fn an_answer_beside_an_empty_error_is_an_answer() {
    for body in [
        r#"{"output": "x", "error": null}"#,
        r#"{"output": "x", "error": ""}"#,
        r#"{"output": "x", "error": false}"#,
        r#"{"output": {"message": "x", "code": 7}}"#,
        r#"{"output": "x", "message": "all is well"}"#,
    ] {
        let answer = Answer {
            body: Bytes::copy_from_slice(body.as_bytes()),
            ..Answer::default()
        };
        assert!(reply::read(Kind::Provider, &answer).is_ok(), "{body}");
    }
}

#[test]
fn what_an_error_says_of_another_attempt_is_read_wherever_it_stands() {
    for (body, retryable) in [
        (r#"{"error": {"code": 500, "retryable": true}}"#, Some(true)),
        (
            r#"{"error": {"code": 500, "retryable": "false"}}"#,
            Some(false),
        ),
        (r#"{"error": "x", "retryable": false}"#, Some(false)),
        (r#"{"error": {"code": 500}}"#, None),
    ] {
        assert_eq!(failure(body).retryable, retryable, "{body}");
    }
}

#[test]
fn a_deep_or_long_error_is_read_as_far_as_it_is_sensible() {
    let nested = format!("{}{}", r#"{"error":"#.repeat(40), "1") + &"}".repeat(40);
    assert_eq!(failure(&nested).kind(), ServerError);
    let items = r#"{"code": "x"},"#.repeat(10_000);
    let long = format!(r#"{{"errors": [{items} {{}}]}}"#);
    assert_eq!(failure(&long).kind(), ServerError);
}
