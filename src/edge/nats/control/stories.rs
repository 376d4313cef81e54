//! "What happened to this request?"

use std::sync::Arc;

use async_nats::Message;
use beamline_contract::control::{REQUESTS, ReplicaRequests, RequestsQuestion};
use tokio::task::spawn_blocking;

use super::Shared;
use super::questions::{FromReplica, ask, send_answer};

impl FromReplica for ReplicaRequests {
    fn replica_id(&self) -> &str {
        &self.replica_id
    }
}

/// What all replicas know that answer in time; this one first.
pub(super) async fn gather(
    shared: &Arc<Shared>,
    question: RequestsQuestion,
) -> Vec<ReplicaRequests> {
    let others = ask(shared, REQUESTS, &question).await;
    let own = find(shared, question).await;
    own.into_iter().chain(others).collect()
}

pub(super) async fn answer(shared: &Arc<Shared>, name: &str, message: Message) {
    let Ok(question) = serde_json::from_slice(&message.payload) else {
        return;
    };
    // Who has none says nothing: an answer of theirs would tell no more.
    if let Some(found) = find(shared, question).await {
        send_answer(shared, name, message.reply, &found).await;
    }
}

/// It looks at thousands of requests, on a thread of its own. Nothing while the runtime ends.
async fn find(shared: &Arc<Shared>, question: RequestsQuestion) -> Option<ReplicaRequests> {
    let shared = Arc::clone(shared);
    let looking = spawn_blocking(move || ReplicaRequests {
        replica_id: shared.replica_id.clone(),
        requests: shared.requests.find(&question),
    });
    looking.await.ok()
}
