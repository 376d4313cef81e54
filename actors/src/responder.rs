//! The right to answer one request: with one message, or with a head, parts and an end. Answering
//! uses it up, so there is no second answer; dropped before its end, it answers `internal`, so
//! there is always a first.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_domain::request::answer;
use beamline_domain::request::error::RequestError;
use beamline_domain::request::{Correlation, Request};
use bytes::Bytes;
use tokio::time::Instant;

/// A message to the caller.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub body: Bytes,
    /// `ok`, or the code of the error.
    pub outcome: &'static str,
    pub about: About,
    /// Nobody waits for it after this, as far as that is known.
    pub deadline: Option<Instant>,
}

/// Which request a message answers.
#[derive(Debug, Clone)]
pub enum About {
    Request(Arc<Request>),
    /// One that was not read, or not to its end. The time that it was given, when it had asked for
    /// more.
    Unread(Correlation, Option<Duration>),
}

impl Outgoing {
    pub fn error(error: &RequestError, correlation: &Correlation) -> Self {
        Self {
            body: answer::of_error(error, correlation, SystemTime::now()),
            outcome: error.code.as_str(),
            about: About::Unread(correlation.clone(), None),
            deadline: None,
        }
    }

    pub fn trace_id(&self) -> &str {
        match &self.about {
            About::Request(request) => &request.trace.trace_id,
            About::Unread(correlation, _) => &correlation.trace_id,
        }
    }

    pub fn traceparent(&self) -> Option<&str> {
        match &self.about {
            About::Request(request) => Some(request.trace.traceparent()),
            About::Unread(..) => None,
        }
    }

    pub fn tenant_id(&self) -> Option<&str> {
        match &self.about {
            About::Request(request) => Some(&request.tenant_id),
            About::Unread(correlation, _) => correlation.tenant_id.as_deref(),
        }
    }

    pub fn request_id(&self) -> Option<&str> {
        match &self.about {
            About::Request(request) => Some(&request.request_id),
            About::Unread(correlation, _) => correlation.request_id.as_deref(),
        }
    }

    /// The time that the request was given, when it had asked for more.
    pub fn clamped_timeout(&self) -> Option<Duration> {
        match &self.about {
            About::Request(request) => request.clamped.then_some(request.timeout),
            About::Unread(_, clamped) => *clamped,
        }
    }
}

/// The way to one caller. No method waits: each hands its message to whoever does.
pub trait AnswerSink: Send {
    /// The whole answer.
    fn answer(self: Box<Self>, answer: Outgoing);

    /// The first message of an answer in parts.
    fn begin(self: Box<Self>, head: Outgoing) -> Box<dyn PartSink>;
}

/// The way to a caller whose answer has begun. Messages arrive in the order in which they were
/// sent.
pub trait PartSink: Send {
    fn part(&mut self, part: Bytes) -> Result<(), TooManyParts>;

    fn end(self: Box<Self>, end: Outgoing);
}

/// The caller takes parts more slowly than they are made; this one was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many parts wait for the caller")]
pub struct TooManyParts;

/// The right to answer.
pub struct Responder(Option<Box<dyn AnswerSink>>);

/// The right to end an answer that has begun.
pub struct OpenAnswer(Option<Box<dyn PartSink>>);

impl Responder {
    pub fn new(sink: impl AnswerSink + 'static) -> Self {
        Self(Some(Box::new(sink)))
    }

    pub fn answer(mut self, answer: Outgoing) {
        if let Some(sink) = self.0.take() {
            sink.answer(answer);
        }
    }

    pub fn begin(mut self, head: Outgoing) -> OpenAnswer {
        OpenAnswer(self.0.take().map(|sink| sink.begin(head)))
    }
}

impl OpenAnswer {
    pub fn part(&mut self, part: Bytes) -> Result<(), TooManyParts> {
        match &mut self.0 {
            Some(sink) => sink.part(part),
            None => Ok(()),
        }
    }

    pub fn end(mut self, end: Outgoing) {
        if let Some(sink) = self.0.take() {
            sink.end(end);
        }
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.answer(unanswered());
        }
    }
}

impl Drop for OpenAnswer {
    fn drop(&mut self) {
        if let Some(sink) = self.0.take() {
            sink.end(unanswered());
        }
    }
}

fn unanswered() -> Outgoing {
    Outgoing::error(&RequestError::internal(), &Correlation::default())
}

impl fmt::Debug for Responder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Responder")
    }
}

impl fmt::Debug for OpenAnswer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OpenAnswer")
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    /// Remembers what was sent; takes one part.
    #[derive(Clone, Default)]
    struct Sent(Arc<Mutex<Vec<String>>>);

    impl Sent {
        fn note(&self, what: impl Into<String>) {
            self.0.lock().push(what.into());
        }

        fn all(&self) -> Vec<String> {
            self.0.lock().clone()
        }
    }

    impl AnswerSink for Sent {
        fn answer(self: Box<Self>, answer: Outgoing) {
            self.note(format!("answer {}", answer.outcome));
        }

        fn begin(self: Box<Self>, head: Outgoing) -> Box<dyn PartSink> {
            self.note(format!("head {}", head.outcome));
            self
        }
    }

    impl PartSink for Sent {
        fn part(&mut self, part: Bytes) -> Result<(), TooManyParts> {
            if self.all().len() > 1 {
                return Err(TooManyParts);
            }
            self.note(String::from_utf8_lossy(&part));
            Ok(())
        }

        fn end(self: Box<Self>, end: Outgoing) {
            self.note(format!("end {}", end.outcome));
        }
    }

    fn shutting_down() -> Outgoing {
        Outgoing::error(&RequestError::shutting_down(), &Correlation::default())
    }

    #[test]
    fn every_request_is_answered_exactly_once() {
        let sent = Sent::default();
        Responder::new(sent.clone()).answer(shutting_down());
        drop(Responder::new(sent.clone()));
        assert_eq!(sent.all(), ["answer shutting_down", "answer internal"]);
    }

    #[test]
    fn an_answer_in_parts_has_one_end() {
        let sent = Sent::default();
        let mut answer = Responder::new(sent.clone()).begin(shutting_down());
        assert_eq!(answer.part(Bytes::from_static(b"a")), Ok(()));
        assert_eq!(answer.part(Bytes::from_static(b"b")), Err(TooManyParts));
        answer.end(shutting_down());
        assert_eq!(sent.all(), ["head shutting_down", "a", "end shutting_down"]);
    }

    #[test]
    fn an_answer_that_is_given_up_after_its_head_ends_with_an_error() {
        let sent = Sent::default();
        drop(Responder::new(sent.clone()).begin(shutting_down()));
        assert_eq!(sent.all(), ["head shutting_down", "end internal"]);
    }
}
