//! An extension that answers what a test tells it, byte for byte, and remembers what it was asked.

use std::sync::Arc;

use beamline_extension::{Extension, Kind, RawAnswer, RawRequest, Running};
use parking_lot::Mutex;
use serde_json::Value;

use super::{Nats, serve};

#[derive(Debug)]
pub(crate) struct Stub {
    seen: Arc<Mutex<Vec<RawRequest>>>,
    _running: Running,
}

impl Stub {
    /// Always the same answer.
    pub(crate) async fn saying(nats: &Nats, kind: Kind, id: &str, answer: &str) -> Self {
        let answer = answer.to_owned();
        Self::answering(nats, kind, id, move |_| Some(answer.clone().into())).await
    }

    /// `None` is silence.
    pub(crate) async fn answering(
        nats: &Nats,
        kind: Kind,
        id: &str,
        answer: impl Fn(&RawRequest) -> Option<RawAnswer> + Send + Sync + 'static,
    ) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&seen);
        let extension = Extension::raw(kind, id, move |request: RawRequest| {
            let answer = answer(&request);
            remember.lock().push(request);
            async move { answer }
        });
        Self { seen, _running: serve(nats, extension).await }
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen.lock().len()
    }

    pub(crate) fn last(&self) -> RawRequest {
        self.seen.lock().last().expect("it was called").clone()
    }

    /// The body of the last call.
    pub(crate) fn last_body(&self) -> Value {
        serde_json::from_slice(&self.last().payload).expect("JSON")
    }

    pub(crate) fn last_text(&self) -> String {
        String::from_utf8(self.last().payload.to_vec()).expect("UTF-8")
    }
}
