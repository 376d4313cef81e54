//! Which calls wait for an answer, and which have lately ended: an answer that nobody waits for is
//! late, a second one, or nobody's.

use std::collections::VecDeque;
use std::sync::Arc;

use async_nats::{Message, PublishErrorKind};
use beamline_bus::Secret;
use foldhash::{HashMap, HashSet};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How a call ends.
#[derive(Debug)]
pub(in crate::edge::nats) enum Reply {
    Answer(Message),
    /// The server did not pass it on: this router may not publish to its subject.
    Denied,
    /// The client did not take it.
    Unsent(PublishErrorKind),
}

/// Who waits for the answer to one call.
#[derive(Debug)]
pub(super) struct Caller {
    /// Where its call went.
    pub(super) called: Arc<str>,
    /// When its time is over. Until then a second answer is one too many.
    pub(super) until: Instant,
    /// Several may answer, and at any time.
    pub(super) many: bool,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// Whose answer it is.
#[derive(Debug)]
pub(super) enum Found {
    Waits(oneshot::Sender<Reply>),
    /// One of many that were asked for.
    Again,
    /// Of a call that has ended.
    Late,
    /// Of a call that was answered, in its time.
    Second {
        called: Arc<str>,
    },
    /// No call was given this secret, or it ended long ago.
    Nobody,
}

/// Looked up for each call several times. Nobody else chooses what stands in its tables, so that
/// they need no hash that resists floods.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: HashMap<Secret, Caller>,
    ended: HashMap<Secret, Ended>,
    in_order: VecDeque<Secret>,
    /// What was called.
    told: HashSet<Arc<str>>,
}

/// A call that waits no more.
#[derive(Debug)]
struct Ended {
    called: Arc<str>,
    end: End,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Answered { until: Instant },
    Unanswered,
    Many,
}

/// Calls that have ended and are remembered, about a megabyte of them. An answer to one before
/// them counts as nobody's: where a connection has 1,000 calls a second, one that comes eight
/// seconds late.
const REMEMBERED: usize = 8_192;
/// More subjects than are called over one connection.
const MOST_TOLD: usize = 1_000;

impl Calls {
    pub(super) fn begin(&mut self, secret: Secret, caller: Caller) {
        let is_ours = caller.called.is_empty();
        if !is_ours && !self.told.contains(&caller.called) && self.told.len() < MOST_TOLD {
            self.told.insert(Arc::clone(&caller.called));
        }
        self.waiting.insert(secret, caller);
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, secret: Secret, now: Instant) -> Found {
        if let Some(caller) = self.waiting.remove(&secret) {
            let until = caller.until;
            let end = End::Answered { until };
            self.remember(
                secret,
                caller.called,
                if caller.many { End::Many } else { end },
            );
            return Found::Waits(caller.reply);
        }
        let Some(ended) = self.ended.get(&secret) else {
            return Found::Nobody;
        };
        match ended.end {
            End::Many => Found::Again,
            End::Answered { until } if now < until => Found::Second {
                called: Arc::clone(&ended.called),
            },
            End::Answered { .. } | End::Unanswered => Found::Late,
        }
    }

    /// Its caller waits no more.
    pub(super) fn given_up(&mut self, secret: Secret) {
        if let Some(caller) = self.waiting.remove(&secret) {
            let many = caller.many;
            self.remember(
                secret,
                caller.called,
                if many { End::Many } else { End::Unanswered },
            );
        }
    }

    /// Who waits for the answer to a call that was not sent.
    pub(super) fn unsent(&mut self, secret: Secret) -> Option<oneshot::Sender<Reply>> {
        let caller = self.waiting.remove(&secret)?;
        self.remember(secret, caller.called, End::Unanswered);
        Some(caller.reply)
    }

    /// Who waits for answers from this subject, which will not come.
    pub(super) fn denied(&mut self, subject: &str) -> Vec<oneshot::Sender<Reply>> {
        let is_denied = |_: &Secret, caller: &mut Caller| &*caller.called == subject;
        let denied: Vec<_> = self.waiting.extract_if(is_denied).collect();
        let mut replies = Vec::new();
        for (secret, caller) in denied {
            // The permission may have been withdrawn when they were on their way.
            self.remember(secret, caller.called, End::Unanswered);
            replies.push(caller.reply);
        }
        replies
    }

    pub(super) fn end_all(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn open(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn told(&self) -> Vec<Arc<str>> {
        self.told.iter().map(Arc::clone).collect()
    }

    fn remember(&mut self, secret: Secret, called: Arc<str>, end: End) {
        self.ended.insert(secret, Ended { called, end });
        self.in_order.push_back(secret);
        if self.in_order.len() > REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIME: Duration = Duration::from_secs(2);

    fn begin(calls: &mut Calls, many: bool) -> (Secret, oneshot::Receiver<Reply>) {
        let (reply, answer) = oneshot::channel();
        let secret = Secret::random();
        let caller = Caller {
            called: "x".into(),
            until: Instant::now() + TIME,
            many,
            reply,
        };
        calls.begin(secret, caller);
        (secret, answer)
    }

    #[test]
    fn an_answer_is_found_once_and_a_second_one_is_told_from_a_late_one() {
        let mut calls = Calls::default();
        let now = Instant::now();
        let (secret, _answer) = begin(&mut calls, false);
        assert!(matches!(calls.answered(secret, now), Found::Waits(_)));
        let second = calls.answered(secret, now);
        assert!(matches!(second, Found::Second { called } if &*called == "x"));
        assert!(matches!(
            calls.answered(secret, now + 2 * TIME),
            Found::Late
        ));
        // Its caller goes away after the answer: nothing changes.
        calls.given_up(secret);
        assert!(matches!(calls.answered(secret, now), Found::Second { .. }));
    }

    #[test]
    fn an_answer_to_a_call_that_was_given_up_is_late_and_no_more() {
        let mut calls = Calls::default();
        let (secret, answer) = begin(&mut calls, false);
        drop(answer);
        calls.given_up(secret);
        for _ in 0..2 {
            assert!(matches!(
                calls.answered(secret, Instant::now()),
                Found::Late
            ));
        }
    }

    #[test]
    fn of_many_that_were_asked_each_may_answer_at_any_time() {
        let mut calls = Calls::default();
        let (secret, _answer) = begin(&mut calls, true);
        assert!(matches!(
            calls.answered(secret, Instant::now()),
            Found::Waits(_)
        ));
        assert!(matches!(
            calls.answered(secret, Instant::now()),
            Found::Again
        ));
        let (secret, _answer) = begin(&mut calls, true);
        calls.given_up(secret);
        assert!(matches!(
            calls.answered(secret, Instant::now()),
            Found::Again
        ));
    }

    #[test]
    fn nobody_is_found_by_a_secret_that_was_not_given() {
        let mut calls = Calls::default();
        let (_secret, _answer) = begin(&mut calls, false);
        assert!(matches!(
            calls.answered(Secret::random(), Instant::now()),
            Found::Nobody
        ));
    }

    #[test]
    fn what_has_ended_does_not_pile_up() {
        let mut calls = Calls::default();
        let (first, _) = begin(&mut calls, false);
        calls.given_up(first);
        for _ in 0..2 * REMEMBERED {
            let (secret, _) = begin(&mut calls, false);
            calls.given_up(secret);
        }
        assert_eq!(
            (calls.ended.len(), calls.in_order.len()),
            (REMEMBERED, REMEMBERED)
        );
        assert!(matches!(
            calls.answered(first, Instant::now()),
            Found::Nobody
        ));
    }
}
