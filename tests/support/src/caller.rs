//! A caller of the demo policy that a new database holds: single requests, load that sees every
//! answer, and administration. Answers to callers of a test's own policies are the gateway's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::StatusCode;
use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{LIMIT, Nats};

#[derive(Debug, Clone)]
pub struct Caller {
    client: async_nats::Client,
}

impl Caller {
    pub async fn connect(nats: &Nats) -> Self {
        Self {
            client: nats.client().await,
        }
    }

    /// The answer to one request for the demo policy.
    pub async fn route(&self, id: &str) -> Value {
        self.try_route(id, LIMIT)
            .await
            .unwrap_or_else(|| panic!("no answer to {id}"))
    }

    /// As `route`, or nothing when no answer comes in time.
    pub async fn try_route(&self, id: &str, limit: Duration) -> Option<Value> {
        self.ask("route", &request(id), limit).await
    }

    /// The answer to one admin operation.
    pub async fn admin(&self, operation: &str, body: Value) -> Value {
        let answer = self.ask(&format!("admin.{operation}"), &body, LIMIT).await;
        answer.unwrap_or_else(|| panic!("no answer to {operation}"))
    }

    /// Sends `count` requests, `at_once` of them at a time, and waits for each answer at most for
    /// `limit`. Each request has a reply subject of its own until the end, so that a second answer
    /// is seen too. `answered` counts the first ones.
    pub async fn load(
        &self,
        count: usize,
        at_once: usize,
        limit: Duration,
        answered: Arc<AtomicUsize>,
    ) -> BTreeMap<usize, Vec<Value>> {
        let next = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..at_once {
            let caller = self.clone();
            let next = Arc::clone(&next);
            let answered = Arc::clone(&answered);
            callers.spawn(async move {
                let mut own = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return own;
                    }
                    let mut replies = caller.send(&load_id(number)).await;
                    let first = timeout(limit, replies.next()).await.ok().flatten();
                    answered.fetch_add(usize::from(first.is_some()), Ordering::Relaxed);
                    own.push((number, first, replies));
                }
            });
        }
        let all = callers.join_all().await;
        // What was sent before this is here when its answer is.
        self.admin("supervision_tree", json!({})).await;
        let mut answers = BTreeMap::new();
        for (number, first, mut replies) in all.into_iter().flatten() {
            let more = std::iter::from_fn(|| replies.next().now_or_never().flatten());
            answers.insert(
                number,
                first
                    .into_iter()
                    .chain(more)
                    .map(|message| read(&message))
                    .collect(),
            );
        }
        answers
    }

    async fn send(&self, id: &str) -> async_nats::Subscriber {
        let inbox = self.client.new_inbox();
        let replies = self
            .client
            .subscribe(inbox.clone())
            .await
            .expect("a subscription");
        let body = request(id).to_string().into();
        self.client
            .publish_with_reply("beamline.router.v1.route", inbox, body)
            .await
            .expect("sent");
        replies
    }

    async fn ask(&self, subject: &str, body: &Value, limit: Duration) -> Option<Value> {
        let asked = async_nats::Request::new()
            .payload(body.to_string().into())
            .timeout(Some(limit));
        let answer = self
            .client
            .send_request(format!("beamline.router.v1.{subject}"), asked);
        serde_json::from_slice(&timeout(limit, answer).await.ok()?.ok()?.payload).ok()
    }
}

/// The id of a request that `load` sends.
pub fn load_id(number: usize) -> String {
    format!("load-{number}")
}

/// The text is the id, so that an answer that belongs to another request is seen.
fn request(id: &str) -> Value {
    json!({
        "version": "1", "tenant_id": "demo", "request_id": id, "timeout_ms": 30_000,
        "message": {"message_id": "m-1", "message_type": "chat", "payload": id, "metadata": {}},
    })
}

fn read(message: &async_nats::Message) -> Value {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return json!({"ok": false, "error": {"code": "nobody_subscribed"}});
    }
    serde_json::from_slice(&message.payload).expect("JSON")
}
