//! An extension whose behaviour a scenario changes while it runs, below the SDK: it can also break the protocol. It notes
//! every call, so that it bears witness to what the router sent.

use std::sync::Arc;
use std::time::Duration;

use async_nats::header::HeaderMap;
use async_nats::{Client, Message};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::load::connect;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Behaviour {
    Good,
    /// A good answer after a time between these two.
    Slow(Duration, Duration),
    Silent,
    /// These bytes.
    Says(String),
    /// An error answer, retryable after so many milliseconds.
    Busy(u64),
    /// Something that is not even JSON, or far too much of it, or JSON of another kind, in turn.
    Garbage,
    Twice,
    /// Answers other callers instead of its own.
    WrongInbox,
}

#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) request_id: String,
    pub(super) at: Instant,
}

#[derive(Debug)]
pub(super) struct Puppet {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    good: String,
    behaviour: Mutex<Behaviour>,
    calls: Mutex<Vec<Call>>,
}

impl Puppet {
    /// A provider, unless the id is that of a guardrail.
    pub(super) async fn start(url: &str, subject: &str, good: Value) -> Self {
        let client = connect(url).await;
        let group = subject.to_owned();
        let mut calls = client.queue_subscribe(subject.to_owned(), group).await.expect("a subscription");
        client.flush().await.expect("flushed");
        let (behaviour, good) = (Mutex::new(Behaviour::Good), good.to_string());
        let shared = Arc::new(Shared { client, good, behaviour, calls: Mutex::default() });
        let reads = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Some(call) = calls.next().await {
                tokio::spawn(Arc::clone(&reads).serve(call));
            }
        });
        Self { shared, task }
    }

    pub(super) async fn provider(url: &str, id: &str) -> Self {
        Self::start(url, &format!("beamline.provider.{id}.v1"), json!({"output": id})).await
    }

    pub(super) fn does(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock() = behaviour;
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().clone()
    }

    pub(super) fn calls_since(&self, then: Instant) -> usize {
        self.shared.calls.lock().iter().filter(|call| call.at >= then).count()
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, call: Message) {
        let at = Instant::now();
        let asked: Value = serde_json::from_slice(&call.payload).unwrap_or_default();
        let request_id = asked["request_id"].as_str().unwrap_or_default().to_owned();
        let number = {
            let mut calls = self.calls.lock();
            calls.push(Call { request_id, at });
            calls.len()
        };
        let Some(reply) = call.reply else { return };
        let behaviour = self.behaviour.lock().clone();
        let good = || self.good.clone();
        let (times, text) = match behaviour {
            Behaviour::Good => (1, good()),
            Behaviour::Slow(least, most) => {
                sleep(least + (most - least).mul_f64(fastrand::f64())).await;
                (1, good())
            }
            Behaviour::Silent => return,
            Behaviour::Says(text) => (1, text),
            Behaviour::Busy(retry_after) => (1, busy(retry_after)),
            Behaviour::Garbage => (1, garbage(number)),
            Behaviour::Twice => (2, good()),
            Behaviour::WrongInbox => {
                let stray = format!("{}x", reply.as_str());
                let _away = self.client.publish(stray, good().into()).await;
                return;
            }
        };
        for _ in 0..times {
            let _away = self.client.publish_with_headers(reply.clone(), HeaderMap::new(), text.clone().into()).await;
        }
    }
}

fn busy(retry_after: u64) -> String {
    json!({"error": {"code": "429", "message": "later", "retryable": true, "retry_after_ms": retry_after}}).to_string()
}

fn garbage(number: usize) -> String {
    match number % 4 {
        0 => "]]".to_owned(),
        1 => format!("{{\"output\": \"{}\"", "x".repeat(900_000)),
        2 => "[1, 2]".to_owned(),
        _ => json!({"output": 1, "metadata": [], "usage": "many"}).to_string(),
    }
}
