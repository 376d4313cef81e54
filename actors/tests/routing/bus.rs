//! A bus on which everything goes as a case says, whoever is called.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::ports::{Answer, Answers, Call, Transport, TransportError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use serde_json::json;

use crate::cases::{End, POOL, Script, owner};

/// Remembers what was called, in the order of the calls.
#[derive(Debug)]
pub(crate) struct ScriptedBus {
    script: HashMap<String, Script>,
    calls: Mutex<Vec<Called>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Called {
    /// A subject that belongs to nobody stays as it is.
    pub(crate) id: String,
    pub(crate) attempt: u32,
}

impl ScriptedBus {
    pub(crate) fn new(script: HashMap<String, Script>) -> Arc<Self> {
        Arc::new(Self {
            script,
            calls: Mutex::default(),
        })
    }

    pub(crate) fn calls(&self) -> Vec<Called> {
        self.calls.lock().clone()
    }
}

impl Transport for ScriptedBus {
    fn call(&self, call: Call) -> Answers {
        let id = owner(&call.subject);
        let mut calls = self.calls.lock();
        let before = calls.iter().filter(|known| known.id == id).count();
        calls.push(Called {
            id: id.clone(),
            attempt: call.attempt,
        });
        let Script { ends, delay_ms } = self.script.get(&id).cloned().unwrap_or_default();
        let end = ends
            .get(before % ends.len().max(1))
            .copied()
            .unwrap_or(End::Good);
        let answered = async move {
            if end == End::Silent {
                tokio::time::sleep(call.timeout).await;
                return Err(TransportError::Timeout);
            }
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            answer(&id, before + 1, end)
        };
        stream::once(answered).boxed()
    }

    fn away_for(&self) -> Option<Duration> {
        None
    }

    fn back(&self) -> BoxFuture<'_, ()> {
        async {}.boxed()
    }

    fn is_settled(&self) -> bool {
        true
    }

    fn max_body(&self) -> usize {
        1024 * 1024
    }
}

fn answer(id: &str, number: usize, end: End) -> Result<Answer, TransportError> {
    let kind = POOL
        .iter()
        .find(|(known, _)| *known == id)
        .map_or("", |(_, kind)| *kind);
    let body = match (end, kind) {
        (End::NoResponders, _) => return Err(TransportError::NoResponders),
        (End::Malformed, _) => json!([]),
        (End::Error { code, retryable }, _) => {
            json!({"error": {"code": code, "message": "m", "retryable": retryable}})
        }
        (End::Reject, "validator") => {
            json!({"status": "reject", "reason": format!("{id} says no")})
        }
        (_, "validator") => json!({"status": "ok"}),
        (_, "provider") => json!({"output": format!("{id} {number}")}),
        // Both also change what the others of their wave change.
        _ => {
            json!({"payload": {"payload": format!("{id} {number}")}, "metadata": {"last": id, id: number}})
        }
    };
    Ok(Answer {
        body: Bytes::from(body.to_string()),
        ..Answer::default()
    })
}
