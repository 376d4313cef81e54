//! Messages on the control subjects that no replica of this router has sent, as far as anybody can
//! tell: counted, and said once a minute.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beamline_contract::escape::OneLine;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tracing::{error, warn};

use crate::edge::nats::Report;

/// What a message says that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Hint,
    Question,
    Answer,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Unsigned,
    /// The header or the body is none of a replica.
    Malformed,
    /// Sent at another time than now.
    Stale,
    UnknownKey,
    /// More came than are looked at in a second.
    Unchecked,
    WrongSignature,
    /// It was taken before.
    Replayed,
}

type Labels = [(&'static str, &'static str); 2];

/// As a metric: what came in, by what it is and why it was refused.
pub(crate) type RefusedMessages = Family<Labels, Counter>;

/// All that was refused.
#[derive(Debug)]
pub(super) struct Refusals {
    counts: RefusedMessages,
    all: AtomicU64,
    report: Mutex<Report>,
}

const SAY_EVERY: Duration = Duration::from_secs(60);

impl Kind {
    const ALL: [Self; 3] = [Self::Hint, Self::Question, Self::Answer];

    fn as_str(self) -> &'static str {
        match self {
            Self::Hint => "hint",
            Self::Question => "question",
            Self::Answer => "answer",
        }
    }
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::Unsigned,
        Self::Malformed,
        Self::Stale,
        Self::UnknownKey,
        Self::Unchecked,
        Self::WrongSignature,
        Self::Replayed,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::Unsigned => "unsigned",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::UnknownKey => "unknown_key",
            Self::Unchecked => "unchecked",
            Self::WrongSignature => "wrong_signature",
            Self::Replayed => "replayed",
        }
    }
}

impl Refusals {
    /// All counters are there from the start, at zero.
    pub(super) fn new() -> Self {
        let counts = RefusedMessages::default();
        for kind in Kind::ALL {
            for refusal in Refusal::ALL {
                let _ = counts.get_or_create(&labels(kind, refusal));
            }
        }
        Self {
            counts,
            all: AtomicU64::new(0),
            report: Mutex::new(Report::every(SAY_EVERY)),
        }
    }

    pub(super) fn found(&self, kind: Kind, refusal: Refusal, subject: &str) {
        self.counts.get_or_create(&labels(kind, refusal)).inc();
        self.all.fetch_add(1, Ordering::Relaxed);
        if self.report.lock().is_due() {
            say(kind, refusal, subject);
        }
    }

    pub(super) fn counts(&self) -> RefusedMessages {
        self.counts.clone()
    }

    pub(super) fn all(&self) -> u64 {
        self.all.load(Ordering::Relaxed)
    }
}

fn labels(kind: Kind, refusal: Refusal) -> Labels {
    [("kind", kind.as_str()), ("reason", refusal.as_str())]
}

fn say(kind: Kind, refusal: Refusal, subject: &str) {
    let kind = kind.as_str();
    let reason = refusal.as_str();
    let subject = OneLine(subject).to_string();
    match refusal {
        Refusal::Stale => warn!(
            kind,
            reason,
            subject,
            "a message between replicas was refused that was not sent just now: their clocks may be 30 s apart, or \
             somebody sends it again"
        ),
        Refusal::UnknownKey => warn!(
            kind,
            reason,
            subject,
            "a message between replicas was refused whose key is not known here: routers with another database share \
             this bus, this replica or another has not reached its database for a day, or somebody made it up"
        ),
        Refusal::Unchecked => warn!(
            kind,
            reason,
            subject,
            "more messages between replicas came than are looked at: somebody floods the control subjects"
        ),
        Refusal::Unsigned | Refusal::Malformed | Refusal::WrongSignature | Refusal::Replayed => {
            error!(
                kind,
                reason,
                subject,
                code = "security_event",
                "a message between replicas was refused that none of this router has sent like that: a replica of the \
             release before 0.2, or somebody else who may publish there"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_is_counted_under_its_name() {
        let refusals = Refusals::new();
        for _ in 0..2 {
            refusals.found(Kind::Answer, Refusal::Replayed, "a");
        }
        refusals.found(Kind::Hint, Refusal::Unsigned, "a");
        let count = |kind, refusal| {
            let counter = refusals.counts.get_or_create(&labels(kind, refusal));
            counter.get()
        };
        assert_eq!(count(Kind::Answer, Refusal::Replayed), 2);
        assert_eq!(count(Kind::Hint, Refusal::Replayed), 0);
        assert_eq!(
            (refusals.all(), count(Kind::Hint, Refusal::Unsigned)),
            (3, 1)
        );
    }
}
