//! A gateway's request (contract section 1), read and checked before anything else happens with it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::document::{Mistakes, Object, check_depth, shorten};
use crate::request::error::RequestError;
use beamline_contract::details::MISTAKES;
use beamline_contract::error::IntakeCode;
use beamline_contract::fields::Fields;
use beamline_contract::limits::{MAX_REQUEST_ID, REQUEST_TIMEOUT_MS};
use beamline_contract::mistake::Mistake;
use beamline_contract::trace::{Carried, TraceContext};

/// What the caller asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestKind {
    /// Choose a provider, call none.
    Decide,
    /// The whole pipeline.
    Route,
}

impl RequestKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Route => "route",
        }
    }
}

/// Headers that matter here, as they came.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaders {
    pub tenant_id: Option<String>,
    /// The subject named that tenant: nothing in the message may name another.
    pub tenant_is_bound: bool,
    pub trace_id: Option<String>,
    pub traceparent: Option<String>,
    pub tracestate: Option<String>,
    pub baggage: Option<String>,
    /// `Router-Timeout-Ms`.
    pub timeout_ms: Option<String>,
    /// `Router-Priority`.
    pub priority: Option<String>,
}

impl RequestHeaders {
    /// What they alone say about a request whose body was not read; a new trace starts where they
    /// name none.
    pub fn correlation(&self, entropy: impl FnMut() -> u64) -> Correlation {
        let trace = TraceContext::resume(
            self.traceparent.as_deref(),
            self.trace_id.as_deref(),
            entropy,
        );
        Correlation {
            trace_id: trace.trace_id.to_string(),
            tenant_id: self.tenant_id.clone(),
            ..Correlation::default()
        }
    }

    fn carried(&self) -> Carried {
        Carried::new(
            self.traceparent.as_deref(),
            self.tracestate.as_deref(),
            self.baggage.as_deref(),
        )
    }
}

/// What a deployment allows.
#[derive(Debug, Clone)]
pub struct RequestLimits {
    /// For a request that names no time of its own.
    pub default_timeout: Duration,
    /// A longer time is cut to this.
    pub max_timeout: Duration,
    /// `None`: every tenant that has a policy.
    pub allowed_tenants: Option<Vec<String>>,
}

impl RequestLimits {
    pub fn allows(&self, tenant_id: &str) -> bool {
        let allowed = self.allowed_tenants.as_ref();
        allowed.is_none_or(|allowed| allowed.iter().any(|known| known == tenant_id))
    }

    pub fn check_tenant(&self, tenant_id: &str) -> Result<(), RequestError> {
        if self.allows(tenant_id) {
            return Ok(());
        }
        let message = format!("Tenant {} is not allowed here.", shorten(tenant_id));
        Err(RequestError::tenant_forbidden(message))
    }
}

#[derive(Debug)]
pub struct Request {
    pub tenant_id: Arc<str>,
    pub request_id: Arc<str>,
    pub trace: TraceContext,
    pub message: Message,
    pub policy_id: String,
    pub context: Fields,
    pub timeout: Duration,
    /// It asked for more time than a request may have.
    pub clamped: bool,
}

/// What travels through the pipeline. Cheap to clone; the payload is never looked into.
#[derive(Debug, Clone)]
pub struct Message {
    pub message_id: Arc<str>,
    pub message_type: Arc<str>,
    pub payload: Arc<RawValue>,
    pub metadata: Arc<Fields>,
}

/// What an answer needs to be matched with its request, as far as it could be read.
#[derive(Debug, Clone, Default)]
pub struct Correlation {
    pub request_id: Option<String>,
    pub trace_id: String,
    pub tenant_id: Option<String>,
    pub policy_id: Option<String>,
}

/// A refusal together with what could be read of the request.
pub type Refusal = Box<(RequestError, Correlation)>;

const DEFAULT_POLICY: &str = "default";
const DEFAULT_MESSAGE_TYPE: &str = "chat";

impl Request {
    pub fn parse(
        body: &[u8],
        headers: &RequestHeaders,
        limits: &RequestLimits,
        entropy: impl FnMut() -> u64,
    ) -> Result<Self, Refusal> {
        let refuse = |error, correlation| Box::new((error, correlation));
        let (envelope, mut mistakes) = match Envelope::read(body, headers) {
            Ok(read) => read,
            Err(error) => return Err(refuse(error, headers.correlation(entropy))),
        };
        let mut trace = TraceContext::resume(
            headers.traceparent.as_deref(),
            envelope.trace_id.as_deref(),
            entropy,
        );
        trace.carried = headers.carried();
        let correlation = Correlation {
            request_id: envelope.request_id.clone(),
            trace_id: trace.trace_id.to_string(),
            tenant_id: envelope.tenant_id.clone(),
            policy_id: envelope.policy_id.clone(),
        };
        let timeout = header_timeout(headers, &mut mistakes);
        if let Some(error) = first_error(mistakes) {
            return Err(refuse(error, correlation));
        }
        match envelope.into_request(trace, timeout, limits) {
            Ok(request) => Ok(request),
            Err(error) => Err(refuse(error, correlation)),
        }
    }

    pub fn correlation(&self) -> Correlation {
        Correlation {
            request_id: Some(self.request_id.to_string()),
            trace_id: self.trace.trace_id.to_string(),
            tenant_id: Some(self.tenant_id.to_string()),
            policy_id: Some(self.policy_id.clone()),
        }
    }
}

/// The fields of a request as far as they could be read.
struct Envelope {
    tenant_id: Option<String>,
    request_id: Option<String>,
    trace_id: Option<String>,
    policy_id: Option<String>,
    message: Option<RawMessage>,
    context: Fields,
    timeout_ms: Option<u64>,
}

struct RawMessage {
    message_id: Option<String>,
    message_type: Option<String>,
    payload: Box<RawValue>,
    metadata: Fields,
}

impl Envelope {
    fn read(body: &[u8], headers: &RequestHeaders) -> Result<(Self, Mistakes), RequestError> {
        let refuse = |message: String| {
            RequestError::invalid(IntakeCode::SchemaValidationFailed, "", message)
        };
        let json = std::str::from_utf8(body).map_err(|error| {
            refuse(format!(
                "The request is not valid UTF-8 from byte {} on.",
                error.valid_up_to()
            ))
        })?;
        check_depth(body).map_err(|problem| refuse(format!("The request {problem}.")))?;
        let raw = serde_json::from_str::<&RawValue>(json)
            .map_err(|error| refuse(format!("The request is not valid JSON: {error}.")))?;
        let mut mistakes = Mistakes::default();
        let Some(mut object) = Object::read(raw, String::new(), &mut mistakes) else {
            return Err(first_error(mistakes).unwrap_or_else(RequestError::internal));
        };
        check_version(&mut object, &mut mistakes);
        let tenant_id = match &headers.tenant_id {
            Some(tenant) => {
                if headers.tenant_is_bound {
                    check_bound(&mut object, tenant)?;
                }
                Some(tenant.clone())
            }
            None => object.required_text("tenant_id", &mut mistakes),
        };
        let request_id = object.required_text("request_id", &mut mistakes);
        let trace_in_body = object.text("trace_id", &mut mistakes);
        let trace_id = headers.trace_id.clone().or(trace_in_body);
        for (pointer, id) in [
            ("/tenant_id", &tenant_id),
            ("/request_id", &request_id),
            ("/trace_id", &trace_id),
        ] {
            check_id(pointer, id.as_deref(), &mut mistakes);
        }
        let policy_id = object.text("policy_id", &mut mistakes);
        let message = read_message(&mut object, &mut mistakes);
        let context = object.fields("context", &mut mistakes);
        let timeout_ms = object.whole("timeout_ms", REQUEST_TIMEOUT_MS, &mut mistakes);
        Ok((
            Self {
                tenant_id,
                request_id,
                trace_id,
                policy_id,
                message,
                context,
                timeout_ms,
            },
            mistakes,
        ))
    }

    fn into_request(
        self,
        trace: TraceContext,
        header_timeout: Option<u64>,
        limits: &RequestLimits,
    ) -> Result<Request, RequestError> {
        let (Some(tenant_id), Some(request_id), Some(message)) =
            (self.tenant_id, self.request_id, self.message)
        else {
            return Err(RequestError::internal());
        };
        limits.check_tenant(&tenant_id)?;
        let wanted = self
            .timeout_ms
            .into_iter()
            .chain(header_timeout)
            .min()
            .map(Duration::from_millis);
        let message_id = message
            .message_id
            .as_deref()
            .map_or_else(|| request_id.as_str().into(), Arc::from);
        Ok(Request {
            message: Message {
                message_id,
                message_type: message
                    .message_type
                    .as_deref()
                    .unwrap_or(DEFAULT_MESSAGE_TYPE)
                    .into(),
                payload: message.payload.into(),
                metadata: Arc::new(message.metadata),
            },
            tenant_id: tenant_id.into(),
            request_id: request_id.into(),
            trace,
            policy_id: self.policy_id.unwrap_or_else(|| DEFAULT_POLICY.to_owned()),
            context: self.context,
            timeout: wanted
                .unwrap_or(limits.default_timeout)
                .min(limits.max_timeout),
            clamped: wanted.is_some_and(|wanted| wanted > limits.max_timeout),
        })
    }
}

/// What the body says of the tenant, where the subject named it.
fn check_bound(object: &mut Object<'_>, tenant: &str) -> Result<(), RequestError> {
    let is_same = |raw: &RawValue| {
        let named = serde_json::from_str::<Option<String>>(raw.get());
        named.is_ok_and(|named| named.is_none_or(|named| named == tenant))
    };
    if object.take("tenant_id").is_none_or(is_same) {
        return Ok(());
    }
    Err(RequestError::tenant_forbidden(format!(
        "The subject names the tenant {}, and tenant_id in the body another.",
        shorten(tenant)
    )))
}

fn check_version(object: &mut Object<'_>, mistakes: &mut Mistakes) {
    match object.take("version") {
        Some(raw) if raw.get() == "\"1\"" => {}
        Some(raw) => mistakes.add(
            "/version",
            format!("must be \"1\", is {}", shorten(raw.get())),
        ),
        None => mistakes.add("/version", "is required and must be \"1\""),
    }
}

/// The message, or the older `task` form of it. An empty `message` beside a `task` is none.
fn read_message(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Option<RawMessage> {
    let has_message = object.has("message") && !object.peek("message").is_some_and(is_empty);
    let (key, type_key) = if has_message || !object.has("task") {
        ("message", "message_type")
    } else {
        ("task", "type")
    };
    let Some(raw) = object.take(key) else {
        mistakes.add("/message", "is required: an object with the payload");
        return None;
    };
    let mut item = Object::read(raw, format!("/{key}"), mistakes)?;
    let payload = item.take_any("payload").unwrap_or(RawValue::NULL);
    let message_id = item.text("message_id", mistakes);
    check_id("/message/message_id", message_id.as_deref(), mistakes);
    let message_type = item.text(type_key, mistakes);
    let metadata = item.fields("metadata", mistakes);
    Some(RawMessage {
        message_id,
        message_type,
        payload: payload.to_owned(),
        metadata,
    })
}

fn is_empty(raw: &RawValue) -> bool {
    Fields::parse(raw.get()).is_ok_and(|fields| fields.is_empty())
}

/// Ids end up in headers and logs, so they are short and without control characters.
fn check_id(pointer: &str, id: Option<&str>, mistakes: &mut Mistakes) {
    let Some(id) = id else { return };
    if id.is_empty() || id.len() > MAX_REQUEST_ID || id.chars().any(char::is_control) {
        let message = format!(
            "must be 1 to {MAX_REQUEST_ID} bytes without control characters, is \"{}\"",
            shorten(id)
        );
        mistakes.add(pointer, message);
    }
}

fn header_timeout(headers: &RequestHeaders, mistakes: &mut Mistakes) -> Option<u64> {
    let text = headers.timeout_ms.as_deref()?;
    // Ten digits at most, and no sign.
    let plain = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = text
        .parse::<u64>()
        .ok()
        .filter(|ms| plain && REQUEST_TIMEOUT_MS.contains(ms));
    if parsed.is_none() {
        let message = format!(
            "must be a whole number of milliseconds from 1 on, is {} (in the header Router-Timeout-Ms)",
            shorten(text)
        );
        mistakes.add("/timeout_ms", message);
    }
    parsed
}

/// The first mistake as an error; all of them in `details.mistakes`.
fn first_error(mistakes: Mistakes) -> Option<RequestError> {
    let all = mistakes.into_result(Some(())).err()?;
    let Mistake { pointer, message } = all.first()?;
    let code = match pointer.as_str() {
        "/version" => IntakeCode::VersionUnsupported,
        "/tenant_id" | "/request_id" | "/trace_id" | "/message/message_id" => {
            IntakeCode::CorrelationFieldsInvalid
        }
        _ => IntakeCode::SchemaValidationFailed,
    };
    let place = if pointer.is_empty() {
        "The request"
    } else {
        pointer
    };
    let error = RequestError::invalid(code, pointer, format!("{place} {message}."));
    Some(if all.len() > 1 {
        error.with(MISTAKES, serde_json::to_value(&all).unwrap_or_default())
    } else {
        error
    })
}

#[cfg(test)]
mod tests;
