//! Calls to extensions over NATS: one request, one answer, and a limit around everything.
//!
//! The NATS client has three habits that this module keeps from callers: it waits without limit for
//! a place in its queue, it sends what it was given during an outage after its end, and it lets a
//! request wait out its timeout when the connection is gone. An outage of the bus must not look
//! like a failure of an extension, or every breaker opens at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_nats::{Client, HeaderMap, PublishErrorKind, StatusCode};
use beamline_actors::ports::{Answer, Answers, Call, Transport, TransportError};
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_bus::WallClock;
use beamline_bus::headers::wire_size;
use beamline_contract::escape::OneLine;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout, timeout_at};

use super::connection::Connection;
use super::headers;
use super::replies::{Expected, Reading, Replies, Reply};

const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(2);
/// More than the headers of any call take.
const HEADER_ROOM: usize = 1024;
/// The last part of a call's time, in which the server must show that it lives.
const PROBE_TIME: Duration = Duration::from_millis(100);

/// Calls extensions over one connection.
#[derive(Debug, Clone)]
pub struct NatsTransport {
    bus: Arc<Bus>,
}

#[derive(Debug)]
struct Bus {
    connection: Connection,
    clock: WallClock,
    /// On the client of the moment, or on the one before it until the next call or round trip.
    replies: Mutex<Arc<Replies>>,
    /// What a message to ourselves usually takes, in microseconds.
    usual_trip: AtomicU64,
    /// One call subscribes to the answers on a new client, the others wait for it.
    renewal: tokio::sync::Mutex<()>,
    hand_over: mpsc::UnboundedSender<Reading>,
    /// What is still to be read, for the task that does.
    handed: tokio::sync::Mutex<mpsc::UnboundedReceiver<Reading>>,
}

impl NatsTransport {
    /// Subscribes to the answers. Fails with [`TransportError::NotConnected`] when the connection
    /// takes nothing.
    pub async fn new(connection: Connection) -> Result<Self, TransportError> {
        let (replies, reading) = match timeout(
            SUBSCRIBE_LIMIT,
            Replies::subscribe(connection.client(), &connection),
        )
        .await
        {
            Ok(Ok(subscribed)) => subscribed,
            Ok(Err(_)) | Err(_) => return Err(TransportError::NotConnected),
        };
        let (hand_over, handed) = mpsc::unbounded_channel();
        let bus = Bus {
            connection,
            clock: WallClock::start(),
            replies: Mutex::new(Arc::new(replies)),
            usual_trip: AtomicU64::default(),
            renewal: tokio::sync::Mutex::default(),
            hand_over,
            handed: tokio::sync::Mutex::new(handed),
        };
        bus.hand_over(reading);
        Ok(Self { bus: Arc::new(bus) })
    }

    /// The task that reads the answers to calls. Until it runs, they wait.
    pub fn child(&self) -> Child {
        let bus = Arc::clone(&self.bus);
        let node = Node::new("answers", NodeKind::Worker);
        Child::task(&node, move || Arc::clone(&bus).read_answers())
    }

    /// How long a message to ourselves takes; `None` when it does not come back in time, or there
    /// is no connection.
    pub(crate) async fn round_trip(&self, limit: Duration) -> Option<Duration> {
        if !self.bus.connection.is_connected() {
            return None;
        }
        let deadline = Instant::now() + limit;
        // Over the client of the moment, so that one that was replaced goes also while nobody
        // calls.
        let replies = self.bus.replies(deadline).await.ok()?;
        let begun = Instant::now();
        let mut expected = replies.expect_own();
        let trip = async {
            expected.send_to_self(replies.client()).await;
            expected.answer().await
        };
        timeout_at(deadline, trip).await.ok()??;
        Some(begun.elapsed())
    }

    /// What that usually takes; a bus that is far away is not late.
    pub(crate) fn trips_take(&self, usual: Duration) {
        self.bus.usual_trip.store(
            u64::try_from(usual.as_micros()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    #[cfg(test)]
    pub(crate) fn usual_trip(&self) -> Duration {
        Duration::from_micros(self.bus.usual_trip.load(Ordering::Relaxed))
    }

    /// One call and its one answer.
    #[cfg(test)]
    pub(super) fn ask(&self, call: Call) -> BoxFuture<'static, Result<Answer, TransportError>> {
        let bus = Arc::clone(&self.bus);
        Box::pin(async move { bus.call(call).await })
    }

    /// Calls that wait for an answer.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.bus.replies.lock().waiting()
    }
}

impl Transport for NatsTransport {
    fn call(&self, call: Call) -> Answers {
        let bus = Arc::clone(&self.bus);
        // A whole answer is one message; frames are asked for by a header that calls do not have.
        Box::pin(stream::once(async move { bus.call(call).await }))
    }

    fn ping(
        &self,
        extension_id: &str,
        limit: Duration,
    ) -> BoxFuture<'static, Result<bool, TransportError>> {
        let bus = Arc::clone(&self.bus);
        let call = ping_of(extension_id, limit);
        Box::pin(async move { bus.ping(call).await })
    }

    fn away_for(&self) -> Option<Duration> {
        self.bus.connection.away_for()
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.bus.connection.back())
    }

    fn is_settled(&self) -> bool {
        self.bus.connection.is_settled()
    }

    fn max_body(&self) -> usize {
        self.bus
            .connection
            .client()
            .max_payload()
            .saturating_sub(HEADER_ROOM)
    }
}

impl Bus {
    async fn call(&self, mut call: Call) -> Result<Answer, TransportError> {
        call.timeout = call.timeout.min(headers::LONGEST);
        if !self.connection.is_connected() {
            return Err(TransportError::NotConnected);
        }
        if call.timeout.is_zero() {
            return Err(TransportError::Timeout);
        }
        check_subject(&call.subject)?;
        let headers = headers::of_call(&call, self.clock.latest())
            .map_err(|unfit| TransportError::Refused(unfit.to_string()))?;
        self.check_size(&headers, call.body.len())?;
        self.unless_lost(call, headers).await
    }

    /// Any process of the extension may answer, with anything.
    async fn ping(&self, call: Call) -> Result<bool, TransportError> {
        check_subject(&call.subject)?;
        match self.unless_lost(call, HeaderMap::new()).await {
            Ok(_) => Ok(true),
            Err(
                TransportError::NoResponders | TransportError::Timeout | TransportError::BusLate,
            ) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails at once when the connection does.
    async fn unless_lost(&self, call: Call, headers: HeaderMap) -> Result<Answer, TransportError> {
        let mut link = self.connection.link();
        let losses = link.borrow_and_update().losses;
        if !self.connection.is_connected() {
            return Err(TransportError::NotConnected);
        }
        tokio::select! {
            biased;
            answer = self.exchange(call, headers) => answer,
            _ = link.wait_for(|link| !link.connected || link.losses != losses) => Err(TransportError::NotConnected),
        }
    }

    async fn exchange(&self, call: Call, headers: HeaderMap) -> Result<Answer, TransportError> {
        let deadline = Instant::now() + call.timeout;
        let replies = self.replies(deadline).await?;
        let mut expected = replies.expect(Arc::clone(&call.subject));
        let half = call.timeout / 2;
        let sending = self.send(replies.client(), call, headers, expected.subject.clone());
        // A full queue after all this time: the server takes nothing.
        timeout_at(deadline, sending)
            .await
            .unwrap_or(Err(TransportError::NotConnected))?;
        match timeout_at(deadline - half, expected.answer()).await {
            Ok(reply) => self.read(reply),
            Err(_) => {
                self.second_half(&replies, &mut expected, deadline, half)
                    .await
            }
        }
    }

    fn read(&self, reply: Option<Reply>) -> Result<Answer, TransportError> {
        read(reply, self.clock.latest())
    }

    /// The answers that come over the client of the moment.
    async fn replies(&self, deadline: Instant) -> Result<Arc<Replies>, TransportError> {
        let client = self.connection.client();
        if let Some(replies) = self.replies_over(&client) {
            return Ok(replies);
        }
        let renewing = async {
            let _turn = self.renewal.lock().await;
            if let Some(replies) = self.replies_over(&client) {
                return Ok(replies);
            }
            let (replies, reading) = Replies::subscribe(client, &self.connection)
                .await
                .map_err(|_| TransportError::NotConnected)?;
            self.hand_over(reading);
            let replies = Arc::new(replies);
            *self.replies.lock() = Arc::clone(&replies);
            Ok(replies)
        };
        timeout_at(deadline, renewing)
            .await
            .unwrap_or(Err(TransportError::NotConnected))
    }

    fn replies_over(&self, client: &Arc<Client>) -> Option<Arc<Replies>> {
        Some(Arc::clone(&self.replies.lock()))
            .filter(|replies| Arc::ptr_eq(replies.client(), client) && replies.are_read())
    }

    fn hand_over(&self, reading: Reading) {
        // Its receiver is kept here as well.
        let _ = self.hand_over.send(reading);
    }

    /// Over one client after the other, and over two while one takes the place of another.
    async fn read_answers(self: Arc<Self>) -> Result<(), JoinError> {
        let mut handed = self.handed.lock().await;
        let mut readers = JoinSet::new();
        loop {
            tokio::select! {
                Some(reading) = handed.recv() => drop(readers.spawn(reading.run())),
                Some(ended) = readers.join_next() => ended?,
            }
        }
    }

    async fn send(
        &self,
        client: &Client,
        call: Call,
        headers: HeaderMap,
        reply: String,
    ) -> Result<(), TransportError> {
        let size = call.body.len();
        let sent = client
            .publish_with_reply_and_headers(call.subject.to_string(), reply, headers, call.body)
            .await;
        sent.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => TransportError::TooLarge {
                size,
                limit: self.room(HEADER_ROOM),
            },
            PublishErrorKind::InvalidSubject => TransportError::Refused(error.to_string()),
            PublishErrorKind::Send => TransportError::NotConnected,
        })
    }

    /// A bus that is late or hangs looks like an extension that hangs. So when half of the time is
    /// over, and once more when it is nearly up, ask the server to pass us a message. When the
    /// first takes longer than the other half, the bus explains why there is no answer; when
    /// nothing at all comes after the last, the bus is gone, whatever its client still believes.
    async fn second_half(
        &self,
        replies: &Replies,
        expected: &mut Expected,
        deadline: Instant,
        half: Duration,
    ) -> Result<Answer, TransportError> {
        let usual_trip = Duration::from_micros(self.usual_trip.load(Ordering::Relaxed));
        let mut probe = replies.expect_own();
        let mut is_back = false;
        let wait = async {
            probe.send_to_self(replies.client()).await;
            tokio::select! {
                reply = expected.answer() => return reply,
                _ = probe.answer() => is_back = true,
            }
            expected.answer().await
        };
        let last = PROBE_TIME.max(usual_trip * 3).min(half);
        if let Ok(reply) = timeout_at(deadline - last, wait).await {
            return self.read(reply);
        }
        // Held up meanwhile, this process cannot tell what it would have heard.
        let is_late = deadline.saturating_duration_since(Instant::now()) < last / 2;
        let heard = replies.heard();
        let last_probe = replies.expect_own();
        let wait = async {
            last_probe.send_to_self(replies.client()).await;
            loop {
                tokio::select! {
                    reply = expected.answer() => return reply,
                    _ = probe.answer(), if !is_back => is_back = true,
                }
            }
        };
        // One that is so far away that its messages usually take as long tells nothing by it.
        let is_far = |time: Duration| time < usual_trip * 2;
        match timeout_at(deadline, wait).await {
            Ok(reply) => self.read(reply),
            Err(_) if !self.connection.is_connected() => Err(TransportError::NotConnected),
            Err(_) if is_late => Err(TransportError::BusLate),
            Err(_) if replies.heard() == heard && !is_far(last) => {
                Err(TransportError::NotConnected)
            }
            Err(_) if !is_back && !is_far(half) => Err(TransportError::BusLate),
            Err(_) => Err(TransportError::Timeout),
        }
    }

    fn check_size(&self, headers: &HeaderMap, size: usize) -> Result<(), TransportError> {
        let limit = self.room(wire_size(headers));
        if size > limit {
            Err(TransportError::TooLarge { size, limit })
        } else {
            Ok(())
        }
    }

    fn room(&self, headers: usize) -> usize {
        self.connection
            .client()
            .max_payload()
            .saturating_sub(headers)
    }
}

/// What the NATS service protocol asks of all processes of one service; an extension's service has
/// its id as name.
fn ping_of(extension_id: &str, limit: Duration) -> Call {
    Call {
        subject: format!("$SRV.PING.{extension_id}").into(),
        body: Bytes::new(),
        traceparent: "".into(),
        trace_id: "".into(),
        tenant_id: "".into(),
        timeout: limit,
        attempt: 1,
    }
}

/// The client lets most malformed subjects pass, and they come back as "nobody listens"; a wildcard
/// is even delivered.
fn check_subject(subject: &str) -> Result<(), TransportError> {
    let is_token = |token: &str| {
        !token.is_empty()
            && !token
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || "*>".contains(c))
    };
    if subject.split('.').all(is_token) {
        return Ok(());
    }
    Err(TransportError::Refused(format!(
        "'{}' cannot be called: a subject has tokens with dots between them, no blanks and no wildcards",
        OneLine(subject)
    )))
}

fn read(reply: Option<Reply>, now: SystemTime) -> Result<Answer, TransportError> {
    let message = match reply {
        Some(Reply::Answer(message)) => message,
        Some(Reply::Denied) => {
            let problem = "NATS does not let this router publish to its subject; grant it to the router's user";
            return Err(TransportError::Refused(problem.to_owned()));
        }
        None => return Err(TransportError::NotConnected),
    };
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(TransportError::NoResponders);
    }
    let given = message.headers.unwrap_or_default();
    let service_error = headers::service_error(&given);
    let retryable = headers::retryable(&given);
    Ok(Answer {
        body: message.payload,
        service_error,
        retry_after: headers::retry_after(&given, now),
        retryable,
    })
}
