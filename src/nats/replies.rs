//! The answers to calls: one subscription for all of them, and who waits for which.
//!
//! The client's own request keeps an entry for every call whose answer never comes, for as long as it lives. Here the
//! entry goes with the caller.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::{Client, Message, SubscribeError, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

#[derive(Debug)]
pub(super) struct Replies {
    /// What is answered here has to be sent with this client.
    client: Arc<Client>,
    /// Subject of all answers, up to the number of the call.
    prefix: String,
    next: AtomicU64,
    waiting: Arc<Waiting>,
    _reader: AbortOnDropHandle<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    calls: Mutex<HashMap<u64, oneshot::Sender<Message>>>,
    heard: AtomicU64,
}

impl Replies {
    pub(super) async fn subscribe(client: Arc<Client>) -> Result<Self, SubscribeError> {
        let prefix = format!("{}.", client.new_inbox());
        let subscriber = client.subscribe(format!("{prefix}*")).await?;
        let waiting = Arc::new(Waiting::default());
        let reader = tokio::spawn(read(subscriber, prefix.clone(), Arc::clone(&waiting)));
        Ok(Self { client, prefix, next: AtomicU64::new(0), waiting, _reader: AbortOnDropHandle::new(reader) })
    }

    pub(super) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// A place for one answer.
    pub(super) fn expect(&self) -> Expected {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.calls.lock().insert(number, sender);
        Expected { subject: format!("{}{number:x}", self.prefix), number, answer, waiting: Arc::clone(&self.waiting) }
    }

    /// Messages that came in so far, whoever they were for.
    pub(super) fn heard(&self) -> u64 {
        self.waiting.heard.load(Ordering::Relaxed)
    }

    /// Sends a message to ourselves; `heard` counts it when the server has passed it on.
    pub(super) async fn probe(&self) {
        let _ = self.client.publish(format!("{}probe", self.prefix), Bytes::new()).await;
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.calls.lock().len()
    }
}

async fn read(mut subscriber: Subscriber, prefix: String, waiting: Arc<Waiting>) {
    while let Some(message) = subscriber.next().await {
        waiting.heard.fetch_add(1, Ordering::Relaxed);
        let number = message.subject.strip_prefix(&prefix).and_then(|token| u64::from_str_radix(token, 16).ok());
        // An answer that nobody waits for came too late, or twice.
        if let Some(caller) = number.and_then(|number| waiting.calls.lock().remove(&number)) {
            let _ = caller.send(message);
        }
    }
    // The client has ended. Who waits hears of it from the connection, which knows when another one can be used.
}

/// The answer to come. Dropping it gives up waiting.
#[derive(Debug)]
pub(super) struct Expected {
    /// Where the answer is to be sent.
    pub(super) subject: String,
    number: u64,
    answer: oneshot::Receiver<Message>,
    waiting: Arc<Waiting>,
}

impl Expected {
    /// Never comes when the client has ended: the connection tells of that. May be dropped while it waits, and asked again.
    pub(super) async fn answer(&mut self) -> Option<Message> {
        (&mut self.answer).await.ok()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.waiting.calls.lock().remove(&self.number);
    }
}
