//! The bodies of calls to extensions and of their answers (contract section 2).

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::request::endpoint::{Answer, TransportError};
use crate::request::plan::PlannedCall;
use crate::request::{Message, Request};
use crate::target::breaker::Outcome;
use beamline_contract::fields::Fields;
use beamline_contract::record::Kind;

/// The body of a call; `message` and `context` are as the stages before left them.
pub fn body(call: &PlannedCall, request: &Request, message: &Message, context: &Fields) -> Bytes {
    let bytes = match call.extension.kind {
        Kind::Pre | Kind::Validator | Kind::Post => serde_json::to_vec(&ExtensionRequest {
            trace_id: &request.trace.trace_id,
            tenant_id: &request.tenant_id,
            request_id: &request.request_id,
            extension_id: &call.extension.id,
            payload: WireMessage::from(message),
            metadata: context,
            config: &call.config,
        }),
        Kind::Provider => provider_body(call, request, message, context),
    };
    // Strings and raw JSON always serialise; an empty body would be refused by any extension.
    bytes.map(Bytes::from).unwrap_or_default()
}

/// A message as it crosses the wire.
#[derive(Debug, Serialize)]
pub struct WireMessage<'a> {
    message_id: &'a str,
    message_type: &'a str,
    payload: &'a RawValue,
    metadata: &'a Fields,
}

impl<'a> From<&'a Message> for WireMessage<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            message_id: &message.message_id,
            message_type: &message.message_type,
            payload: &message.payload,
            metadata: &message.metadata,
        }
    }
}

#[derive(Serialize)]
struct ExtensionRequest<'a> {
    trace_id: &'a str,
    tenant_id: &'a str,
    request_id: &'a str,
    extension_id: &'a str,
    payload: WireMessage<'a>,
    metadata: &'a Fields,
    config: &'a Fields,
}

#[derive(Serialize)]
struct ProviderRequest<'a> {
    trace_id: &'a str,
    tenant_id: &'a str,
    request_id: &'a str,
    provider_id: &'a str,
    prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<&'a RawValue>,
    parameters: Fields,
    context: &'a Fields,
}

fn provider_body(
    call: &PlannedCall,
    request: &Request,
    message: &Message,
    context: &Fields,
) -> serde_json::Result<Vec<u8>> {
    let payload = Fields::parse(message.payload.get()).unwrap_or_default();
    // The caller may ask for parameters; what the registry or the policy sets is not the caller's to change.
    let wished = payload
        .get("parameters")
        .and_then(|raw| Fields::parse(raw.get()).ok());
    let mut parameters = wished.unwrap_or_default();
    parameters.overlay(&call.config);
    serde_json::to_vec(&ProviderRequest {
        trace_id: &request.trace.trace_id,
        tenant_id: &request.tenant_id,
        request_id: &request.request_id,
        provider_id: &call.extension.id,
        prompt: prompt(&message.payload, &payload),
        messages: payload.get("messages"),
        parameters,
        context,
    })
}

/// The payload when it is a string, else its `text`, `prompt` or `content`; empty when there is none of them.
fn prompt(payload: &RawValue, fields: &Fields) -> String {
    if let Ok(text) = serde_json::from_str(payload.get()) {
        return text;
    }
    ["text", "prompt", "content"]
        .into_iter()
        .find_map(|key| fields.text(key))
        .unwrap_or_default()
}

/// What an extension answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Pre and post: what they change.
    Edit {
        payload: Option<Edit>,
        metadata: Fields,
    },
    Accept,
    Reject {
        reason: String,
        details: Option<Box<RawValue>>,
    },
    Completion {
        output: Box<RawValue>,
        usage: Option<Box<RawValue>>,
        metadata: Fields,
    },
}

/// A changed message. Its id cannot be changed: it belongs to the request.
#[derive(Debug, Clone)]
pub struct Edit {
    pub payload: Option<Box<RawValue>>,
    pub message_type: Option<String>,
    pub metadata: Option<Fields>,
}

/// Why a call brought no usable answer.
#[derive(Debug, Clone, PartialEq)]
pub enum CallFailure {
    /// The extension's own time ran out.
    Timeout,
    /// The request's time ran out first.
    Deadline,
    /// Less of the request's time is left than its answers usually take, so it was not called.
    TooLittleTime,
    NoResponders,
    CircuitOpen {
        retry_after: Duration,
    },
    BusUnavailable,
    /// As many calls of it run as may.
    Overloaded {
        retry_after: Duration,
    },
    /// The extension answered an error.
    Answered {
        code: String,
        message: String,
        retryable: Option<bool>,
        retry_after: Option<Duration>,
    },
    /// The extension answered something that the contract does not know.
    Malformed(String),
    /// Too large for the bus.
    TooLarge {
        size: usize,
        limit: usize,
    },
    /// The router could not make the call.
    Refused(String),
    /// It was cut off: another call of the same step decided about the request.
    Cancelled,
}

impl CallFailure {
    /// `error_type` in an answer, and `reason` in its `degraded` list and in metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Timeout => "extension_timeout",
            Self::Deadline => "deadline_exceeded",
            Self::TooLittleTime => "too_little_time",
            Self::NoResponders => "no_responders",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::BusUnavailable => "bus_unavailable",
            Self::Overloaded { .. } => "overloaded",
            Self::Answered { .. } => "extension_error",
            Self::Malformed(_) => "malformed_answer",
            Self::TooLarge { .. } => "too_large",
            Self::Refused(_) => "refused",
            Self::Cancelled => "cancelled",
        }
    }

    /// `status` in the `extensions` list of an answer.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Timeout | Self::Deadline => "timeout",
            Self::CircuitOpen { .. } => "circuit_open",
            Self::NoResponders
            | Self::BusUnavailable
            | Self::Answered { .. }
            | Self::Malformed(_) => "error",
            Self::TooLarge { .. } | Self::Refused(_) | Self::Overloaded { .. } => "error",
            Self::TooLittleTime | Self::Cancelled => "skipped",
        }
    }

    /// A sentence about the extension `id`.
    pub fn sentence(&self, id: &str) -> String {
        match self {
            Self::Timeout => format!("{id} did not answer within its time."),
            Self::Deadline | Self::TooLittleTime => {
                format!(
                    "The request's time does not suffice for {id}; send it with a longer timeout_ms."
                )
            }
            Self::NoResponders => {
                format!("No instance of {id} is running: nobody listens on its subject.")
            }
            Self::CircuitOpen { .. } => {
                format!("The circuit breaker of {id} is open, so it is not called for now.")
            }
            Self::Overloaded { .. } => {
                format!("As many calls of {id} run as may; send the request again a little later.")
            }
            Self::BusUnavailable => format!("NATS is not connected, so {id} could not be called."),
            Self::Answered { code, message, .. } => {
                format!("{id} answered the error {code}: {message}")
            }
            Self::Malformed(problem) => format!("{id} answered something unreadable: {problem}."),
            Self::TooLarge { size, limit } => {
                format!("The message for {id} has {size} bytes; NATS carries at most {limit} here.")
            }
            Self::Refused(problem) => format!("{id} could not be called: {problem}."),
            Self::Cancelled => {
                format!("The call of {id} was cut off: the request was decided without it.")
            }
        }
    }

    /// When a new try makes sense, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CircuitOpen { retry_after } | Self::Overloaded { retry_after } => {
                Some(*retry_after)
            }
            Self::Answered { retry_after, .. } => *retry_after,
            Self::NoResponders => Some(Duration::from_secs(1)),
            Self::Timeout | Self::Deadline | Self::BusUnavailable | Self::Malformed(_) => None,
            Self::TooLittleTime | Self::TooLarge { .. } | Self::Refused(_) | Self::Cancelled => {
                None
            }
        }
    }

    /// Whether the extension itself says that the time it was given is over.
    pub fn is_out_of_time(&self) -> bool {
        matches!(self, Self::Answered { code, .. } if code == "deadline_exceeded")
    }

    /// How long the extension wants to be left alone by everybody: it has too much to do, which is no failure.
    pub fn wants_patience(&self) -> Option<Duration> {
        self.asked_to_wait().filter(|_| self.is_overload())
    }

    /// Whether the extension itself says that it has too much to do.
    pub fn is_overload(&self) -> bool {
        self.is_rate_limit() || matches!(self, Self::Answered { code, .. } if code == "overloaded")
    }

    /// Whether somebody sent more than the extension grants: some of them, or the one who sent this.
    pub fn is_rate_limit(&self) -> bool {
        matches!(self, Self::Answered { code, .. } if matches!(code.as_str(), "429" | "rate_limited"))
    }

    /// The wait that the extension itself asked for before another attempt.
    pub fn asked_to_wait(&self) -> Option<Duration> {
        if let Self::Answered { retry_after, .. } = self {
            *retry_after
        } else {
            None
        }
    }

    /// What the breaker makes of it: only what the extension itself did wrong counts.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout => Outcome::Timeout,
            Self::NoResponders | Self::Malformed(_) => Outcome::Failure,
            Self::Answered {
                code, retry_after, ..
            } => match (code.as_str(), *retry_after) {
                _ if self.is_overload() => Outcome::Ignored,
                // The caller's fault (4xx but 408): the extension did its work.
                ("invalid_request" | "invalid_config", _) => Outcome::Success,
                (code, _) if code.len() == 3 && code.starts_with('4') && code != "408" => {
                    Outcome::Success
                }
                ("503" | "529", Some(wait)) if !wait.is_zero() => Outcome::AskedToWait(wait),
                _ => Outcome::Failure,
            },
            Self::Deadline | Self::CircuitOpen { .. } | Self::BusUnavailable => Outcome::Ignored,
            Self::TooLarge { .. }
            | Self::Refused(_)
            | Self::Cancelled
            | Self::Overloaded { .. } => Outcome::Ignored,
            Self::TooLittleTime => Outcome::Ignored,
        }
    }

    /// The retries that this failure is worth where a record grants so many.
    pub fn retries(&self, kind: Kind, granted: u32) -> u32 {
        match self.retryable(kind) {
            true if is_nobodys_fault(self) => granted.max(1),
            true => granted,
            false => 0,
        }
    }

    /// Whether another attempt may help. A provider may have done the work although no answer came, and somebody pays
    /// for it twice: it is only called again when nobody got the call, when it says so itself, or when it had too much to
    /// do and says for how long.
    pub fn retryable(&self, kind: Kind) -> bool {
        match self {
            Self::NoResponders => true,
            // It may have got the call, and lost its way back.
            Self::Timeout | Self::BusUnavailable => kind != Kind::Provider,
            Self::Answered { retryable, .. } => {
                retryable.unwrap_or(self.wants_patience().is_some())
            }
            Self::Deadline
            | Self::CircuitOpen { .. }
            | Self::Malformed(_)
            | Self::TooLittleTime => false,
            Self::TooLarge { .. }
            | Self::Refused(_)
            | Self::Cancelled
            | Self::Overloaded { .. } => false,
        }
    }
}

/// What the fault of an extension does not explain is tried once more, whatever its record grants: nobody got the call, or
/// the bus went away with it.
fn is_nobodys_fault(failure: &CallFailure) -> bool {
    matches!(
        failure,
        CallFailure::NoResponders | CallFailure::BusUnavailable
    )
}

impl From<TransportError> for CallFailure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Timeout | TransportError::BusLate => Self::Timeout,
            TransportError::NoResponders => Self::NoResponders,
            TransportError::NotConnected => Self::BusUnavailable,
            TransportError::TooLarge { size, limit } => Self::TooLarge { size, limit },
            TransportError::Refused(problem) => Self::Refused(problem),
        }
    }
}

/// The metadata that one answer may add to the context, in bytes.
const MAX_METADATA: usize = 64 * 1024;

/// Longer waits than this that an extension asks for are not taken over.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(10);

/// Reads an answer. All forms of failure that the contract lists are understood.
pub fn read(kind: Kind, answer: &Answer) -> Result<Reply, CallFailure> {
    let asked_by_header = answer.retry_after.filter(|wait| *wait <= MAX_RETRY_AFTER);
    let by_header = (answer.retryable, asked_by_header);
    if let Some((code, message)) = &answer.service_error {
        // What is in the body besides goes before the headers; it may be anything.
        let said = parse(&answer.body)
            .ok()
            .and_then(|fields| fields.failure(by_header).err());
        let (retryable, retry_after) = match said {
            Some(CallFailure::Answered {
                retryable,
                retry_after,
                ..
            }) => (retryable, retry_after),
            _ => by_header,
        };
        let code = code.map_or_else(|| "service_error".to_owned(), |code| code.to_string());
        return Err(CallFailure::Answered {
            code,
            message: message.clone(),
            retryable,
            retry_after,
        });
    }
    let fields = parse(&answer.body)?;
    fields.failure(by_header)?;
    match kind {
        Kind::Pre | Kind::Post => fields.edit(),
        Kind::Validator => fields.verdict(),
        Kind::Provider => fields.completion(),
    }
}

fn parse(body: &[u8]) -> Result<WireAnswer<'_>, CallFailure> {
    let malformed = |problem: &str| CallFailure::Malformed(problem.to_owned());
    if body.is_empty() || crate::document::check_depth(body).is_err() {
        return Err(malformed("it is empty or nested too deeply"));
    }
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(malformed("it is not a JSON object"));
    }
    let json = std::str::from_utf8(body).map_err(|_| malformed("it is not UTF-8"))?;
    serde_json::from_str(json).map_err(|error| CallFailure::Malformed(error.to_string()))
}

/// Every field that an answer may have; which ones matter depends on who answers.
#[derive(Deserialize)]
struct WireAnswer<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    reason: Option<&'a RawValue>,
    details: Option<&'a RawValue>,
    error: Option<&'a RawValue>,
    error_code: Option<&'a RawValue>,
    error_message: Option<&'a RawValue>,
    output: Option<&'a RawValue>,
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireEdit {
    payload: Option<Box<RawValue>>,
    message_type: Option<String>,
    metadata: Option<Fields>,
}

impl WireAnswer<'_> {
    /// `{"error": {..}}` and `{"status": "error", ..}`. What the body says of another attempt goes before the headers.
    fn failure(
        &self,
        (retryable, asked_by_header): (Option<bool>, Option<Duration>),
    ) -> Result<(), CallFailure> {
        if let Some(error) = self.error.filter(|raw| raw.get() != "null") {
            // Whatever else is odd about it, somebody says that it failed: keep what can be read.
            let fields = Fields::parse(error.get()).unwrap_or_default();
            let text = |key| plain(fields.get(key));
            let message = if fields.is_empty() {
                plain(Some(error))
            } else {
                text("message")
            };
            let wait = fields
                .number("retry_after_ms")
                .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok());
            return Err(CallFailure::Answered {
                code: text("code").unwrap_or_else(|| "error".to_owned()),
                message: message.unwrap_or_default(),
                retryable: text("retryable").map(|word| word == "true").or(retryable),
                retry_after: wait
                    .filter(|wait| *wait <= MAX_RETRY_AFTER)
                    .or(asked_by_header),
            });
        }
        if plain(self.status).as_deref() == Some("error") {
            return Err(CallFailure::Answered {
                code: plain(self.error_code).unwrap_or_else(|| "error".to_owned()),
                message: plain(self.error_message).unwrap_or_default(),
                retryable,
                retry_after: asked_by_header,
            });
        }
        Ok(())
    }

    fn edit(&self) -> Result<Reply, CallFailure> {
        let payload = self
            .payload
            .map(|raw| serde_json::from_str::<WireEdit>(raw.get()))
            .transpose();
        let payload = payload.map_err(|error| {
            CallFailure::Malformed(format!("its payload is no message: {error}"))
        })?;
        let edit = payload.map(|edit| Edit {
            payload: edit.payload,
            message_type: edit.message_type,
            metadata: edit.metadata,
        });
        Ok(Reply::Edit {
            payload: edit,
            metadata: self.metadata()?,
        })
    }

    fn verdict(&self) -> Result<Reply, CallFailure> {
        match plain(self.status).as_deref() {
            None | Some("ok") => Ok(Reply::Accept),
            Some("reject") => Ok(Reply::Reject {
                reason: plain(self.reason).unwrap_or_else(|| "rejected".to_owned()),
                details: self.details.map(RawValue::to_owned),
            }),
            Some(_) => Err(CallFailure::Malformed(
                "its status is neither ok nor reject".to_owned(),
            )),
        }
    }

    fn completion(&self) -> Result<Reply, CallFailure> {
        let output = self
            .output
            .ok_or_else(|| CallFailure::Malformed("it has no output".to_owned()))?;
        Ok(Reply::Completion {
            output: output.to_owned(),
            usage: self.usage.map(RawValue::to_owned),
            metadata: self.metadata()?,
        })
    }

    fn metadata(&self) -> Result<Fields, CallFailure> {
        let Some(raw) = self.metadata.filter(|raw| raw.get() != "null") else {
            return Ok(Fields::default());
        };
        if raw.get().len() > MAX_METADATA {
            return Err(CallFailure::Malformed(format!(
                "its metadata is longer than {MAX_METADATA} bytes"
            )));
        }
        Fields::parse(raw.get())
            .map_err(|_| CallFailure::Malformed("its metadata is not an object".to_owned()))
    }
}

/// A string as it is, anything else as it was written; `null` is nothing.
fn plain(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw.filter(|raw| raw.get() != "null")?;
    Some(serde_json::from_str(raw.get()).unwrap_or_else(|_| raw.get().to_owned()))
}

#[cfg(test)]
mod tests;
