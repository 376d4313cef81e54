//! The names of NATS headers. They are read in any case, and written like this.

/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// What vendors of tracing and callers add to it, which the router passes on as it is.
pub const TRACESTATE: &str = "tracestate";
pub const BAGGAGE: &str = "baggage";
pub const TRACE_ID: &str = "trace_id";
pub const TENANT_ID: &str = "tenant_id";

/// Milliseconds that the sender waits.
pub const TIMEOUT_MS: &str = "Router-Timeout-Ms";
/// When the sender's time is over, in RFC 3339; what is read later is not worth doing.
pub const DEADLINE: &str = "Router-Deadline";
/// 1 for the first attempt.
pub const ATTEMPT: &str = "Router-Attempt";
/// Who goes first when not everybody can.
pub const PRIORITY: &str = "Router-Priority";
/// In an answer: the milliseconds that the request was given, when the caller asked for more.
pub const TIMEOUT_CLAMPED: &str = "Router-Timeout-Clamped";

/// In the answer of a router to a gateway: `1`. An answer that carries it is no extension's.
pub const ANSWER: &str = "Beamline-Answer";

/// `Bearer` and a key of the administration, or `Beamline-Key`, its id, a colon and a signature.
pub const AUTHORIZATION: &str = "Authorization";
/// Of a signed request: when it was signed, in RFC 3339 and UTC.
pub const ROUTER_DATE: &str = "Router-Date";
/// Of a signed request: 128 random bits in base64url.
pub const ROUTER_NONCE: &str = "Router-Nonce";

/// Of a message between replicas: who sends it and when, and the signature over all of it.
pub const ROUTER_FLEET: &str = "Router-Fleet";

/// In an answer of a NATS service: what went wrong, and its number.
pub const SERVICE_ERROR: &str = "Nats-Service-Error";
pub const SERVICE_ERROR_CODE: &str = "Nats-Service-Error-Code";
/// In the same: `true` when another attempt may help.
pub const RETRYABLE: &str = "retryable";
/// In the same: milliseconds to wait before it.
pub const RETRY_AFTER_MS: &str = "retry_after_ms";
/// The same as some APIs write it.
pub const RETRY_AFTER_MS_OF_HTTP: &str = "retry-after-ms";
/// In the same: seconds to wait before it, or the date until which to wait.
pub const RETRY_AFTER: &str = "Retry-After";
