//! The calls that go over one connection: one request, one answer, and a limit around everything.
//!
//! The NATS client has three habits that this module keeps from callers: it waits without limit for
//! a place in its queue, it sends what it was given during an outage after its end, and it lets a
//! request wait out its timeout when the connection is gone. An outage of the bus must not look
//! like a failure of an extension, or every breaker opens at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_nats::{Client, HeaderMap, Message, PublishErrorKind, StatusCode};
use beamline_actors::ports::{Answer, Call, TransportError};
use beamline_bus::headers::{text, wire_size};
use beamline_bus::{Outbox, WallClock};
use beamline_contract::escape::OneLine;
use beamline_contract::header;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

use crate::edge::nats::connection::Connection;
use crate::edge::nats::forgeries::Forgery;
use crate::edge::nats::headers;
use crate::edge::nats::replies::{Expected, Reading, Replies, Reply};

const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(2);
/// More than the headers of any call take.
pub(super) const HEADER_ROOM: usize = 1024;
/// The last part of a call's time, in which the server must show that it lives.
const PROBE_TIME: Duration = Duration::from_millis(100);

/// One connection for calls, and the answers that come by it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) connection: Connection,
    clock: WallClock,
    outbox: Outbox,
    /// On the client of the moment and since its last loss, or on one before it until the next call
    /// or round trip.
    replies: Mutex<Arc<Replies>>,
    usual_trip: Arc<UsualTrip>,
    /// One call subscribes to the answers on a new client, the others wait for it.
    renewal: tokio::sync::Mutex<()>,
    hand_over: mpsc::UnboundedSender<Reading>,
}

/// What a message to ourselves usually takes, in microseconds.
#[derive(Debug, Default)]
pub(super) struct UsualTrip(AtomicU64);

impl UsualTrip {
    pub(super) fn set(&self, usual: Duration) {
        let micros = u64::try_from(usual.as_micros()).unwrap_or(u64::MAX);
        self.0.store(micros, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// What is known of a call that is on its way.
#[derive(Debug)]
struct Sent {
    called: Arc<str>,
    size: usize,
}

impl Lane {
    /// Subscribes to the answers. Fails with [`TransportError::NotConnected`] when the connection
    /// takes nothing. The answers are read by whoever is at the other end of `hand_over`.
    pub(super) async fn open(
        connection: Connection,
        usual_trip: Arc<UsualTrip>,
        hand_over: mpsc::UnboundedSender<Reading>,
    ) -> Result<Arc<Self>, TransportError> {
        let subscribing = Replies::subscribe(connection.client(), &connection);
        let Ok(Ok((replies, reading))) = timeout(SUBSCRIBE_LIMIT, subscribing).await else {
            return Err(TransportError::NotConnected);
        };
        let lane = Self {
            connection,
            clock: WallClock::start(),
            outbox: Outbox::on(Handle::current()),
            replies: Mutex::new(Arc::new(replies)),
            usual_trip,
            renewal: tokio::sync::Mutex::default(),
            hand_over,
        };
        lane.hand_over(reading);
        Ok(Arc::new(lane))
    }

    /// Who was told where answers were awaited when the connection was lost: nobody else can have
    /// sent anything there. An extension may answer first, and end the connection then.
    pub(super) fn told(&self) -> Vec<Arc<str>> {
        self.replies.lock().told()
    }

    pub(super) fn room(&self, headers: usize) -> usize {
        self.connection
            .client()
            .max_payload()
            .saturating_sub(headers)
    }

    /// Calls that wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.replies.lock().waiting()
    }
}

impl Lane {
    pub(super) async fn call(&self, mut call: Call) -> Result<Answer, TransportError> {
        call.timeout = call.timeout.min(headers::LONGEST);
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
    pub(super) async fn ping(&self, call: Call) -> Result<bool, TransportError> {
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
        let mut expected = replies.expect(Arc::clone(&call.subject), deadline);
        let half = call.timeout / 2;
        let sent = self.send(&replies, &expected, call, headers, deadline);
        let reply = match timeout_at(deadline - half, expected.answer()).await {
            Ok(reply) => reply,
            Err(_) => {
                self.second_half(&replies, &mut expected, deadline, half)
                    .await?
            }
        };
        self.read(reply, &sent)
    }

    /// With what others send in this moment. When it cannot be sent, whoever expects the answer
    /// hears it.
    fn send(
        &self,
        replies: &Replies,
        expected: &Expected,
        call: Call,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Sent {
        let sent = Sent {
            called: Arc::clone(&call.subject),
            size: call.body.len(),
        };
        let unsent = expected.unsent();
        let answer_to = expected.subject.clone();
        let client = Arc::clone(replies.client());
        let connection = self.connection.clone();
        let called = call.subject.to_string();
        self.outbox.put(unsent.send(async move {
            // While it is away, the client would keep the call for when nobody waits any more.
            if !connection.is_connected() {
                return Err(PublishErrorKind::Send);
            }
            let sending =
                client.publish_with_reply_and_headers(called, answer_to, headers, call.body);
            match timeout_at(deadline, sending).await {
                Ok(sent) => sent.map_err(|error| error.kind()),
                // A full queue after all this time: the server takes nothing.
                Err(_) => Err(PublishErrorKind::Send),
            }
        }));
        sent
    }

    fn read(&self, reply: Option<Reply>, sent: &Sent) -> Result<Answer, TransportError> {
        let answer = match reply {
            Some(Reply::Answer(message)) => read(message, self.clock.latest()),
            Some(Reply::Denied) => {
                let problem = "NATS does not let this router publish to its subject; grant it to the router's user";
                Err(TransportError::Refused(problem.to_owned()))
            }
            Some(Reply::Unsent(problem)) => Err(self.unsent(problem, sent.size)),
            None => Err(TransportError::NotConnected),
        };
        if matches!(answer, Err(TransportError::Malformed(_))) {
            let forgeries = self.connection.forgeries();
            forgeries.found(Forgery::RoutersAnswer, &sent.called);
        }
        answer
    }

    fn unsent(&self, problem: PublishErrorKind, size: usize) -> TransportError {
        match problem {
            PublishErrorKind::MaxPayloadExceeded => TransportError::TooLarge {
                size,
                limit: self.room(HEADER_ROOM),
            },
            PublishErrorKind::InvalidSubject => TransportError::Refused(problem.to_string()),
            PublishErrorKind::Send => TransportError::NotConnected,
        }
    }

    /// The answers that come over the client of the moment.
    pub(super) async fn replies(&self, deadline: Instant) -> Result<Arc<Replies>, TransportError> {
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
        let losses = self.connection.link().borrow().losses;
        Some(Arc::clone(&self.replies.lock())).filter(|replies| {
            Arc::ptr_eq(replies.client(), client)
                && replies.are_read()
                && replies.losses() == losses
        })
    }

    fn hand_over(&self, reading: Reading) {
        // Its receiver is kept here as well.
        let _ = self.hand_over.send(reading);
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
    ) -> Result<Option<Reply>, TransportError> {
        let usual_trip = self.usual_trip.get();
        let mut probe = replies.expect_own();
        let mut is_back = false;
        let was_in_time = expected.is_handed_over();
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
            return Ok(reply);
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
            Ok(reply) => Ok(reply),
            Err(_) if !self.connection.is_connected() => Err(TransportError::NotConnected),
            // The probes went past it.
            Err(_) if !expected.is_handed_over() => Err(TransportError::NotConnected),
            Err(_) if is_late || !was_in_time => Err(TransportError::BusLate),
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

fn read(message: Message, now: SystemTime) -> Result<Answer, TransportError> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(TransportError::NoResponders);
    }
    let given = message.headers.unwrap_or_default();
    if text(&given, header::ANSWER).is_some() {
        let problem = "it is what a router answers to a gateway";
        return Err(TransportError::Malformed(problem.to_owned()));
    }
    let service_error = headers::service_error(&given);
    let retryable = headers::retryable(&given);
    Ok(Answer {
        body: message.payload,
        service_error,
        retry_after: headers::retry_after(&given, now),
        retryable,
    })
}
