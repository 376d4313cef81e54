//! One call from the request's bytes to the answer's: decode, deadline, handler, answer, log. A call is answered at most
//! once, and not at all only when nobody can be waiting any more.

use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subject};
use beamline_bus::{WallClock, headers};
use futures_util::FutureExt;
use tracing::{Instrument, debug, info_span, warn};

use crate::context::{CallContext, TraceParent};
use crate::failure::{Failure, describe};
use crate::handler::{Body, Handler};
use crate::raw::{RawAnswer, RawRequest};
use crate::server::Server;

/// A call whose caller names no deadline must not hold its place for ever.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// Providers may be given up to ten minutes.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

enum Outcome {
    Answer(RawAnswer),
    Failed(Failure),
    Silent,
    /// The caller gave up before the call began.
    Expired,
}

pub(crate) async fn serve(server: &Server, message: Message, received: Instant) {
    let Message {
        subject,
        reply,
        payload,
        headers,
        ..
    } = message;
    let Some(reply) = reply else {
        debug!(
            extension_id = server.id,
            "a message without reply subject was dropped"
        );
        return;
    };
    let headers = headers.unwrap_or_default();
    let labels = Labels::from_headers(&headers);
    match &server.handler {
        Handler::Raw(handler) => {
            let request = RawRequest {
                subject: subject.into_string(),
                headers,
                payload,
            };
            let work = async {
                handler(request)
                    .await
                    .map_or(Outcome::Silent, Outcome::Answer)
            };
            let outcome = guard(server, work).await;
            finish(server, reply, outcome, &labels, received).await;
        }
        Handler::Contract(handler) => {
            let (labels, call) = match decode(server, &headers, &payload, received) {
                Ok((body, call)) => (Labels::of(&call), Ok((body, call))),
                Err(outcome) => (labels, Err(outcome)),
            };
            let outcome = match call {
                Err(outcome) => outcome,
                Ok((body, call)) => {
                    let deadline = call.deadline;
                    let span = span_of(&call);
                    let work = async {
                        match tokio::time::timeout_at(deadline.into(), handler(body, call)).await {
                            Ok(Ok(payload)) => Outcome::Answer(payload.into()),
                            Ok(Err(failure)) => Outcome::Failed(failure),
                            Err(_) => Outcome::Failed(Failure::deadline_exceeded()),
                        }
                    };
                    guard(server, work.instrument(span)).await
                }
            };
            finish(server, reply, outcome, &labels, received).await;
        }
    }
}

/// Runs the handler so that neither a panic nor a process that must stop leaves the caller without an answer.
async fn guard(server: &Server, work: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        result = AssertUnwindSafe(work).catch_unwind() => {
            result.unwrap_or_else(|_| Outcome::Failed(Failure::internal("the handler panicked")))
        }
        () = server.cut.cancelled() => Outcome::Failed(Failure::shutting_down()),
    }
}

fn decode(
    server: &Server,
    headers: &HeaderMap,
    payload: &[u8],
    received: Instant,
) -> Result<(Body, CallContext), Outcome> {
    let deadline = deadline_of(headers, received)?;
    let mut body: Body = serde_json::from_slice(payload)
        .map_err(|error| Outcome::Failed(Failure::invalid_request(describe(&error))))?;
    let traceparent = headers::text(headers, "traceparent").and_then(TraceParent::parse);
    let from_header = |name| {
        headers::text(headers, name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let trace_id = from_header("trace_id")
        .or(body.trace_id.take())
        .or_else(|| traceparent.as_ref().map(|parent| parent.trace_id.clone()));
    let call = CallContext {
        extension_id: server.id.clone(),
        tenant_id: from_header("tenant_id")
            .or(body.tenant_id.take())
            .unwrap_or_default(),
        request_id: body.request_id.take().unwrap_or_default(),
        trace_id: trace_id.unwrap_or_default(),
        traceparent,
        attempt: headers::number(headers, "Router-Attempt")
            .flatten()
            .unwrap_or(1),
        deadline,
        metadata: std::mem::take(&mut body.metadata),
        config: body.config.take(),
    };
    Ok((body, call))
}

/// The clock of this process may leap as well.
static CLOCK: LazyLock<WallClock> = LazyLock::new(WallClock::start);

fn deadline_of(headers: &HeaderMap, received: Instant) -> Result<Instant, Outcome> {
    if headers::text(headers, "Router-Deadline").is_some_and(|deadline| CLOCK.is_past(deadline)) {
        return Err(Outcome::Expired);
    }
    let timeout = match headers::number(headers, "Router-Timeout-Ms") {
        None => DEFAULT_TIMEOUT,
        Some(Some(millis)) => Duration::from_millis(millis).min(MAX_TIMEOUT),
        Some(None) => {
            let text =
                "header Router-Timeout-Ms: expected whole milliseconds of at most ten digits";
            return Err(Outcome::Failed(Failure::invalid_request(text)));
        }
    };
    let deadline = received + timeout;
    if deadline <= Instant::now() {
        Err(Outcome::Expired)
    } else {
        Ok(deadline)
    }
}

fn span_of(call: &CallContext) -> tracing::Span {
    info_span!(
        "extension.call",
        extension_id = call.extension_id,
        trace_id = call.trace_id,
        parent_id = call
            .traceparent
            .as_ref()
            .map(|parent| parent.parent_id.as_str()),
        tenant_id = call.tenant_id,
        request_id = call.request_id,
        attempt = call.attempt,
    )
}

/// What a log line says about a call; known from the headers even when the body cannot be read.
struct Labels {
    trace_id: String,
    tenant_id: String,
}

impl Labels {
    fn from_headers(headers: &HeaderMap) -> Self {
        let text = |name| headers::text(headers, name).unwrap_or_default().to_owned();
        Self {
            trace_id: text("trace_id"),
            tenant_id: text("tenant_id"),
        }
    }

    fn of(call: &CallContext) -> Self {
        Self {
            trace_id: call.trace_id.clone(),
            tenant_id: call.tenant_id.clone(),
        }
    }
}

async fn finish(
    server: &Server,
    reply: Subject,
    outcome: Outcome,
    labels: &Labels,
    received: Instant,
) {
    let answer = match outcome {
        Outcome::Expired => {
            server.stats.expired();
            debug!(
                extension_id = server.id,
                trace_id = labels.trace_id,
                "expired work was dropped"
            );
            return;
        }
        Outcome::Silent => None,
        Outcome::Answer(answer) => Some(answer),
        Outcome::Failed(failure) => {
            report(server, &failure, labels, received);
            (!failure.unanswered).then(|| failure.to_payload().into())
        }
    };
    server.stats.executed(received.elapsed());
    let Some(answer) = answer else { return };
    let length = answer.payload.len();
    if let Err(error) = publish(server, reply.clone(), answer).await {
        let failure = Failure::internal(format!(
            "the answer of {length} bytes was not sent: {error}"
        ));
        report(server, &failure, labels, received);
        // Most likely it was larger than the server allows; the short error form tells the caller at once.
        let _ = publish(server, reply, failure.to_payload().into()).await;
    }
}

fn report(server: &Server, failure: &Failure, labels: &Labels, received: Instant) {
    server.stats.failed(failure.to_string());
    warn!(
        extension_id = server.id,
        trace_id = labels.trace_id,
        tenant_id = labels.tenant_id,
        latency_ms = received.elapsed().as_secs_f64() * 1000.0,
        status = failure.code,
        error = failure.message,
        "call failed"
    );
}

async fn publish(
    server: &Server,
    reply: Subject,
    answer: RawAnswer,
) -> Result<(), async_nats::PublishError> {
    if answer.headers.is_empty() {
        server.client.publish(reply, answer.payload).await
    } else {
        server
            .client
            .publish_with_headers(reply, answer.headers, answer.payload)
            .await
    }
}
