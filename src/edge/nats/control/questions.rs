//! Questions to all replicas: each answers by itself, and who asks collects what comes in a short
//! time.

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::{Message, Subject};
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{timeout, timeout_at};

use super::envelope::Binding;
use super::refusals::{Kind, Refusal};
use super::{SEND_LIMIT, Shared};

/// Who has not answered by then is not counted.
const GATHER: Duration = Duration::from_millis(300);
/// Answers of so many replicas are read.
const MOST_REPLICAS: usize = 200;

/// An answer, which says whose it is.
pub(super) trait FromReplica: DeserializeOwned {
    fn replica_id(&self) -> &str;
}

/// What the other replicas say that answer in time.
pub(super) async fn ask<A: FromReplica>(
    shared: &Shared,
    word: &str,
    question: &impl Serialize,
) -> Vec<A> {
    let mut answers = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + GATHER;
    let _ = timeout_at(deadline, collect(shared, word, question, &mut answers)).await;
    answers.into_values().collect()
}

/// For as long as it is not dropped.
async fn collect<A: FromReplica>(
    shared: &Shared,
    word: &str,
    question: &impl Serialize,
    answers: &mut BTreeMap<String, A>,
) {
    if !shared.connection.is_connected() {
        return;
    }
    let client = shared.connection.client();
    let inbox = shared.connection.new_inbox();
    let body = serde_json::to_vec(question).unwrap_or_default();
    let subject = shared.subject(word);
    let binding = Binding {
        subject: &subject,
        reply: &inbox,
        question: "",
    };
    let Some(stamp) = shared.signatures.stamp(binding, &body) else {
        return;
    };
    let Ok(mut subscription) = client.subscribe(inbox.clone()).await else {
        return;
    };
    let asked = client.publish_with_reply_and_headers(subject, inbox, stamp.headers, body.into());
    if asked.await.is_err() {
        return;
    }
    while let Some(message) = subscription.next().await {
        // Nobody listens to control subjects, not even this replica.
        if message.status.is_some() {
            continue;
        }
        take(shared, &stamp.name, &message, answers);
    }
}

/// Of each replica the first one.
fn take<A: FromReplica>(
    shared: &Shared,
    question: &str,
    message: &Message,
    answers: &mut BTreeMap<String, A>,
) {
    let signatures = &shared.signatures;
    let Some(sender) = signatures.heard(Kind::Answer, message, question) else {
        return;
    };
    if answers.contains_key(&sender.replica) {
        signatures.refuse(Kind::Answer, Refusal::Replayed, &message.subject);
        return;
    }
    let Ok(answer) = serde_json::from_slice::<A>(&message.payload) else {
        return;
    };
    if answer.replica_id() == sender.replica && answers.len() < MOST_REPLICAS {
        answers.insert(sender.replica, answer);
    }
}

/// Answers the question of that name.
pub(super) async fn send_answer(
    shared: &Shared,
    question: &str,
    reply: Option<Subject>,
    answer: &impl Serialize,
) {
    let Some(reply) = shared.replies.of_router(reply) else {
        return;
    };
    let Ok(body) = serde_json::to_vec(answer) else {
        return;
    };
    let binding = Binding {
        subject: &reply,
        reply: "",
        question,
    };
    let Some(stamp) = shared.signatures.stamp(binding, &body) else {
        return;
    };
    let client = shared.connection.client();
    let sending = client.publish_with_headers(reply, stamp.headers, body.into());
    if !matches!(timeout(SEND_LIMIT, sending).await, Ok(Ok(()))) {
        tracing::debug!("an answer to another replica was not sent");
    }
}
