//! The intake actor: takes requests from the queue group and hands them to the door.
//!
//! Its readers never wait for work: a request is in flight or refused before the next one is read,
//! because a full subscription loses messages without telling anybody.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, PublishErrorKind, Subject};
use beamline_actors::door::Door;
use beamline_actors::incoming::Incoming;
use beamline_actors::responder::{About, AnswerSink, Outgoing, PartSink, Responder, TooManyParts};
use beamline_actors::tree::{Address, Node, NodeKind, OnDrop, OwnedTask};
use beamline_bus::{Outbox, WallClock, headers};
use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_contract::{header, subject};
use beamline_domain::request::answer::with_older_code;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::{Correlation, RequestHeaders, RequestKind};
use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use super::Connection;
use super::queue::{Queue, Reader};
use super::reply_subjects::ReplySubjects;

mod envelope;

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
    settings: IntakeSettings,
    address: Address<IntakeMsg>,
    queue: Arc<Queue>,
    replies: Arc<ReplySubjects>,
    /// Answers on their way into the client.
    answers: TaskTracker,
    outbox: Outbox,
    /// Answers that found no connection while anybody waited for them.
    unsent: Counter,
    /// Requests that were read when their callers had given up.
    expired: Counter,
    clock: WallClock,
}

/// How requests come in.
#[derive(Debug, Clone)]
pub struct IntakeSettings {
    /// Of all subjects.
    pub prefix: String,
    /// The last token of their subject is their tenant.
    pub tenant_from_subject: bool,
    /// Gateways here know fewer codes.
    pub legacy_codes: bool,
}

impl Intake {
    pub(crate) fn new(
        connection: Connection,
        door: Door,
        replies: Arc<ReplySubjects>,
        settings: IntakeSettings,
    ) -> Self {
        let shared = Shared {
            queue: Queue::new(connection.clone()),
            connection,
            door,
            settings,
            address: Address::new(Node::new("intake", NodeKind::Worker)),
            replies,
            answers: TaskTracker::new(),
            outbox: Outbox::on(Handle::current()),
            unsent: Counter::default(),
            expired: Counter::default(),
            clock: WallClock::start(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        self.shared.address.node()
    }

    pub fn unanswerable(&self) -> Counter {
        self.shared.replies.unanswerable()
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
        let prefix = &shared.settings.prefix;
        for (name, kind, subject) in [
            ("decide", RequestKind::Decide, subject::decide(prefix)),
            ("route", RequestKind::Route, subject::route(prefix)),
        ] {
            let subject = if shared.settings.tenant_from_subject {
                subject::of_tenant(&subject, "*")
            } else {
                subject
            };
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
        .run(move |client, message| admit(&shared, client, message, kind))
        .await;
}

fn admit(shared: &Arc<Shared>, client: &Arc<Client>, message: Message, kind: RequestKind) {
    shared.address.node().count_handled();
    let Some(to) = shared.replies.answerable(message.reply.clone()) else {
        return;
    };
    let refusal = refusal(shared, &message);
    let responder = Responder::new(Inbox {
        shared: Arc::clone(shared),
        client: Arc::clone(client),
        to,
    });
    let tenant = shared.settings.tenant_from_subject;
    let tenant = tenant.then(|| subject::last_token(&message.subject));
    let incoming = Incoming {
        edge: "nats",
        kind,
        headers: read_headers(message.headers.as_ref(), tenant),
        body: message.payload,
        received: Instant::now(),
        responder,
    };
    match refusal {
        Some(error) => shared.door.refuse(incoming, &error),
        None => shared.door.admit(incoming),
    }
}

impl Shared {
    /// In the words that gateways here know.
    fn worded(&self, mut outgoing: Outgoing) -> Outgoing {
        if self.settings.legacy_codes {
            outgoing.body = with_older_code(outgoing.body, outgoing.outcome);
        }
        outgoing
    }
}

/// What is wrong with a message before its body is looked at.
fn refusal(shared: &Shared, message: &Message) -> Option<RequestError> {
    let size = message.payload.len();
    let limit = max_body(shared);
    if size > limit {
        let sentence = format!("The request has {size} bytes; at most {limit} are taken.");
        let error = RequestError::invalid(IntakeCode::SchemaValidationFailed, "", sentence);
        return Some(error.with("limit_bytes", limit));
    }
    if shared.settings.tenant_from_subject {
        let tenant = subject::last_token(&message.subject);
        if let Some(error) = envelope::bound_to(tenant, message.headers.as_ref()) {
            return Some(error);
        }
    }
    let given = message.headers.as_ref()?;
    if let Some(error) = envelope::unreadable(given) {
        return Some(error);
    }
    let deadline = headers::text(given, header::DEADLINE)?;
    if !shared.clock.is_past(deadline) {
        return None;
    }
    shared.expired.inc();
    let sentence = "The request's time was over when the router read it.";
    Some(RequestError::new(ErrorCode::DeadlineExceeded, sentence))
}

/// `bound` is the tenant that the subject names.
fn read_headers(from: Option<&HeaderMap>, bound: Option<&str>) -> RequestHeaders {
    let text = |name| headers::text(from?, name).map(str::to_owned);
    let list = |name| headers::joined(from?, name);
    RequestHeaders {
        tenant_id: bound.map(str::to_owned).or_else(|| text(header::TENANT_ID)),
        tenant_is_bound: bound.is_some(),
        trace_id: text(header::TRACE_ID),
        traceparent: text(header::TRACEPARENT),
        tracestate: list(header::TRACESTATE),
        baggage: list(header::BAGGAGE),
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
    /// The request came by it, so it stays open until it is answered: a server may let the answer
    /// out there only.
    client: Arc<Client>,
    to: Subject,
}

impl AnswerSink for Inbox {
    fn answer(self: Box<Self>, answer: Outgoing) {
        let Self { shared, client, to } = *self;
        let answer = shared.worded(answer);
        // Here and not where it is sent: many are sent in one go.
        let answer_headers = headers_of(&answer);
        let unsent = shared.unsent.clone();
        let lost = OnDrop::new(move || {
            unsent.inc();
        });
        let sender = Arc::clone(&shared);
        let sending = async move {
            send(sender, client, to, answer, answer_headers).await;
            lost.disarm();
        };
        shared.outbox.put(shared.answers.track_future(sending));
    }

    fn begin(self: Box<Self>, head: Outgoing) -> Box<dyn PartSink> {
        let about = head.about.clone();
        let deadline = head.deadline;
        let (messages, mut waiting) = mpsc::channel(MOST_PARTS + 2);
        // There is room for the first.
        let _ = messages.try_send(head);
        let Self { shared, client, to } = *self;
        let sender = Arc::clone(&shared);
        // One after the other: the caller gets them in their order.
        shared.answers.spawn(async move {
            while let Some(message) = waiting.recv().await {
                let message = sender.worded(message);
                let answer_headers = headers_of(&message);
                send(
                    Arc::clone(&sender),
                    Arc::clone(&client),
                    to.clone(),
                    message,
                    answer_headers,
                )
                .await;
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
async fn send(
    shared: Arc<Shared>,
    by: Arc<Client>,
    to: Subject,
    outgoing: Outgoing,
    answer_headers: HeaderMap,
) {
    let connection = &shared.connection;
    if !Arc::ptr_eq(&by, &connection.client()) && sent_before(&by, &to, &outgoing).await {
        return;
    }
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
        let mut is_sent = publish(&client, &to, &outgoing, answer_headers).await;
        while !is_sent {
            client = connection.client_after(&client).await;
            is_sent = publish(&client, &to, &outgoing, headers_of(&outgoing)).await;
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

/// By a client that another has taken the place of, as long as it stands. It ends with its last
/// request, so it is waited for until all is written.
async fn sent_before(by: &Client, to: &Subject, outgoing: &Outgoing) -> bool {
    let sending = async {
        by.connection_state() == State::Connected
            && publish(by, to, outgoing, headers_of(outgoing)).await
            && by.flush().await.is_ok()
    };
    timeout(SEND_LIMIT, sending).await.unwrap_or(false)
}

/// False when the client has ended, and the next one may do better.
async fn publish(
    client: &Client,
    to: &Subject,
    outgoing: &Outgoing,
    answer_headers: HeaderMap,
) -> bool {
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
    // Nobody can take it for the answer of an extension.
    let _ = headers::insert(&mut answer_headers, header::ANSWER, "1");
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
