//! "What did you serve lately?"

use std::sync::Arc;

use async_nats::Message;
use beamline_contract::admin::{GetStats, ReplicaStats};
use beamline_contract::control::STATS;
use tokio::task::spawn_blocking;

use super::Shared;
use super::questions::{FromReplica, ask, send_answer};

impl FromReplica for ReplicaStats {
    fn replica_id(&self) -> &str {
        &self.replica_id
    }
}

/// What all replicas know that answer in time; this one first.
pub(super) async fn gather(shared: &Arc<Shared>, question: GetStats) -> Vec<ReplicaStats> {
    let others = ask(shared, STATS, &question).await;
    let own = read(shared, question).await;
    own.into_iter().chain(others).collect()
}

pub(super) async fn answer(shared: &Arc<Shared>, name: &str, message: Message) {
    let Ok(question) = serde_json::from_slice(&message.payload) else {
        return;
    };
    if let Some(stats) = read(shared, question).await {
        send_answer(shared, name, message.reply, &stats).await;
    }
}

/// It adds up hours, on a thread of its own. Nothing while the runtime ends.
async fn read(shared: &Arc<Shared>, question: GetStats) -> Option<ReplicaStats> {
    let requests = shared.requests.clone();
    spawn_blocking(move || requests.stats(&question)).await.ok()
}
