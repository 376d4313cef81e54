//! What replicas say to each other is signed with a key that only they have, and counts once and
//! for a short time. So nobody else on the bus is heard as one of them, whatever they have read
//! there.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use async_nats::{HeaderMap, Message};
use beamline_actors::registry::Registry;
use beamline_contract::header::ROUTER_FLEET;
use beamline_contract::time::since_1970;
use beamline_domain::fleet::{FleetKeys, Seen, Sight};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::allowance::Allowance;
use super::envelope::{Binding, Envelope, name};
use super::refusals::{Kind, Refusal, Refusals, RefusedMessages};
use crate::edge::nats::queue::OVERLAP;

/// Signs for this replica and checks what others have signed.
#[derive(Debug)]
pub(super) struct Signatures {
    /// Has the keys.
    registry: Registry,
    replica_id: String,
    /// Of the last message of this replica.
    sequence: AtomicU64,
    taken: Mutex<Taken>,
    checks: Mutex<Allowance>,
    refusals: Refusals,
}

#[derive(Debug, Default)]
struct Taken {
    seen: Seen,
    /// Until then a message may come twice, without anybody's fault.
    twice_until: Option<Instant>,
}

/// What goes with the body of a message of this replica.
#[derive(Debug)]
pub(super) struct Stamp {
    pub(super) headers: HeaderMap,
    /// No other message has it.
    pub(super) name: String,
}

/// A message of another replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) replica: String,
    /// Of the message.
    pub(super) name: String,
}

/// A check costs some microseconds. True replicas stay far below.
const CHECKS_A_SECOND: u32 = 10_000;
/// A hint is a few hundred bytes, and so is a question; an answer lists its breakers.
const LARGEST: usize = 4 * 1024;
const LARGEST_ANSWER: usize = 1024 * 1024;

impl Signatures {
    pub(super) fn new(registry: Registry, replica_id: &str) -> Self {
        Self {
            registry,
            replica_id: replica_id.to_owned(),
            sequence: AtomicU64::new(0),
            taken: Mutex::default(),
            checks: Mutex::new(Allowance::of(CHECKS_A_SECOND)),
            refusals: Refusals::new(),
        }
    }

    /// Nothing without a key: what is not signed, nobody hears.
    pub(super) fn stamp(&self, binding: Binding<'_>, body: &[u8]) -> Option<Stamp> {
        let now = since_1970(SystemTime::now());
        let snapshot = self.registry.snapshot();
        let key = snapshot.fleet_keys().signing(now)?;
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        let replica = &self.replica_id;
        let header = binding.sign(key, replica, now, sequence, body)?;
        let mut headers = HeaderMap::new();
        headers.insert(ROUTER_FLEET, header);
        Some(Stamp {
            headers,
            name: name(replica, sequence),
        })
    }

    /// Who has sent a message, if that is another replica and it was not heard before. Everything
    /// else is counted, unless there is no key yet or it is this replica's own. `question` is the
    /// name of what it should answer.
    pub(super) fn heard(&self, kind: Kind, message: &Message, question: &str) -> Option<Sender> {
        let snapshot = self.registry.snapshot();
        if snapshot.fleet_keys().is_empty() {
            return None;
        }
        let now = since_1970(SystemTime::now());
        let found = self
            .examine(kind, message, question, snapshot.fleet_keys(), now)
            .and_then(|envelope| self.take(kind, envelope, now));
        match found {
            Ok(sender) => sender.filter(|sender| sender.replica != self.replica_id),
            Err(refusal) => {
                self.refuse(kind, refusal, &message.subject);
                None
            }
        }
    }

    pub(super) fn refuse(&self, kind: Kind, refusal: Refusal, subject: &str) {
        self.refusals.found(kind, refusal, subject);
    }

    /// Two subscriptions have heard the same for a while, and the second is read from now on.
    pub(super) fn expect_repeats(&self) {
        self.taken.lock().twice_until = Some(Instant::now() + OVERLAP);
    }

    pub(super) fn refused(&self) -> RefusedMessages {
        self.refusals.counts()
    }

    pub(super) fn all_refused(&self) -> u64 {
        self.refusals.all()
    }

    fn examine<'m>(
        &self,
        kind: Kind,
        message: &'m Message,
        question: &str,
        keys: &FleetKeys,
        now: u64,
    ) -> Result<Envelope<'m>, Refusal> {
        let headers = message.headers.as_ref();
        let header = headers.and_then(|headers| headers.get(ROUTER_FLEET));
        let binding = Binding {
            subject: &message.subject,
            reply: match kind {
                Kind::Question => message.reply.as_deref().unwrap_or_default(),
                Kind::Hint | Kind::Answer => "",
            },
            question,
        };
        let largest = match kind {
            Kind::Hint | Kind::Question => LARGEST,
            Kind::Answer => LARGEST_ANSWER,
        };
        if message.payload.len() > largest {
            return Err(Refusal::Malformed);
        }
        let header = header.map(|header| header.as_str());
        let may_check = || self.checks.lock().is_left();
        binding.check(header, &message.payload, keys, now, may_check)
    }

    /// Nothing when it came twice without anybody's fault. An answer belongs to one question, where
    /// who asks knows which came already.
    fn take(
        &self,
        kind: Kind,
        envelope: Envelope<'_>,
        now: u64,
    ) -> Result<Option<Sender>, Refusal> {
        let Envelope {
            replica,
            sent_at,
            sequence,
            ..
        } = envelope;
        let sender = Sender {
            replica: replica.to_owned(),
            name: name(replica, sequence),
        };
        if kind == Kind::Answer {
            return Ok(Some(sender));
        }
        let mut taken = self.taken.lock();
        match taken.seen.take(replica, sequence, sent_at, now) {
            Sight::New => Ok(Some(sender)),
            Sight::Again
                if taken
                    .twice_until
                    .is_some_and(|until| Instant::now() < until) =>
            {
                Ok(None)
            }
            Sight::Again => Err(Refusal::Replayed),
            Sight::Crowded => Err(Refusal::Unchecked),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use beamline_actors::metrics::Metrics;
    use beamline_actors::registry::RegistrySettings;
    use beamline_actors::testing::{MemoryStore, content};
    use beamline_domain::fleet::FleetKey;
    use beamline_domain::snapshot::Content;

    use super::*;
    use crate::keys::fleet_key;

    const SUBJECT: &str = "beamline.router.v1.control.breakers";
    const INBOX: &str = "_INBOX.beamline_router.x";

    fn key() -> FleetKey {
        fleet_key(1, 0).expect("random numbers")
    }

    fn replica(name: &str, keys: &[FleetKey]) -> Signatures {
        let content = Content {
            fleet_keys: keys.to_vec().into(),
            ..content(&[], &[])
        };
        let store = MemoryStore::new(content.clone());
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let served = Some((content, true));
        let registry = Registry::new(store, settings, Metrics::default(), served);
        Signatures::new(registry, name)
    }

    fn message(subject: &str, reply: Option<&str>, stamp: &Stamp) -> Message {
        Message {
            subject: subject.into(),
            reply: reply.map(Into::into),
            payload: "{}".into(),
            headers: Some(stamp.headers.clone()),
            status: None,
            description: None,
            length: 0,
        }
    }

    fn question(asks: &Signatures) -> (Stamp, Message) {
        let binding = Binding {
            subject: SUBJECT,
            reply: INBOX,
            question: "",
        };
        let stamp = asks.stamp(binding, b"{}").expect("a key");
        let message = message(SUBJECT, Some(INBOX), &stamp);
        (stamp, message)
    }

    #[test]
    fn a_question_is_heard_once_and_its_answer_is_for_it_alone() {
        let keys = [key()];
        let asks = replica("r1", &keys);
        let answers = replica("r2", &keys);
        let (stamp, asked) = question(&asks);
        assert_eq!(asks.heard(Kind::Question, &asked, ""), None, "its own");
        let sender = answers.heard(Kind::Question, &asked, "").expect("heard");
        assert_eq!((&*sender.replica, &sender.name), ("r1", &stamp.name));
        assert_eq!((asks.all_refused(), answers.all_refused()), (0, 0));
        assert_eq!(answers.heard(Kind::Question, &asked, ""), None);
        assert_eq!(answers.all_refused(), 1);

        let binding = Binding {
            subject: INBOX,
            reply: "",
            question: &sender.name,
        };
        let answer = answers.stamp(binding, b"{}").expect("a key");
        let answer = message(INBOX, None, &answer);
        let (other, _) = question(&asks);
        assert_eq!(asks.heard(Kind::Answer, &answer, &other.name), None);
        assert_eq!(asks.all_refused(), 1);
        let heard = asks.heard(Kind::Answer, &answer, &stamp.name);
        assert_eq!(heard.expect("heard").replica, "r2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_two_subscriptions_hear_is_no_replay() {
        let keys = [key()];
        let hears = replica("r2", &keys);
        let (_, asked) = question(&replica("r1", &keys));
        assert!(hears.heard(Kind::Question, &asked, "").is_some());
        hears.expect_repeats();
        assert_eq!(hears.heard(Kind::Question, &asked, ""), None);
        assert_eq!(hears.all_refused(), 0);
        tokio::time::sleep(OVERLAP).await;
        assert_eq!(hears.heard(Kind::Question, &asked, ""), None);
        assert_eq!(hears.all_refused(), 1);
    }

    #[test]
    fn without_a_key_nothing_is_said_and_nothing_heard() {
        let (_, asked) = question(&replica("r1", &[key()]));
        let bare = replica("r2", &[]);
        assert_eq!(bare.heard(Kind::Question, &asked, ""), None);
        assert_eq!(bare.all_refused(), 0);
        assert!(bare.stamp(Binding::default(), b"").is_none());
    }
}
