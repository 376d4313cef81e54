//! An extension whose behaviour a scenario changes while it runs, below the SDK: it can also break
//! the protocol. It notes every call that it acts on, so that it bears witness to what the router
//! sent. Like the SDK it drops what comes too late.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_nats::header::HeaderMap;
use async_nats::{Client, Message, Subject};
use beamline_test_support::Part;
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::load::connect;
use crate::stage::BELIEVED_PAST;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Behaviour {
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
    /// Sends its answers to callers that have had theirs.
    Astray,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) request_id: String,
    pub(crate) at: Instant,
}

#[derive(Debug)]
pub(crate) struct Puppet {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    good: String,
    behaviour: Mutex<Behaviour>,
    calls: Mutex<Vec<Call>>,
    torn: AtomicUsize,
    /// Reply subjects of calls that were answered well.
    answered: Mutex<Vec<Subject>>,
}

impl Puppet {
    /// A provider, unless the id is that of a guardrail.
    pub(crate) async fn start(url: &str, subject: &str, good: Value) -> Self {
        let client = connect(url, Part::Extension).await;
        let group = subject.to_owned();
        let mut calls = client
            .queue_subscribe(subject.to_owned(), group)
            .await
            .expect("a subscription");
        client.flush().await.expect("flushed");
        let behaviour = Mutex::new(Behaviour::Good);
        let good = good.to_string();
        let torn = AtomicUsize::new(0);
        let answered = Mutex::default();
        let shared = Arc::new(Shared {
            client,
            good,
            behaviour,
            calls: Mutex::default(),
            torn,
            answered,
        });
        let reads = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Some(call) = calls.next().await {
                tokio::spawn(Arc::clone(&reads).serve(call));
            }
        });
        Self { shared, task }
    }

    pub(crate) async fn provider(url: &str, id: &str) -> Self {
        Self::start(
            url,
            &format!("beamline.provider.{id}.v1"),
            json!({"output": id}),
        )
        .await
    }

    pub(crate) fn does(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock() = behaviour;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().clone()
    }

    /// Calls that were no whole message.
    pub(crate) fn torn(&self) -> usize {
        self.shared.torn.load(Ordering::Relaxed)
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
        if is_past(&call) {
            return;
        }
        let asked: Value = serde_json::from_slice(&call.payload).unwrap_or_else(|_| {
            self.torn.fetch_add(1, Ordering::Relaxed);
            Value::Null
        });
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
            Behaviour::Good => {
                self.answered.lock().push(reply.clone());
                (1, good())
            }
            Behaviour::Slow(least, most) => {
                sleep(least + (most - least).mul_f64(fastrand::f64())).await;
                (1, good())
            }
            Behaviour::Silent => return,
            Behaviour::Says(text) => (1, text),
            Behaviour::Busy(retry_after) => (1, busy(retry_after)),
            Behaviour::Garbage => (1, garbage(number)),
            Behaviour::Twice => (2, good()),
            Behaviour::Astray => {
                let Some(stray) = fastrand::choice(self.answered.lock().iter()).cloned() else {
                    return;
                };
                let _away = self.client.publish(stray, good().into()).await;
                return;
            }
        };
        for _ in 0..times {
            let _away = self
                .client
                .publish_with_headers(reply.clone(), HeaderMap::new(), text.clone().into())
                .await;
        }
    }
}

/// A call without a deadline has none that could be past.
fn is_past(call: &Message) -> bool {
    let deadline = call
        .headers
        .as_ref()
        .and_then(|headers| headers.get("Router-Deadline"));
    let deadline = deadline.and_then(|text| humantime::parse_rfc3339_weak(text.as_str()).ok());
    deadline.is_some_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > BELIEVED_PAST)
    })
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
