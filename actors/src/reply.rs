//! The right to answer one request. Sending uses it up, so there is no second answer; dropped unsent, it answers
//! `internal`, so there is always a first.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use beamline_domain::request::Correlation;
use beamline_domain::request::answer;
use beamline_domain::request::error::RequestError;

/// An answer on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub body: Bytes,
    /// `ok`, or the code of the error.
    pub outcome: &'static str,
    pub trace_id: String,
    pub traceparent: Option<String>,
    pub tenant_id: Option<String>,
    pub request_id: Option<String>,
    /// The time that the request was given, when it had asked for more.
    pub timeout_clamped: Option<Duration>,
    /// Nobody waits for it after this, as far as that is known.
    pub deadline: Option<Instant>,
}

impl Outgoing {
    pub fn error(error: &RequestError, correlation: &Correlation) -> Self {
        Self {
            body: answer::of_error(error, correlation, SystemTime::now()),
            outcome: error.code.as_str(),
            trace_id: correlation.trace_id.clone(),
            traceparent: None,
            tenant_id: correlation.tenant_id.clone(),
            request_id: correlation.request_id.clone(),
            timeout_clamped: None,
            deadline: None,
        }
    }
}

type Send = Box<dyn FnOnce(Outgoing) + std::marker::Send>;

pub struct Reply {
    send: Option<Send>,
}

impl Reply {
    /// `send` must not wait: it hands the answer to whoever does.
    pub fn new(send: impl FnOnce(Outgoing) + std::marker::Send + 'static) -> Self {
        Self {
            send: Some(Box::new(send)),
        }
    }

    pub fn send(mut self, outgoing: Outgoing) {
        if let Some(send) = self.send.take() {
            send(outgoing);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(send) = self.send.take() {
            send(Outgoing::error(
                &RequestError::internal(),
                &Correlation::default(),
            ));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reply")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[test]
    fn every_reply_answers_exactly_once() {
        let sent = Arc::new(Mutex::new(Vec::new()));
        let reply = || {
            let sent = Arc::clone(&sent);
            Reply::new(move |outgoing| sent.lock().push(outgoing.outcome))
        };
        reply().send(Outgoing::error(
            &RequestError::shutting_down(),
            &Correlation::default(),
        ));
        drop(reply());
        assert_eq!(*sent.lock(), ["shutting_down", "internal"]);
    }
}
