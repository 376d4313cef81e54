//! An extension that answers what a test tells it, byte for byte, and remembers what it was asked.

use std::sync::Arc;

use beamline_extension::{Extension, Kind, RawAnswer, RawRequest, Running, Settings};
use parking_lot::Mutex;
use serde_json::Value;

use super::Nats;
use super::copied::settings_for;

#[derive(Debug)]
pub struct Stub {
    seen: Arc<Mutex<Vec<RawRequest>>>,
    running: Running,
}

impl Stub {
    /// Always the same answer.
    pub async fn saying(nats: &Nats, kind: Kind, id: &str, answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::answering(nats, kind, id, move |_| Some(answer.clone().into())).await
    }

    /// `None` is silence.
    pub async fn answering(
        nats: &Nats,
        kind: Kind,
        id: &str,
        answer: impl Fn(&RawRequest) -> Option<RawAnswer> + Send + Sync + 'static,
    ) -> Self {
        let answer = move |request: RawRequest| std::future::ready(answer(&request));
        Self::working(&settings_for(nats), kind, id, answer).await
    }

    /// Always the same answer, on a subject of a version or an instance.
    pub async fn at(nats: &Nats, subject: &str, kind: Kind, id: &str, answer: &str) -> Self {
        let settings = Settings {
            subject: Some(subject.to_owned()),
            ..settings_for(nats)
        };
        let answer = answer.to_owned();
        Self::working(&settings, kind, id, move |_| {
            std::future::ready(Some(answer.clone().into()))
        })
        .await
    }

    /// Answers when something has happened, for tests that drive the order of answers.
    pub async fn waiting<R>(
        nats: &Nats,
        kind: Kind,
        id: &str,
        answer: impl Fn(RawRequest) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: Future<Output = Option<RawAnswer>> + Send + 'static,
    {
        Self::working(&settings_for(nats), kind, id, answer).await
    }

    async fn working<R>(
        settings: &Settings,
        kind: Kind,
        id: &str,
        answer: impl Fn(RawRequest) -> R + Send + Sync + 'static,
    ) -> Self
    where
        R: Future<Output = Option<RawAnswer>> + Send + 'static,
    {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&seen);
        let extension = Extension::raw(kind, id, move |request: RawRequest| {
            remember.lock().push(request.clone());
            answer(request)
        });
        Self {
            seen,
            running: extension
                .serve(settings)
                .await
                .expect("the extension starts"),
        }
    }

    /// When this returns nobody listens any more.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    pub fn calls(&self) -> usize {
        self.seen.lock().len()
    }

    /// The header `Router-Attempt` of each call, in their order.
    pub fn attempts(&self) -> Vec<String> {
        let attempt =
            |call: &RawRequest| call.headers.get("Router-Attempt").map(ToString::to_string);
        self.seen
            .lock()
            .iter()
            .map(|call| attempt(call).unwrap_or_default())
            .collect()
    }

    pub fn last(&self) -> RawRequest {
        self.seen.lock().last().expect("it was called").clone()
    }

    /// The body of the last call.
    pub fn last_body(&self) -> Value {
        serde_json::from_slice(&self.last().payload).expect("JSON")
    }

    pub fn last_text(&self) -> String {
        String::from_utf8(self.last().payload.to_vec()).expect("UTF-8")
    }
}
