//! "What do you log?", and "log this for a time".

use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use beamline_contract::admin::ReplicaLogLevel;
use beamline_contract::control::{LOG_LEVEL, LogLevelQuestion};
use beamline_contract::limits::LOG_LEVEL_MS;

use super::Shared;
use super::questions::{FromReplica, ask, send_answer};
use crate::config::log_filter_problem;
use crate::observe::logs::levels;

/// Unless it is said.
const USUALLY_MS: u64 = 600_000;

impl FromReplica for ReplicaLogLevel {
    fn replica_id(&self) -> &str {
        &self.replica_id
    }
}

/// What all replicas answer in time; this one first.
pub(super) async fn gather(
    shared: &Arc<Shared>,
    question: LogLevelQuestion,
) -> Vec<ReplicaLogLevel> {
    let own = follow(shared, &question);
    let others = ask(shared, LOG_LEVEL, &question).await;
    own.into_iter().chain(others).collect()
}

pub(super) async fn answer(shared: &Arc<Shared>, name: &str, message: Message) {
    let Ok(question) = serde_json::from_slice(&message.payload) else {
        return;
    };
    if let Some(level) = follow(shared, &question) {
        send_answer(shared, name, message.reply, &level).await;
    }
}

/// Nothing where the log of the process is not the router's.
fn follow(shared: &Shared, question: &LogLevelQuestion) -> Option<ReplicaLogLevel> {
    let levels = levels()?;
    let level = &question.level;
    if level.reset == Some(true) {
        levels.reset();
    }
    // A newer router may know filters that this one does not.
    let filter = level.filter.as_deref();
    if let Some(filter) = filter.filter(|filter| log_filter_problem(filter).is_none()) {
        let time = level.for_ms.unwrap_or(USUALLY_MS);
        let time = time.clamp(*LOG_LEVEL_MS.start(), *LOG_LEVEL_MS.end());
        levels.set(filter, Duration::from_millis(time), &question.by);
    }
    Some(levels.show(&shared.replica_id))
}
