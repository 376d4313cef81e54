//! One call from the request's bytes to the answer's: decode, deadline, handler, answer, log. A
//! call is answered at most once, and not at all only when nobody can be waiting any more.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subject};
use beamline_bus::{WallClock, headers};
use beamline_contract::call::CallBody;
use beamline_contract::header;
use beamline_contract::notes::Notes;
use beamline_contract::trace::TraceParent;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::timeout_at;
use tracing::{Instrument, debug, info_span, warn};

use crate::context::CallContext;
use crate::failure::{Failure, describe};
use crate::fields::Fields;
use crate::handler::Handler;
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
    let mut labels = Labels::from_headers(&headers);
    let outcome = match &server.handler {
        Handler::Raw(handler) => {
            let answer = handler(RawRequest {
                subject: subject.into_string(),
                headers,
                payload,
            });
            guard(server, async {
                answer.await.map_or(Outcome::Silent, Outcome::Answer)
            })
            .await
        }
        Handler::Contract(handler) => match decode(server, &headers, &payload, received) {
            Ok((body, call)) => {
                labels = Labels::from_call(&call);
                let span = span_of(&call);
                let deadline = call.deadline;
                let answer = handler(body, call);
                guard(server, within(deadline, answer).instrument(span)).await
            }
            Err(outcome) => outcome,
        },
    };
    finish(server, reply, outcome, &labels, received).await;
}

async fn within(
    deadline: Instant,
    answer: impl Future<Output = Result<Bytes, Failure>>,
) -> Outcome {
    match timeout_at(deadline.into(), answer).await {
        Ok(Ok(payload)) => Outcome::Answer(payload.into()),
        Ok(Err(failure)) => Outcome::Failed(failure),
        Err(_) => Outcome::Failed(Failure::deadline_exceeded()),
    }
}

/// Runs the handler so that neither a panic nor a process that must stop leaves the caller without
/// an answer.
async fn guard(server: &Server, work: impl Future<Output = Outcome>) -> Outcome {
    tokio::select! {
        result = AssertUnwindSafe(work).catch_unwind() => {
            result.unwrap_or_else(|_| Outcome::Failed(Failure::internal("the handler panicked")))
        }
        () = server.abort.cancelled() => Outcome::Failed(Failure::shutting_down()),
    }
}

fn decode<'a>(
    server: &Server,
    headers: &HeaderMap,
    payload: &'a [u8],
    received: Instant,
) -> Result<(CallBody<'a>, CallContext), Outcome> {
    let deadline = deadline_of(headers, received)?;
    let mut body: CallBody<'_> = serde_json::from_slice(payload)
        .map_err(|error| Outcome::Failed(Failure::invalid_request(describe(&error))))?;
    let traceparent = headers::text(headers, header::TRACEPARENT).and_then(TraceParent::parse);
    let trace_id = nonempty(headers, header::TRACE_ID)
        .or_else(|| body.trace_id.take().map(Cow::into_owned))
        .or_else(|| traceparent.as_ref().map(|parent| parent.trace_id.clone()));
    let tenant_id =
        nonempty(headers, header::TENANT_ID).or_else(|| body.tenant_id.take().map(Cow::into_owned));
    let request_id = body.request_id.take().map(Cow::into_owned);
    let attempt = headers::number(headers, header::ATTEMPT).flatten();
    let call = CallContext {
        extension_id: server.id.clone(),
        tenant_id: tenant_id.unwrap_or_default(),
        request_id: request_id.unwrap_or_default(),
        trace_id: trace_id.unwrap_or_default(),
        traceparent,
        tracestate: nonempty(headers, header::TRACESTATE),
        baggage: nonempty(headers, header::BAGGAGE),
        attempt: attempt.unwrap_or(1),
        deadline,
        metadata: Fields::from_contract(body.metadata.take()),
        notes: body.notes.take().map(Notes::new),
        config: body.config.take(),
    };
    Ok((body, call))
}

fn nonempty(headers: &HeaderMap, name: &str) -> Option<String> {
    headers::text(headers, name)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
}

/// The clock of this process may leap as well.
static CLOCK: LazyLock<WallClock> = LazyLock::new(WallClock::start);

fn deadline_of(headers: &HeaderMap, received: Instant) -> Result<Instant, Outcome> {
    let past = headers::text(headers, header::DEADLINE).is_some_and(|text| CLOCK.is_past(text));
    if past {
        return Err(Outcome::Expired);
    }
    let deadline = received + timeout_of(headers)?;
    if deadline <= Instant::now() {
        return Err(Outcome::Expired);
    }
    Ok(deadline)
}

fn timeout_of(headers: &HeaderMap) -> Result<Duration, Outcome> {
    match headers::number(headers, header::TIMEOUT_MS) {
        None => Ok(DEFAULT_TIMEOUT),
        Some(Some(millis)) => Ok(Duration::from_millis(millis).min(MAX_TIMEOUT)),
        Some(None) => Err(Outcome::Failed(Failure::invalid_request(format!(
            "header {}: expected whole milliseconds of at most ten digits",
            header::TIMEOUT_MS
        )))),
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
        Self {
            trace_id: nonempty(headers, header::TRACE_ID).unwrap_or_default(),
            tenant_id: nonempty(headers, header::TENANT_ID).unwrap_or_default(),
        }
    }

    fn from_call(call: &CallContext) -> Self {
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
        // Most likely it was larger than the server allows; the short error form tells the caller
        // at once.
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
