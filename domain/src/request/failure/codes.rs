//! What the codes of providers mean: one table of words, and what is read where no word is known.
//! `docs/failures.md` shows the same table to authors of extensions.

use std::sync::LazyLock;

use beamline_contract::failure::FailureKind;

use FailureKind::{
    Auth, ClientError, ContentFilter, ContextLength, Cut, Empty, NoResponders, Quota, RateLimited,
    ServerError, Timeout,
};

/// A word that somebody's errors use.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    pub word: &'static str,
    pub kind: FailureKind,
    /// As HTTP numbers it.
    pub number: Option<u16>,
    /// Who writes it.
    pub used_by: &'static str,
}

/// What a code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    pub kind: FailureKind,
    pub number: Option<u16>,
    /// The extension says that it has too much to do itself, which is no failure.
    pub overloaded: bool,
}

const OURS: &str = "Beamline extensions";
const OPENAI: &str = "OpenAI";
const AZURE: &str = "Azure";
const ANTHROPIC: &str = "Anthropic";
const GOOGLE: &str = "Google";
const BEDROCK: &str = "Bedrock";
const DATABRICKS: &str = "Databricks";
const MISTRAL: &str = "Mistral";
const COHERE: &str = "Cohere";
const OTHERS: &str = "OpenAI-compatible";

const fn code(word: &'static str, kind: FailureKind, number: u16, used_by: &'static str) -> Code {
    Code {
        word,
        kind,
        number: Some(number),
        used_by,
    }
}

/// A word that HTTP has no number for.
const fn bare(word: &'static str, kind: FailureKind, used_by: &'static str) -> Code {
    Code {
        word,
        kind,
        number: None,
        used_by,
    }
}

/// Of several words in one error the first in this table wins: the narrow ones come first, because
/// a `type` of `invalid_request_error` often stands beside a `code` that says more.
pub const CODES: &[Code] = &[
    code("context_length", ContextLength, 400, OURS),
    code("context_length_exceeded", ContextLength, 400, OPENAI),
    code("context_window_exceeded", ContextLength, 400, OTHERS),
    code("context_window_exceeded_error", ContextLength, 400, OTHERS),
    code("string_above_max_length", ContextLength, 400, OPENAI),
    code("prompt_too_long", ContextLength, 400, OTHERS),
    code("input_too_long", ContextLength, 400, OTHERS),
    code("max_tokens_exceeded", ContextLength, 400, OTHERS),
    code("exceed_context_size_error", ContextLength, 400, OTHERS),
    code(
        "model_context_window_exceeded",
        ContextLength,
        400,
        ANTHROPIC,
    ),
    code("tokens_limit_reached", ContextLength, 413, AZURE),
    code("content_filter", ContentFilter, 400, AZURE),
    code("content_filtered", ContentFilter, 400, OTHERS),
    code("content_policy_violation", ContentFilter, 400, OPENAI),
    code("content_policy_violation_error", ContentFilter, 400, OTHERS),
    code("responsible_ai_policy_violation", ContentFilter, 400, AZURE),
    code("moderation_blocked", ContentFilter, 400, OPENAI),
    code("data_inspection_failed", ContentFilter, 400, OTHERS),
    code("guardrail_intervened", ContentFilter, 400, BEDROCK),
    code("prohibited_content", ContentFilter, 400, GOOGLE),
    code("sensitive_words_detected", ContentFilter, 400, OTHERS),
    code("invalid_prompt", ContentFilter, 400, OPENAI),
    bare("safety", ContentFilter, GOOGLE),
    bare("image_safety", ContentFilter, GOOGLE),
    bare("blocklist", ContentFilter, GOOGLE),
    bare("spii", ContentFilter, GOOGLE),
    bare("recitation", ContentFilter, GOOGLE),
    bare("refusal", ContentFilter, ANTHROPIC),
    code("quota", Quota, 429, OURS),
    code("insufficient_quota", Quota, 429, OPENAI),
    code("billing_hard_limit_reached", Quota, 429, OPENAI),
    code("billing_not_active", Quota, 429, OPENAI),
    code("billing_error", Quota, 402, ANTHROPIC),
    code("quota_exceeded", Quota, 403, AZURE),
    code("service_quota_exceeded_exception", Quota, 400, BEDROCK),
    code("insufficient_credits", Quota, 402, OTHERS),
    code("insufficient_balance", Quota, 402, OTHERS),
    code("insufficient_funds", Quota, 402, OTHERS),
    code("payment_required", Quota, 402, OTHERS),
    code("credit_limit_reached", Quota, 402, OTHERS),
    code("budget_exceeded", Quota, 400, OTHERS),
    code("spend_limit_exceeded", Quota, 402, OTHERS),
    code("arrearage", Quota, 400, OTHERS),
    code("auth", Auth, 401, OURS),
    code("invalid_api_key", Auth, 401, OPENAI),
    code("incorrect_api_key", Auth, 401, OPENAI),
    code("account_deactivated", Auth, 401, OPENAI),
    code("authentication_error", Auth, 401, ANTHROPIC),
    code("permission_error", Auth, 403, ANTHROPIC),
    code("unauthenticated", Auth, 401, GOOGLE),
    code("api_key_invalid", Auth, 400, GOOGLE),
    code("permission_denied", Auth, 403, GOOGLE),
    code("service_disabled", Auth, 403, GOOGLE),
    code("access_denied_exception", Auth, 403, BEDROCK),
    code("unrecognized_client_exception", Auth, 403, BEDROCK),
    code("invalid_signature_exception", Auth, 403, BEDROCK),
    code("expired_token_exception", Auth, 403, BEDROCK),
    code("missing_authentication_token_exception", Auth, 403, BEDROCK),
    code("not_authorized_exception", Auth, 401, BEDROCK),
    code("unauthorized", Auth, 401, AZURE),
    code("access_denied", Auth, 401, AZURE),
    code("forbidden", Auth, 403, AZURE),
    code("unsupported_country_region_territory", Auth, 403, OPENAI),
    code("invalid_api_token", Auth, 401, COHERE),
    code("not_authorized", Auth, 401, OTHERS),
    code("rate_limited", RateLimited, 429, OURS),
    code("rate_limit_exceeded", RateLimited, 429, OPENAI),
    code("rate_limit_error", RateLimited, 429, ANTHROPIC),
    code("rate_limit_reached", RateLimited, 429, AZURE),
    code("rate_limit", RateLimited, 429, OTHERS),
    code("request_limit_exceeded", RateLimited, 429, DATABRICKS),
    code("too_many_requests", RateLimited, 429, OTHERS),
    code("too_many_requests_exception", RateLimited, 429, BEDROCK),
    code("throttling_exception", RateLimited, 429, BEDROCK),
    code("throttling", RateLimited, 429, OTHERS),
    code("throttled", RateLimited, 429, OTHERS),
    code(
        "request_limit_exceeded_exception",
        RateLimited,
        429,
        BEDROCK,
    ),
    code("limit_requests", RateLimited, 429, OTHERS),
    code("limit_exceeded_exception", RateLimited, 429, BEDROCK),
    code("resource_exhausted", RateLimited, 429, GOOGLE),
    code("rate_limit_exceeded_per_minute", RateLimited, 429, OTHERS),
    code("tokens_usage_based", RateLimited, 429, OTHERS),
    code("service_tier_capacity_exceeded", RateLimited, 429, MISTRAL),
    code("overloaded", ServerError, 503, OURS),
    code("overloaded_error", ServerError, 529, ANTHROPIC),
    code("model_overloaded", ServerError, 503, OTHERS),
    code("engine_overloaded", ServerError, 503, OTHERS),
    code("engine_overloaded_error", ServerError, 429, OTHERS),
    code("no_capacity", ServerError, 503, AZURE),
    code("server_is_overloaded", ServerError, 503, OPENAI),
    code("slow_down", ServerError, 503, OPENAI),
    code("model_not_ready_exception", ServerError, 429, BEDROCK),
    code("service_unavailable_exception", ServerError, 503, BEDROCK),
    code("temporarily_unavailable", ServerError, 503, DATABRICKS),
    code("service_unavailable", ServerError, 503, OTHERS),
    code("service_unavailable_error", ServerError, 503, OTHERS),
    code("unavailable", ServerError, 503, GOOGLE),
    bare("timeout", Timeout, OURS),
    bare("deadline_exceeded", Timeout, GOOGLE),
    code("timeout_error", Timeout, 504, ANTHROPIC),
    code("request_timeout", Timeout, 408, AZURE),
    code("gateway_timeout", Timeout, 504, OTHERS),
    code("model_timeout_exception", Timeout, 408, BEDROCK),
    code("operation_timeout", Timeout, 408, AZURE),
    code("etimedout", Timeout, 504, OTHERS),
    code("esockettimedout", Timeout, 504, OTHERS),
    bare("cut", Cut, OURS),
    bare("stream_error", Cut, OTHERS),
    bare("stream_interrupted", Cut, OTHERS),
    code("model_stream_error_exception", Cut, 424, BEDROCK),
    bare("econnreset", Cut, OTHERS),
    bare("empty", Empty, OURS),
    code("no_responders", NoResponders, 503, OURS),
    code("econnrefused", ServerError, 502, OTHERS),
    code("enotfound", ServerError, 502, OTHERS),
    code("api_connection_error", ServerError, 502, OTHERS),
    code("model_not_found", ClientError, 404, OPENAI),
    code("model_decommissioned", ClientError, 404, OTHERS),
    code("model_not_available", ClientError, 404, OTHERS),
    code("invalid_model", ClientError, 404, MISTRAL),
    code("resource_does_not_exist", ClientError, 404, DATABRICKS),
    code("deployment_not_found", ClientError, 404, AZURE),
    code("unknown_model", ClientError, 404, AZURE),
    code("not_found", ClientError, 404, GOOGLE),
    code("not_found_error", ClientError, 404, ANTHROPIC),
    code("resource_not_found_exception", ClientError, 404, BEDROCK),
    code("endpoint_not_found", ClientError, 404, DATABRICKS),
    code("request_too_large", ClientError, 413, ANTHROPIC),
    code("invalid_request", ClientError, 400, OURS),
    code("invalid_config", ClientError, 400, OURS),
    code("invalid_request_error", ClientError, 400, OPENAI),
    code("invalid_value", ClientError, 400, OPENAI),
    code("unsupported_parameter", ClientError, 400, OPENAI),
    code("unsupported_value", ClientError, 400, OPENAI),
    code("missing_required_parameter", ClientError, 400, OPENAI),
    code("unprocessable_entity", ClientError, 422, OTHERS),
    code("validation_exception", ClientError, 400, BEDROCK),
    code("validation_error", ClientError, 422, OTHERS),
    code("bad_request", ClientError, 400, DATABRICKS),
    code("bad_request_error", ClientError, 400, OTHERS),
    code("invalid_parameter_value", ClientError, 400, DATABRICKS),
    code("invalid_argument", ClientError, 400, GOOGLE),
    code("failed_precondition", ClientError, 400, GOOGLE),
    code("out_of_range", ClientError, 400, GOOGLE),
    code("json_invalid", ClientError, 400, OTHERS),
    code("invalid_message", ClientError, 400, COHERE),
    code("server_error", ServerError, 500, OPENAI),
    code("internal_server_error", ServerError, 500, OTHERS),
    code("internal_server_exception", ServerError, 500, BEDROCK),
    code("internal_failure", ServerError, 500, BEDROCK),
    code("internal_error", ServerError, 500, DATABRICKS),
    code("model_error_exception", ServerError, 424, BEDROCK),
    code("internal", ServerError, 500, GOOGLE),
    code("unknown", ServerError, 500, GOOGLE),
    code("aborted", ServerError, 500, GOOGLE),
    code("data_loss", ServerError, 500, GOOGLE),
    code("api_error", ServerError, 500, ANTHROPIC),
    code("bad_gateway", ServerError, 502, OTHERS),
    code("5xx", ServerError, 500, OURS),
    code("4xx", ClientError, 400, OURS),
    code("429", RateLimited, 429, OURS),
];

/// What a message says where the code says nothing, or only that the request is wrong. In small
/// letters; the first that fits wins.
const PHRASES: &[(&str, FailureKind)] = &[
    ("requires moderation", ContentFilter),
    ("was flagged", ContentFilter),
    ("usage polic", ContentFilter),
    ("too many tokens, please wait", RateLimited),
    ("too many requests", RateLimited),
    ("rate limit", RateLimited),
    ("ratelimit", RateLimited),
    ("throttl", RateLimited),
    ("api calls / minute", RateLimited),
    ("context length", ContextLength),
    ("context window", ContextLength),
    ("context size", ContextLength),
    ("prompt is too long", ContextLength),
    ("input is too long", ContextLength),
    ("input length and `max_tokens` exceed", ContextLength),
    ("input token count", ContextLength),
    ("maximum allowed number of input tokens", ContextLength),
    ("too many input tokens", ContextLength),
    ("maximum input length", ContextLength),
    ("exceeds the maximum number of tokens", ContextLength),
    ("reduce the length of", ContextLength),
    ("too many tokens", ContextLength),
    ("`inputs` tokens + `max_new_tokens` must be", ContextLength),
    ("token limit exceeded", ContextLength),
    ("content management policy", ContentFilter),
    ("content filter", ContentFilter),
    ("content_filter", ContentFilter),
    ("content policy", ContentFilter),
    ("safety system", ContentFilter),
    ("responsible ai", ContentFilter),
    ("inappropriate content", ContentFilter),
    ("credit balance", Quota),
    ("insufficient credit", Quota),
    ("insufficient balance", Quota),
    ("exceeded your current quota", Quota),
    ("insufficient_quota", Quota),
    ("out of credits", Quota),
    ("all available credits", Quota),
    ("spending limit", Quota),
    ("call volume quota", Quota),
    ("billing", Quota),
    ("incorrect api key", Auth),
    ("invalid api key", Auth),
    ("api key not valid", Auth),
    ("api key expired", Auth),
    ("invalid api token", Auth),
    ("token seems invalid", Auth),
    ("not authenticated", Auth),
    ("not authorized to perform", Auth),
    ("have access to the model", Auth),
    ("user location is not supported", Auth),
    ("unauthorized", Auth),
    ("overloaded", ServerError),
    ("malformed input", ClientError),
    ("model identifier is invalid", ClientError),
    ("try pulling it first", ClientError),
    ("does not exist", ClientError),
    ("not found", ClientError),
];

/// The own word of an extension that has too much to do.
const OVERLOADED: &str = "overloaded";

/// Reads what an error says of itself: a known word goes before a number, and both before what the
/// message says. What says nothing is a failure of the server.
pub fn meaning(words: &[&str], numbers: &[u64], message: &str) -> Meaning {
    let number = first_http_number(numbers).or_else(|| told_number(message));
    let code = words_code(words);
    // `invalid_request_error` with the number 401 is about the key.
    let says_more = |number: &u16| matches!(number, 401 | 402 | 403 | 404 | 413 | 429);
    let number_is_narrower = code.is_some_and(is_wide) && number.is_some_and(|n| says_more(&n));
    if let Some(code) = code.filter(|_| !number_is_narrower) {
        // A word that is in doubt by itself is made clearer by the message.
        let kind = refined(code.kind, message);
        return Meaning {
            kind,
            number: code
                .number
                .filter(|_| kind == code.kind)
                .or(number)
                .or_else(|| usual_number(kind)),
            overloaded: words.contains(&OVERLOADED),
        };
    }
    let kind = match number {
        Some(number) => refined(of_number(number), message),
        None => numbers
            .iter()
            .find_map(|number| of_grpc(*number))
            .or_else(|| begins_as_invalid(words))
            .or_else(|| phrase(message))
            .unwrap_or(ServerError),
    };
    let is_missing = kind == ClientError && message.to_lowercase().contains("not found");
    let unnumbered = || {
        if is_missing {
            Some(404)
        } else {
            usual_number(kind)
        }
    };
    Meaning {
        kind,
        number: number.or_else(unnumbered),
        overloaded: false,
    }
}

/// Whether a word says no more than whose fault it is.
fn is_wide(code: &Code) -> bool {
    matches!(
        (code.kind, code.number),
        (ClientError, Some(400)) | (ServerError, Some(500))
    )
}

/// Codes that nobody has put into the table, such as `invalid_request_message_order`.
fn begins_as_invalid(words: &[&str]) -> Option<FailureKind> {
    let is_invalid = |word: &&str| word.to_ascii_lowercase().starts_with("invalid_");
    words.iter().any(is_invalid).then_some(ClientError)
}

/// The number of a failure whose kind is known: its own one, else that of the kind.
pub fn number_of(kind: FailureKind, words: &[&str], numbers: &[u64]) -> Option<u16> {
    let own = words_code(words).filter(|code| code.kind == kind);
    own.and_then(|code| code.number)
        .or_else(|| first_http_number(numbers))
        .or_else(|| usual_number(kind))
}

/// The first row that one of the words is. `RateLimitError` is `rate_limit`, and
/// `com.example#ThrottlingException` is `throttling`, unless a row has the longer word.
fn words_code(words: &[&str]) -> Option<&'static Code> {
    let written: Vec<String> = words.iter().map(|word| letters(last_part(word))).collect();
    let row = |fits: &dyn Fn(&str, &str) -> bool| {
        let mut rows = LETTERS.iter();
        let fitting = |known: &str| written.iter().any(|written| fits(written, known));
        rows.find(|(known, _)| fitting(known))
            .map(|(_, code)| *code)
    };
    row(&|written, known| written == known)
        .or_else(|| row(&|written, known| stem(written) == stem(known)))
}

/// The table with its words as they are compared.
static LETTERS: LazyLock<Vec<(String, &'static Code)>> = LazyLock::new(|| {
    let rows = CODES.iter();
    rows.map(|code| (letters(code.word), code)).collect()
});

/// What stands behind the name of a service, and before an address.
fn last_part(word: &str) -> &str {
    let word = word.split(':').next().unwrap_or(word);
    word.rsplit(['#', '.', '/']).next().unwrap_or(word)
}

/// Spellings differ in case and in what stands between the words.
pub(in crate::request) fn letters(word: &str) -> String {
    let kept = word.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|letter| letter.to_ascii_lowercase()).collect()
}

fn stem(word: &str) -> &str {
    let stem = word
        .strip_suffix("exception")
        .or_else(|| word.strip_suffix("error"));
    stem.filter(|stem| !stem.is_empty()).unwrap_or(word)
}

/// What is in doubt is asked again: "wrong" may mean "too long", a refusal for lack of rights may
/// be one of the content or of credit, and too many requests may be all that were paid for.
fn refined(kind: FailureKind, message: &str) -> FailureKind {
    let told = || phrase(message);
    match kind {
        ClientError => told().unwrap_or(kind),
        Auth => told()
            .filter(|told| matches!(told, ContentFilter | Quota))
            .unwrap_or(kind),
        RateLimited if message.contains("insufficient_quota") => Quota,
        Timeout | ServerError | RateLimited | NoResponders | Quota | ContextLength
        | ContentFilter | Cut | Empty => kind,
    }
}

fn phrase(message: &str) -> Option<FailureKind> {
    let message = message.to_lowercase();
    let known = PHRASES.iter().find(|(words, _)| message.contains(words));
    known.map(|(_, kind)| *kind)
}

fn first_http_number(numbers: &[u64]) -> Option<u16> {
    numbers.iter().find_map(|number| http_number(*number))
}

/// `Error code: 429 - ..`: how clients of these APIs write an exception as text.
fn told_number(message: &str) -> Option<u16> {
    const LEADS: [&str; 4] = ["error code: ", "status code: ", "status code ", "http "];
    let message = message.to_lowercase();
    let rest = LEADS
        .iter()
        .find_map(|lead| message.split_once(lead).map(|(_, rest)| rest))?;
    let number = rest.get(..3)?.parse().ok()?;
    (400..=599).contains(&number).then_some(number)
}

fn http_number(number: u64) -> Option<u16> {
    let number = u16::try_from(number).ok()?;
    (400..=599).contains(&number).then_some(number)
}

/// The kind of a failure that HTTP numbers like this.
pub(super) fn of_number(number: u16) -> FailureKind {
    match number {
        401 | 403 => Auth,
        402 => Quota,
        408 | 504 | 524 => Timeout,
        429 => RateLimited,
        400..=499 => ClientError,
        _ => ServerError,
    }
}

/// The status codes of gRPC, which Google's clients hand on.
fn of_grpc(number: u64) -> Option<FailureKind> {
    Some(match number {
        3 | 5 | 6 | 9 | 11 => ClientError,
        4 => Timeout,
        7 | 16 => Auth,
        8 => RateLimited,
        2 | 10 | 12 | 13 | 14 | 15 => ServerError,
        _ => return None,
    })
}

/// The number of what has none of its own.
pub(super) fn usual_number(kind: FailureKind) -> Option<u16> {
    match kind {
        ServerError => Some(500),
        RateLimited | Quota => Some(429),
        ClientError | ContextLength | ContentFilter => Some(400),
        Auth => Some(401),
        NoResponders => Some(503),
        Timeout | Cut | Empty => None,
    }
}

#[cfg(test)]
mod tests;
