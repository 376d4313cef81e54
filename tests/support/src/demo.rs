//! The extensions of the demo policy that a new database holds, which count what they serve.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use beamline_extension::{
    CallContext, Completion, Edit, Extension, Failure, Message, Prompt, Running, Verdict,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Nats, serve};

#[derive(Debug)]
pub struct Demo {
    provider: Running,
    _others: [Running; 3],
    calls: Arc<Mutex<HashMap<String, usize>>>,
    open: watch::Sender<bool>,
}

impl Demo {
    pub async fn serve(nats: &Nats) -> Self {
        Self::serve_in(nats, Duration::ZERO).await
    }

    /// With a provider that takes its time.
    pub async fn serve_in(nats: &Nats, latency: Duration) -> Self {
        let (open, gate) = watch::channel(true);
        let calls = Arc::new(Mutex::new(HashMap::new()));
        let counts = Arc::clone(&calls);
        let echo = move |prompt: Prompt, call: CallContext| {
            let mut gate = gate.clone();
            let counts = Arc::clone(&counts);
            async move {
                *counts
                    .lock()
                    .expect("no panic")
                    .entry(call.request_id)
                    .or_insert(0) += 1;
                drop(gate.wait_for(|open| *open).await);
                sleep(latency).await;
                Completion::new(&json!({"echo": prompt.text}))
            }
        };
        let others = [
            serve(nats, Extension::pre("normalize_text", unchanged)).await,
            serve(nats, Extension::validator("pii_guard", fine)).await,
            serve(nats, Extension::post("mask_pii", unchanged)).await,
        ];
        Self {
            provider: serve(nats, Extension::provider("mock_provider", echo)).await,
            _others: others,
            calls,
            open,
        }
    }

    /// From now on the provider keeps every call until `open`.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    /// Calls that the provider works on.
    pub fn in_flight(&self) -> usize {
        self.provider.in_flight()
    }

    /// How often the provider was called for the request with this id.
    pub fn calls(&self, id: &str) -> usize {
        self.calls
            .lock()
            .expect("no panic")
            .get(id)
            .copied()
            .unwrap_or(0)
    }
}

/// Panics unless this is the right answer to the request with this id.
pub fn assert_served(answer: &Value, id: &str) {
    assert_eq!(answer["response"]["output"]["echo"], id, "{answer}");
    assert_eq!(answer["context"]["request_id"], id, "{answer}");
}

async fn unchanged(_message: Message, _call: CallContext) -> Result<Edit, Failure> {
    Ok(Edit::unchanged())
}

async fn fine(_message: Message, _call: CallContext) -> Result<Verdict, Failure> {
    Ok(Verdict::Ok)
}
