//! The intake actor: takes requests from the queue group and hands them to the door.
//!
//! Its readers never wait for work: a request is in flight or refused before the next one is read,
//! because a full subscription loses messages without telling anybody.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, PublishErrorKind, Subject};
use beamline_actors::door::Door;
use beamline_actors::incoming::Incoming;
use beamline_actors::responder::{About, AnswerSink, Outgoing, PartSink, Responder, TooManyParts};
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_bus::{WallClock, at_once, headers};
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::{header, subject};
use beamline_domain::request::answer::with_older_code;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::{Correlation, RequestHeaders, RequestKind};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::Connection;
use super::queue::{Queue, Reader};

/// An answer that cannot even be queued by then is lost. Also how long one waits for the connection
/// whose caller's patience is not known.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// Kept free in every message for headers and for what a call adds to the request.
const BODY_ROOM: usize = 16 * 1024;
/// Parts of one answer that wait to be sent.
const MOST_PARTS: usize = 256;

/// The way to the intake; all clones share it.
#[derive(Debug, Clone)]
pub struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connection: Connection,
    door: Door,
    prefix: String,
    address: Address<IntakeMsg>,
    queue: Arc<Queue>,
    /// Answers on their way into the client.
    answers: TaskTracker,
    /// Requests without a reply subject, or with one that would make the router call itself or an
    /// extension.
    unanswerable: Counter,
    /// Answers that found no connection while anybody waited for them.
    unsent: Counter,
    /// Requests that were read when their callers had given up.
    expired: Counter,
    clock: WallClock,
    /// Gateways here know fewer codes.
    legacy_codes: bool,
}

impl Intake {
    /// `legacy_codes`: gateways here know fewer codes.
    pub fn new(connection: Connection, door: Door, prefix: &str, legacy_codes: bool) -> Self {
        let shared = Shared {
            queue: Queue::new(connection.clone()),
            connection,
            door,
            prefix: prefix.to_owned(),
            address: Address::new(Node::new("intake", NodeKind::Worker)),
            answers: TaskTracker::new(),
            unanswerable: Counter::default(),
            unsent: Counter::default(),
            expired: Counter::default(),
            clock: WallClock::start(),
            legacy_codes,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    pub fn unanswerable(&self) -> Counter {
        self.shared.unanswerable.clone()
    }

    pub fn unsent(&self) -> Counter {
        self.shared.unsent.clone()
    }

    pub fn expired(&self) -> Counter {
        self.shared.expired.clone()
    }

    /// Leaves the queue group without losing what is on its way here; false when that took longer
    /// than `limit`.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.shared.queue.leave(limit).await
    }

    /// Waits until every answer is handed to the client; false when that took longer than `limit`.
    pub async fn answers_sent(&self, limit: Duration) -> bool {
        self.shared.answers.close();
        timeout(limit, self.shared.answers.wait()).await.is_ok()
    }
}

#[derive(Debug)]
pub enum IntakeMsg {
    /// A reader ended that nobody stopped.
    ReaderEnded(&'static str),
}

/// The actor behind [`Intake`].
#[derive(Debug)]
pub struct IntakeActor;

#[derive(Debug)]
pub struct IntakeState {
    intake: Intake,
    _readers: Vec<OwnedTask>,
}

impl Actor for IntakeActor {
    type Msg = IntakeMsg;
    type State = IntakeState;
    type Arguments = Intake;

    async fn pre_start(
        &self,
        myself: ActorRef<IntakeMsg>,
        intake: Intake,
    ) -> Result<IntakeState, ActorProcessingErr> {
        let shared = &intake.shared;
        shared.address.filled_by(&myself);
        let mut readers = Vec::new();
        for (name, kind, subject) in [
            (
                "decide",
                RequestKind::Decide,
                subject::decide(&shared.prefix),
            ),
            ("route", RequestKind::Route, subject::route(&shared.prefix)),
        ] {
            let reader = shared.queue.subscribe(subject).await?;
            let for_lost = myself.clone();
            let lost = OnDrop::new(move || {
                let _ = for_lost.send_message(IntakeMsg::ReaderEnded(name));
            });
            let shared = Arc::clone(shared);
            readers.push(OwnedTask::spawn(async move {
                read(shared, reader, kind).await;
                lost.disarm();
            }));
        }
        Ok(IntakeState {
            intake,
            _readers: readers,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<IntakeMsg>,
        message: IntakeMsg,
        state: &mut IntakeState,
    ) -> Result<(), ActorProcessingErr> {
        state.intake.shared.address.node().handling();
        match message {
            IntakeMsg::ReaderEnded(name) => Err(format!("the reader of {name} ended").into()),
        }
    }
}

/// Reads one subject until the intake is drained.
async fn read(shared: Arc<Shared>, reader: Reader, kind: RequestKind) {
    reader
        .run(move |message| admit(&shared, message, kind))
        .await;
}

fn admit(shared: &Arc<Shared>, message: Message, kind: RequestKind) {
    shared.address.node().count_handled();
    let Some(to) = message.reply.filter(|to| is_answerable(to, &shared.prefix)) else {
        shared.unanswerable.inc();
        return;
    };
    let request_headers = message
        .headers
        .as_ref()
        .map(read_headers)
        .unwrap_or_default();
    let responder = Responder::new(Inbox {
        shared: Arc::clone(shared),
        to,
    });
    let deadline = message
        .headers
        .as_ref()
        .and_then(|given| headers::text(given, header::DEADLINE));
    let is_expired = deadline.is_some_and(|deadline| shared.clock.is_past(deadline));
    let headers = request_headers;
    let body = message.payload;
    let size = body.len();
    let limit = max_body(shared);
    let incoming = Incoming {
        kind,
        headers,
        body,
        received: Instant::now(),
        responder,
    };
    if size > limit {
        let sentence = format!("The request has {size} bytes; at most {limit} are taken.");
        let error = RequestError::invalid(IntakeCode::SchemaValidationFailed, "", sentence)
            .with("limit_bytes", limit);
        shared.door.refuse(incoming, &error);
    } else if is_expired {
        shared.expired.inc();
        let sentence = "The request's time was over when the router read it.";
        shared.door.refuse(
            incoming,
            &RequestError::new(ErrorCode::DeadlineExceeded, sentence),
        );
    } else {
        shared.door.admit(incoming);
    }
}

/// An answer goes to a caller's inbox, never to the router's own subjects or to an extension.
pub(crate) fn is_answerable(reply: &str, prefix: &str) -> bool {
    !subject::is_under(prefix, reply) && !reply.starts_with('$')
}

fn read_headers(from: &HeaderMap) -> RequestHeaders {
    let text = |name| headers::text(from, name).map(str::to_owned);
    RequestHeaders {
        tenant_id: text(header::TENANT_ID),
        trace_id: text(header::TRACE_ID),
        traceparent: text(header::TRACEPARENT),
        timeout_ms: text(header::TIMEOUT_MS),
        priority: text(header::PRIORITY),
    }
}

fn max_body(shared: &Shared) -> usize {
    shared
        .connection
        .client()
        .max_payload()
        .saturating_sub(BODY_ROOM)
}

/// Where a caller waits for its answer.
struct Inbox {
    shared: Arc<Shared>,
    to: Subject,
}

impl AnswerSink for Inbox {
    fn answer(self: Box<Self>, answer: Outgoing) {
        let mut sending = Box::pin(send(Arc::clone(&self.shared), self.to, answer));
        // There is room in the client, mostly; a task for every answer would cost more than the
        // answer of a refusal.
        if at_once(sending.as_mut()).is_none() {
            self.shared.answers.spawn(sending);
        }
    }

    fn begin(self: Box<Self>, head: Outgoing) -> Box<dyn PartSink> {
        let about = head.about.clone();
        let deadline = head.deadline;
        let (messages, mut waiting) = mpsc::channel(MOST_PARTS + 2);
        // There is room for the first.
        let _ = messages.try_send(head);
        let Self { shared, to } = *self;
        let sender = Arc::clone(&shared);
        // One after the other: the caller gets them in their order.
        shared.answers.spawn(async move {
            while let Some(message) = waiting.recv().await {
                send(Arc::clone(&sender), to.clone(), message).await;
            }
        });
        Box::new(InboxParts {
            messages,
            about,
            deadline,
        })
    }
}

/// The way to a caller whose answer has begun.
struct InboxParts {
    messages: mpsc::Sender<Outgoing>,
    about: About,
    deadline: Option<Instant>,
}

impl PartSink for InboxParts {
    fn part(&mut self, part: Bytes) -> Result<(), TooManyParts> {
        // One place is kept for the end.
        if self.messages.capacity() <= 1 {
            return Err(TooManyParts);
        }
        let message = Outgoing {
            body: part,
            outcome: "ok",
            about: self.about.clone(),
            deadline: self.deadline,
        };
        self.messages.try_send(message).map_err(|_| TooManyParts)
    }

    fn end(self: Box<Self>, end: Outgoing) {
        let _ = self.messages.try_send(end);
    }
}

/// While NATS is away an answer waits here and not in the client, which would send it however late
/// it is.
async fn send(shared: Arc<Shared>, to: Subject, mut outgoing: Outgoing) {
    if shared.legacy_codes {
        outgoing.body = with_older_code(outgoing.body, outgoing.outcome);
    }
    let connection = &shared.connection;
    let deadline = outgoing
        .deadline
        .unwrap_or_else(|| Instant::now() + SEND_LIMIT);
    if !connection.is_connected() && timeout_at(deadline, connection.back()).await.is_err() {
        shared.unsent.inc();
        tracing::warn!(
            trace_id = outgoing.trace_id(),
            "an answer was not sent: NATS was away until its deadline"
        );
        return;
    }
    let sending = async {
        let mut client = connection.client();
        while !publish(&client, &to, &outgoing).await {
            client = connection.client_after(&client).await;
        }
    };
    if timeout(SEND_LIMIT, sending).await.is_err() {
        shared.unsent.inc();
        tracing::warn!(
            trace_id = outgoing.trace_id(),
            "an answer could not be sent"
        );
    }
}

/// False when the client has ended, and the next one may do better.
async fn publish(client: &Client, to: &Subject, outgoing: &Outgoing) -> bool {
    let answer_headers = headers_of(outgoing);
    // More than a request may have: an answer repeats the message and says more.
    let largest = client
        .max_payload()
        .saturating_sub(headers::wire_size(&answer_headers));
    let body = if outgoing.body.len() > largest {
        too_large(outgoing, largest).body
    } else {
        outgoing.body.clone()
    };
    match client
        .publish_with_headers(to.clone(), answer_headers, body)
        .await
        .map_err(|error| error.kind())
    {
        Ok(()) => true,
        Err(PublishErrorKind::Send) => false,
        Err(kind @ (PublishErrorKind::MaxPayloadExceeded | PublishErrorKind::InvalidSubject)) => {
            tracing::warn!(trace_id = outgoing.trace_id(), error = %kind, "an answer could not be sent");
            true
        }
    }
}

fn headers_of(outgoing: &Outgoing) -> HeaderMap {
    let mut answer_headers = HeaderMap::new();
    let clamped = outgoing.clamped_timeout();
    let clamped = clamped.map(|given| given.as_millis().to_string());
    let known = [
        (
            header::TRACE_ID,
            Some(outgoing.trace_id()).filter(|id| !id.is_empty()),
        ),
        (header::TRACEPARENT, outgoing.traceparent()),
        (header::TENANT_ID, outgoing.tenant_id()),
        (header::TIMEOUT_CLAMPED, clamped.as_deref()),
    ];
    for (name, value) in known {
        if let Some(value) = value {
            // What cannot stand in a header stands in the body all the same.
            let _ = headers::insert(&mut answer_headers, name, value);
        }
    }
    answer_headers
}

fn too_large(outgoing: &Outgoing, limit: usize) -> Outgoing {
    let size = outgoing.body.len();
    // The request fitted: what the extensions made of it does not.
    let sentence = format!(
        "What the extensions answered makes an answer of {size} bytes, and NATS carries at most {limit} here; the answer \
         holds the message as well as the output."
    );
    let error = RequestError::new(ErrorCode::ExtensionError, sentence).with("limit_bytes", limit);
    let correlation = Correlation {
        request_id: outgoing.request_id().map(str::to_owned),
        trace_id: outgoing.trace_id().to_owned(),
        tenant_id: outgoing.tenant_id().map(str::to_owned),
        policy_id: None,
    };
    Outgoing {
        about: outgoing.about.clone(),
        deadline: outgoing.deadline,
        ..Outgoing::error(&error, &correlation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_to_inboxes_only() {
        for reply in ["_INBOX.a.b", "acme_inbox.1", "beamline2.x"] {
            assert!(is_answerable(reply, "beamline"), "{reply}");
        }
        for reply in [
            "beamline.ext.pre.a.v1",
            "beamline.router.v1.route",
            "$SYS.REQ",
            "$JS.API.INFO",
        ] {
            assert!(!is_answerable(reply, "beamline"), "{reply}");
        }
    }
}
