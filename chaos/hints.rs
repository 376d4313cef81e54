//! What routers tell each other of their breakers, as the observer hears it: every change of state,
//! with its time. A look at the states alone misses what opens and closes between two looks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::stage::Stage;

/// A breaker has changed its state.
#[derive(Debug, Clone)]
pub(crate) struct Hint {
    pub(crate) at: Instant,
    pub(crate) id: String,
    pub(crate) state: String,
    /// How long it stays open, if it does.
    pub(crate) open_for: Duration,
}

impl Hint {
    pub(crate) fn opens(&self) -> bool {
        self.state == "open"
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Hints {
    heard: Arc<Mutex<Vec<Hint>>>,
    task: JoinHandle<()>,
}

impl Hints {
    pub(crate) async fn listen(stage: &Stage) -> Self {
        let client = stage.gateway.client().clone();
        let mut hints = client
            .subscribe("beamline.router.v1.control.breaker")
            .await
            .expect("a subscription");
        client.flush().await.expect("flushed");
        let heard: Arc<Mutex<Vec<Hint>>> = Arc::default();
        let notes = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            while let Some(message) = hints.next().await {
                let said: Value = serde_json::from_slice(&message.payload).expect("a hint");
                let text = |key: &str| said[key].as_str().expect("a text").to_owned();
                let open_for =
                    Duration::from_millis(said["open_for_ms"].as_u64().unwrap_or_default());
                notes.lock().push(Hint {
                    at: Instant::now(),
                    id: text("extension_id"),
                    state: text("state"),
                    open_for,
                });
            }
        });
        Self { heard, task }
    }

    /// All of them since then.
    pub(crate) fn since(&self, then: Instant) -> Vec<Hint> {
        self.heard
            .lock()
            .iter()
            .filter(|hint| hint.at >= then)
            .cloned()
            .collect()
    }

    /// Those of one extension.
    pub(crate) fn of(&self, id: &str, since: Instant) -> Vec<Hint> {
        self.since(since)
            .into_iter()
            .filter(|hint| hint.id == id)
            .collect()
    }
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.task.abort();
    }
}
