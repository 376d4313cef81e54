//! The answers to calls: one subscription for all of them, and who waits for which.
//!
//! The client's own request keeps an entry for every call whose answer never comes, for as long as
//! it lives. Here the entry goes with the caller.
//!
//! Whoever may publish to an inbox could answer for somebody else. So the place of each answer is a
//! secret that only the extension that was called is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_nats::{Client, Message, PublishErrorKind, SubscribeError, Subscriber};
use beamline_actors::fail_points;
use beamline_actors::tree::OnDrop;
use beamline_bus::Secret;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::{Connection, Link};
use super::forgeries::{Forgeries, Forgery};

mod calls;

use calls::{Caller, Calls, Found};

pub(super) use calls::Reply;

#[derive(Debug)]
pub(super) struct Replies {
    /// What is answered here has to be sent with this client.
    client: Arc<Client>,
    /// How often its connection had been lost when this was made.
    losses: u64,
    /// Subject of all answers, up to the secret of the call.
    prefix: String,
    waiting: Arc<Waiting>,
    _end_reading_on_drop: DropGuard,
}

/// What has to be run for the answers to arrive. Ends with its [`Replies`], or when the client
/// ends.
#[derive(Debug)]
pub(super) struct Reading {
    answers: Subscriber,
    prefix: String,
    denied: broadcast::Receiver<Arc<str>>,
    /// Also when it is dropped before it has begun.
    lost: OnDrop<Box<dyn FnOnce() + Send + Sync>>,
    waiting: Arc<Waiting>,
    link: watch::Receiver<Link>,
    losses: u64,
    unneeded: CancellationToken,
}

#[derive(Debug)]
struct Waiting {
    calls: Mutex<Calls>,
    heard: AtomicU64,
    /// Nobody reads the answers any more, though the client lives.
    unread: AtomicBool,
    forgeries: Arc<Forgeries>,
}

/// Where pings go, which every process of an extension answers.
const SERVICES: &str = "$SRV.";

impl Replies {
    /// Over the client of the connection that is given, which may not be its client of the moment
    /// any more. Each has an inbox of its own: who was told of one that is gone can do nothing with
    /// it.
    pub(super) async fn subscribe(
        client: Arc<Client>,
        connection: &Connection,
    ) -> Result<(Self, Reading), SubscribeError> {
        let link = connection.link();
        let losses = link.borrow().losses;
        let prefix = format!("{}.", connection.new_inbox());
        let answers = client.subscribe(format!("{prefix}*")).await?;
        let denied = connection.denied_subjects();
        let waiting = Arc::new(Waiting {
            calls: Mutex::default(),
            heard: AtomicU64::default(),
            unread: AtomicBool::default(),
            forgeries: connection.forgeries(),
        });
        let unneeded = CancellationToken::new();
        let replies = Self {
            client,
            losses,
            prefix: prefix.clone(),
            waiting: Arc::clone(&waiting),
            _end_reading_on_drop: unneeded.clone().drop_guard(),
        };
        let losing = Arc::clone(&waiting);
        let reading = Reading {
            answers,
            prefix,
            denied,
            lost: OnDrop::new(Box::new(move || losing.end())),
            waiting,
            link,
            losses,
            unneeded,
        };
        Ok((replies, reading))
    }

    /// False when answers do not arrive any more though the client lives.
    pub(super) fn are_read(&self) -> bool {
        !self.waiting.unread.load(Ordering::Relaxed)
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    pub(super) fn losses(&self) -> u64 {
        self.losses
    }

    /// A place for the answer to a call of this subject, which is open until then.
    pub(super) fn expect(&self, called: Arc<str>, until: Instant) -> Expected {
        let many = called.starts_with(SERVICES);
        self.expect_with(|reply| Caller {
            called,
            until,
            many,
            reply,
        })
    }

    /// A place for a message to ourselves.
    pub(super) fn expect_own(&self) -> Expected {
        self.expect_with(|reply| Caller {
            called: "".into(),
            until: Instant::now(),
            many: true,
            reply,
        })
    }

    fn expect_with(&self, caller: impl FnOnce(oneshot::Sender<Reply>) -> Caller) -> Expected {
        Expected::new(&self.prefix, &self.waiting, caller)
    }

    /// Messages that came in so far, whoever they were for.
    pub(super) fn heard(&self) -> u64 {
        self.waiting.heard.load(Ordering::Relaxed)
    }

    /// Calls that wait for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.calls.lock().open()
    }

    /// What was called since this was made.
    pub(super) fn told(&self) -> Vec<Arc<str>> {
        self.waiting.calls.lock().told()
    }
}

impl Reading {
    /// Hands every answer to who waits for it. When this ends before its time, by a panic for
    /// example, those who wait hear it.
    pub(super) async fn run(self) {
        let Self {
            answers,
            prefix,
            denied,
            lost,
            waiting,
            mut link,
            losses,
            unneeded,
        } = self;
        tokio::select! {
            () = read(answers, &prefix, &waiting) => {}
            () = end_denied(denied, &waiting) => {}
            () = unneeded.cancelled() => {}
            // Before the client subscribes again: who was told of this inbox shall not end the next
            // connection as well.
            _ = link.wait_for(|link| link.losses != losses) => {}
        }
        lost.disarm();
    }
}

impl Waiting {
    /// Ends all calls as if the bus were away: what was answered, nobody knows.
    fn end(&self) {
        self.unread.store(true, Ordering::Relaxed);
        self.calls.lock().end_all();
    }

    fn take(&self, message: Message, prefix: &str) {
        let token = message.subject.strip_prefix(prefix);
        let secret = token.and_then(Secret::parse);
        let found = match secret {
            Some(secret) => self.calls.lock().answered(secret, Instant::now()),
            None => Found::Nobody,
        };
        match found {
            // Who gave up in this moment drops its place.
            Found::Waits(reply) => drop(reply.send(Reply::Answer(message))),
            Found::Again => {}
            Found::Late => self.forgeries.late(),
            Found::Second { called } => self.forgeries.found(Forgery::SecondAnswer, &called),
            Found::Nobody => self.forgeries.found(Forgery::WrongSecret, prefix),
        }
    }
}

async fn read(mut answers: Subscriber, prefix: &str, waiting: &Waiting) {
    while let Some(message) = answers.next().await {
        fail_points::reached("answers");
        waiting.heard.fetch_add(1, Ordering::Relaxed);
        waiting.take(message, prefix);
    }
    // The client has ended. Who waits hears of it from the connection, which knows when another one
    // can be used.
}

/// Nobody will answer calls that the server does not pass on.
async fn end_denied(mut denied: broadcast::Receiver<Arc<str>>, waiting: &Waiting) {
    loop {
        match denied.recv().await {
            Ok(subject) => {
                for reply in waiting.calls.lock().denied(&subject) {
                    let _ = reply.send(Reply::Denied);
                }
            }
            Err(RecvError::Lagged(_)) => {}
            // The connection is gone, and so is its client.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The answer to come. Dropping it gives up waiting, and sending the call as well.
#[derive(Debug)]
pub(super) struct Expected {
    /// Where the answer is to be sent.
    pub(super) subject: String,
    secret: Secret,
    answer: oneshot::Receiver<Reply>,
    waiting: Arc<Waiting>,
    handover: Arc<Handover>,
}

/// What becomes of a call between its caller and the client.
#[derive(Debug, Default)]
struct Handover {
    /// The client has it.
    is_done: AtomicBool,
    /// Nobody waits for its answer.
    is_over: AtomicBool,
    over: Notify,
}

/// A call on its way to the client. Whoever waits for its answer hears when it does not get there.
#[derive(Debug)]
pub(super) struct Unsent {
    secret: Secret,
    waiting: Arc<Waiting>,
    handover: Arc<Handover>,
}

impl Unsent {
    /// Hands the call over, unless its caller gives up before the client has room for it.
    pub(super) async fn send(self, sending: impl Future<Output = Result<(), PublishErrorKind>>) {
        if self.handover.is_over.load(Ordering::Relaxed) {
            return;
        }
        let sent = tokio::select! {
            biased;
            sent = sending => sent,
            () = self.handover.over.notified() => return,
        };
        match sent {
            Ok(()) => self.handover.is_done.store(true, Ordering::Relaxed),
            Err(problem) => self.because(problem),
        }
    }

    fn because(&self, problem: PublishErrorKind) {
        let caller = self.waiting.calls.lock().unsent(self.secret);
        if let Some(reply) = caller {
            let _ = reply.send(Reply::Unsent(problem));
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        // By a panic, or with the runtime.
        if !self.handover.is_done.load(Ordering::Relaxed) {
            self.because(PublishErrorKind::Send);
        }
    }
}

impl Expected {
    fn new(
        prefix: &str,
        waiting: &Arc<Waiting>,
        caller: impl FnOnce(oneshot::Sender<Reply>) -> Caller,
    ) -> Self {
        let secret = Secret::random();
        let (reply, answer) = oneshot::channel();
        waiting.calls.lock().begin(secret, caller(reply));
        Self {
            subject: format!("{prefix}{}", secret.token()),
            secret,
            answer,
            waiting: Arc::clone(waiting),
            handover: Arc::default(),
        }
    }

    pub(super) fn unsent(&self) -> Unsent {
        Unsent {
            secret: self.secret,
            waiting: Arc::clone(&self.waiting),
            handover: Arc::clone(&self.handover),
        }
    }

    /// Whether the client has the call.
    pub(super) fn is_handed_over(&self) -> bool {
        self.handover.is_done.load(Ordering::Relaxed)
    }

    /// The server passes this message to ourselves.
    pub(super) async fn send_to_self(&self, client: &Client) {
        // A client that has ended takes nothing; then nothing comes back.
        let _ = client.publish(self.subject.clone(), Bytes::new()).await;
    }

    /// Never comes when the client has ended: the connection tells of that. May be dropped while it
    /// waits, and asked again.
    pub(super) async fn answer(&mut self) -> Option<Reply> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.calls.lock().given_up(self.secret);
        if !self.is_handed_over() {
            self.handover.is_over.store(true, Ordering::Relaxed);
            self.handover.over.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn expected() -> Expected {
        let waiting = Arc::new(Waiting {
            calls: Mutex::default(),
            heard: AtomicU64::default(),
            unread: AtomicBool::default(),
            forgeries: Arc::default(),
        });
        Expected::new("inbox.", &waiting, |reply| Caller {
            called: "guard".into(),
            until: Instant::now(),
            many: false,
            reply,
        })
    }

    #[tokio::test]
    async fn a_call_that_the_client_took_is_waited_for() {
        let expected = expected();
        expected.unsent().send(async { Ok(()) }).await;
        assert!(expected.is_handed_over());
        assert_eq!(expected.waiting.calls.lock().open(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_hears_that_the_client_refused() {
        let mut expected = expected();
        let problem = PublishErrorKind::MaxPayloadExceeded;
        expected.unsent().send(async { Err(problem) }).await;
        let reply = expected.answer().await;
        assert!(
            matches!(reply, Some(Reply::Unsent(found)) if found == problem),
            "{reply:?}"
        );
        assert!(!expected.is_handed_over());
    }

    #[tokio::test]
    async fn whoever_waits_hears_that_the_sending_was_dropped() {
        let mut expected = expected();
        drop(expected.unsent().send(pending()));
        let reply = expected.answer().await;
        assert!(
            matches!(reply, Some(Reply::Unsent(PublishErrorKind::Send))),
            "{reply:?}"
        );
    }

    #[tokio::test]
    async fn a_call_that_nobody_waits_for_is_not_begun() {
        let expected = expected();
        let unsent = expected.unsent();
        drop(expected);
        let sending = async { panic!("sent after its caller has gone") };
        unsent.send(sending).await;
    }

    #[tokio::test]
    async fn a_call_that_waits_for_room_goes_with_its_caller() {
        let expected = expected();
        let sending = tokio::spawn(expected.unsent().send(pending()));
        tokio::task::yield_now().await;
        drop(expected);
        sending.await.expect("ended without room");
    }
}
