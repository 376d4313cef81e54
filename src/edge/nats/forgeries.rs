//! Answers that nobody asked for: counted, and said once a minute for each subject.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beamline_contract::escape::OneLine;
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::error;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// It does not have the secret of any call.
    WrongSecret,
    /// The call was answered before, and its time is not over.
    SecondAnswer,
    /// It is what a router answers to a gateway.
    RoutersAnswer,
}

/// What was found on all connections of a router.
#[derive(Debug, Default)]
pub(crate) struct Forgeries {
    wrong_secret: AtomicU64,
    second_answer: AtomicU64,
    routers_answer: AtomicU64,
    /// Answers that came when nobody waited for them any more. That is no forgery.
    late: AtomicU64,
    said: Mutex<VecDeque<(Forgery, String, Instant)>>,
}

const SAY_EVERY: Duration = Duration::from_secs(60);
/// Subjects of which is remembered when they were named last.
const REMEMBERED: usize = 256;

impl Forgery {
    pub(crate) const ALL: [Self; 3] = [Self::WrongSecret, Self::SecondAnswer, Self::RoutersAnswer];

    /// As the label of a metric.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WrongSecret => "wrong_secret",
            Self::SecondAnswer => "second_answer",
            Self::RoutersAnswer => "routers_answer",
        }
    }
}

impl Forgeries {
    /// `subject` is what was called; of a wrong secret, the inbox that it came to.
    pub(super) fn found(&self, forgery: Forgery, subject: &str) {
        self.counter(forgery).fetch_add(1, Ordering::Relaxed);
        if !self.is_to_be_said(forgery, subject, Instant::now()) {
            return;
        }
        let subject = OneLine(subject).to_string();
        match forgery {
            Forgery::WrongSecret => error!(
                subject,
                code = "security_event",
                "an answer without the secret of a call was refused: somebody who may publish there guesses"
            ),
            Forgery::SecondAnswer => error!(
                subject,
                code = "security_event",
                "a call was answered twice, and the second answer was refused: two queue groups listen on its subject, \
                 or somebody answers for the extension"
            ),
            Forgery::RoutersAnswer => error!(
                subject,
                code = "security_event",
                "a call was answered with a router's own answer, which was refused: the extension had it sent to the \
                 call's inbox"
            ),
        }
    }

    pub(super) fn late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn late_answers(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    pub(crate) fn of(&self, forgery: Forgery) -> u64 {
        self.counter(forgery).load(Ordering::Relaxed)
    }

    pub(crate) fn all(&self) -> u64 {
        Forgery::ALL.map(|forgery| self.of(forgery)).iter().sum()
    }

    fn counter(&self, forgery: Forgery) -> &AtomicU64 {
        match forgery {
            Forgery::WrongSecret => &self.wrong_secret,
            Forgery::SecondAnswer => &self.second_answer,
            Forgery::RoutersAnswer => &self.routers_answer,
        }
    }

    /// Once a minute for each subject; in a flood of subjects those that are remembered.
    fn is_to_be_said(&self, forgery: Forgery, subject: &str, now: Instant) -> bool {
        let mut said = self.said.lock();
        said.retain(|(_, _, at)| now.duration_since(*at) < SAY_EVERY);
        let is_said =
            |(what, of, _): &(Forgery, String, Instant)| *what == forgery && of == subject;
        if said.len() >= REMEMBERED || said.iter().any(is_said) {
            return false;
        }
        said.push_back((forgery, subject.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_is_named_once_a_minute_and_all_are_counted() {
        let forgeries = Forgeries::default();
        let start = Instant::now();
        let said = |subject: &str, seconds| {
            forgeries.is_to_be_said(
                Forgery::SecondAnswer,
                subject,
                start + Duration::from_secs(seconds),
            )
        };
        assert!(said("a", 0) && said("b", 0));
        assert!(!said("a", 59) && said("a", 60) && !said("a", 61));
        for _ in 0..3 {
            forgeries.found(Forgery::WrongSecret, "a");
        }
        forgeries.late();
        let counted = Forgery::ALL.map(|forgery| forgeries.of(forgery));
        assert_eq!(
            (counted, forgeries.all(), forgeries.late_answers()),
            ([3, 0, 0], 3, 1)
        );
    }

    #[test]
    fn a_flood_of_subjects_is_not_a_flood_of_lines() {
        let forgeries = Forgeries::default();
        let now = Instant::now();
        let lines = (0..10_000)
            .filter(|number| {
                forgeries.is_to_be_said(Forgery::WrongSecret, &number.to_string(), now)
            })
            .count();
        assert_eq!(lines, REMEMBERED);
    }
}
