//! The answers to calls: one subscription for all of them, and who waits for which.
//!
//! The client's own request keeps an entry for every call whose answer never comes, for as long as
//! it lives. Here the entry goes with the caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_nats::{Client, Message, SubscribeError, Subscriber};
use beamline_actors::fail_points;
use beamline_actors::tree::OnDrop;
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::Connection;

#[derive(Debug)]
pub(super) struct Replies {
    /// What is answered here has to be sent with this client.
    client: Arc<Client>,
    /// Subject of all answers, up to the number of the call.
    prefix: String,
    next: AtomicU64,
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
    waiting: Arc<Waiting>,
    unneeded: CancellationToken,
}

/// How a call ends that was sent.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(Message),
    /// The server did not pass it on: this router may not publish to its subject.
    Denied,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: Mutex<HashMap<u64, Caller>>,
    heard: AtomicU64,
    /// Nobody reads the answers any more, though the client lives.
    unread: AtomicBool,
    /// Answers that nobody waited for any more.
    late: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Caller {
    /// Where its call went.
    called: Arc<str>,
    reply: oneshot::Sender<Reply>,
}

/// Before the number of what nobody is late for: messages to ourselves, and pings, which every
/// process of an extension answers.
const OWN: &str = "own-";
/// Where pings go.
const SERVICES: &str = "$SRV.";

impl Replies {
    /// Over the client of the connection that is given, which may not be its client of the moment
    /// any more.
    pub(super) async fn subscribe(
        client: Arc<Client>,
        connection: &Connection,
    ) -> Result<(Self, Reading), SubscribeError> {
        let prefix = format!("{}.", client.new_inbox());
        let answers = client.subscribe(format!("{prefix}*")).await?;
        let denied = connection.denied_subjects();
        let waiting = Arc::new(Waiting {
            late: connection.late_answer_count(),
            ..Waiting::default()
        });
        let unneeded = CancellationToken::new();
        let replies = Self {
            client,
            prefix: prefix.clone(),
            next: AtomicU64::new(0),
            waiting: Arc::clone(&waiting),
            _end_reading_on_drop: unneeded.clone().drop_guard(),
        };
        let reading = Reading {
            answers,
            prefix,
            denied,
            waiting,
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

    /// A place for the answer to a call of this subject.
    pub(super) fn expect(&self, called: Arc<str>) -> Expected {
        let mark = if called.starts_with(SERVICES) {
            OWN
        } else {
            ""
        };
        self.expect_at(called, mark)
    }

    /// A place for a message to ourselves.
    pub(super) fn expect_own(&self) -> Expected {
        self.expect_at("".into(), OWN)
    }

    fn expect_at(&self, called: Arc<str>, mark: &str) -> Expected {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        self.waiting
            .calls
            .lock()
            .insert(number, Caller { called, reply });
        let subject = format!("{}{mark}{number:x}", self.prefix);
        Expected {
            subject,
            number,
            answer,
            waiting: Arc::clone(&self.waiting),
        }
    }

    /// Messages that came in so far, whoever they were for.
    pub(super) fn heard(&self) -> u64 {
        self.waiting.heard.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.calls.lock().len()
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
            waiting,
            unneeded,
        } = self;
        let lost = OnDrop::new(|| waiting.end());
        tokio::select! {
            () = read(answers, &prefix, &waiting) => {}
            () = end_denied(denied, &waiting) => {}
            () = unneeded.cancelled() => {}
        }
        lost.disarm();
    }
}

impl Waiting {
    /// Ends all calls as if the bus were away: what was answered, nobody knows.
    fn end(&self) {
        self.unread.store(true, Ordering::Relaxed);
        self.calls.lock().clear();
    }
}

async fn read(mut answers: Subscriber, prefix: &str, waiting: &Waiting) {
    while let Some(message) = answers.next().await {
        fail_points::reached("answers");
        waiting.heard.fetch_add(1, Ordering::Relaxed);
        let Some(token) = message.subject.strip_prefix(prefix) else {
            continue;
        };
        let own = token.strip_prefix(OWN);
        let Ok(number) = u64::from_str_radix(own.unwrap_or(token), 16) else {
            continue;
        };
        let caller = waiting.calls.lock().remove(&number);
        match caller {
            Some(caller) => drop(caller.reply.send(Reply::Answer(message))),
            None if own.is_some() => {}
            // It came too late, or twice.
            None => drop(waiting.late.fetch_add(1, Ordering::Relaxed)),
        }
    }
    // The client has ended. Who waits hears of it from the connection, which knows when another one
    // can be used.
}

/// Nobody will answer calls that the server does not pass on.
async fn end_denied(mut denied: broadcast::Receiver<Arc<str>>, waiting: &Waiting) {
    loop {
        match denied.recv().await {
            Ok(subject) => {
                for (_, caller) in waiting
                    .calls
                    .lock()
                    .extract_if(|_, caller| caller.called == subject)
                {
                    let _ = caller.reply.send(Reply::Denied);
                }
            }
            Err(RecvError::Lagged(_)) => {}
            // The connection is gone, and so is its client.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// The answer to come. Dropping it gives up waiting.
#[derive(Debug)]
pub(super) struct Expected {
    /// Where the answer is to be sent.
    pub(super) subject: String,
    number: u64,
    answer: oneshot::Receiver<Reply>,
    waiting: Arc<Waiting>,
}

impl Expected {
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
        self.waiting.calls.lock().remove(&self.number);
    }
}
