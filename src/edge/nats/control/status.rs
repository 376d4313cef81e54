//! "How are your breakers?": every replica answers by itself, and who asks collects what comes in a
//! short time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_nats::Message;
use beamline_actors::targets::TargetState;
use beamline_contract::control::{BREAKERS, BreakerStatus, BreakersQuestion, ReplicaStatus};
use beamline_contract::record::ExtensionRecord;
use beamline_domain::target::breaker::Mode;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::envelope::Binding;
use super::refusals::{Kind, Refusal};
use super::{Fleet, SEND_LIMIT, Shared};
use crate::admin::Replicas;

/// Who has not answered by then is not counted.
const GATHER: Duration = Duration::from_millis(300);
/// Answers of so many replicas are read, and breakers that each lists.
const MOST_REPLICAS: usize = 200;
const MOST_BREAKERS: usize = 1_000;

impl Replicas for Fleet {
    fn breakers(&self, extension_id: Option<&str>) -> BoxFuture<'_, Vec<ReplicaStatus>> {
        let extension_id = extension_id.map(str::to_owned);
        self.gather(BreakersQuestion { extension_id }).boxed()
    }
}

impl Fleet {
    /// What all replicas say that answer in time; this one first.
    async fn gather(&self, question: BreakersQuestion) -> Vec<ReplicaStatus> {
        let shared = &self.shared;
        let mut answers = BTreeMap::new();
        let deadline = Instant::now() + GATHER;
        let _ = timeout_at(deadline, ask(shared, &question, &mut answers)).await;
        // What this replica says does not depend on the bus. It is looked at last: the others have
        // had their time, too.
        status_apart(shared, question)
            .await
            .into_iter()
            .chain(answers.into_values())
            .collect()
    }
}

/// Collects for as long as it is not dropped.
async fn ask(
    shared: &Shared,
    question: &BreakersQuestion,
    answers: &mut BTreeMap<String, ReplicaStatus>,
) {
    if !shared.connection.is_connected() {
        return;
    }
    let client = shared.connection.client();
    let inbox = shared.connection.new_inbox();
    let body = serde_json::to_vec(question).unwrap_or_default();
    let subject = shared.subject(BREAKERS);
    let binding = Binding {
        subject: &subject,
        reply: &inbox,
        question: "",
    };
    let Some(stamp) = shared.signatures.stamp(binding, &body) else {
        return;
    };
    let Ok(mut subscription) = client.subscribe(inbox.clone()).await else {
        return;
    };
    let asked = client.publish_with_reply_and_headers(subject, inbox, stamp.headers, body.into());
    if asked.await.is_err() {
        return;
    }
    while let Some(message) = subscription.next().await {
        // Nobody listens to control subjects, not even this replica.
        if message.status.is_some() {
            continue;
        }
        take_answer(shared, &stamp.name, &message, answers);
    }
}

/// Of each replica the first one.
fn take_answer(
    shared: &Shared,
    question: &str,
    message: &Message,
    answers: &mut BTreeMap<String, ReplicaStatus>,
) {
    let signatures = &shared.signatures;
    let Some(sender) = signatures.heard(Kind::Answer, message, question) else {
        return;
    };
    if answers.contains_key(&sender.replica) {
        signatures.refuse(Kind::Answer, Refusal::Replayed, &message.subject);
        return;
    }
    let Ok(answer) = serde_json::from_slice::<ReplicaStatus>(&message.payload) else {
        return;
    };
    if answer.replica_id == sender.replica && answers.len() < MOST_REPLICAS {
        answers.insert(sender.replica, answer);
    }
}

/// `name` is that of the question.
pub(super) async fn answer(shared: &Arc<Shared>, name: &str, message: Message) {
    let Some(reply) = shared.replies.of_router(message.reply) else {
        return;
    };
    let question = match message.payload.len() {
        0 => Ok(BreakersQuestion::default()),
        _ => serde_json::from_slice(&message.payload),
    };
    let Ok(question) = question else { return };
    let Some(status) = status_apart(shared, question).await else {
        return;
    };
    let Ok(body) = serde_json::to_vec(&status) else {
        return;
    };
    let binding = Binding {
        subject: &reply,
        reply: "",
        question: name,
    };
    let Some(stamp) = shared.signatures.stamp(binding, &body) else {
        return;
    };
    let client = shared.connection.client();
    let sending = client.publish_with_headers(reply, stamp.headers, body.into());
    if !matches!(timeout(SEND_LIMIT, sending).await, Ok(Ok(()))) {
        tracing::debug!("an answer to another replica was not sent");
    }
}

/// It looks at every extension, on a thread of its own: requests need the others meanwhile. Nothing
/// while the runtime ends.
async fn status_apart(shared: &Arc<Shared>, question: BreakersQuestion) -> Option<ReplicaStatus> {
    let shared = Arc::clone(shared);
    spawn_blocking(move || shared.status(&question)).await.ok()
}

impl Shared {
    fn status(&self, question: &BreakersQuestion) -> ReplicaStatus {
        let snapshot = self.registry.snapshot();
        let lines = |extension: &ExtensionRecord| self.lines(extension);
        let mut breakers: Vec<BreakerStatus> = match &question.extension_id {
            Some(id) => snapshot
                .extension(id)
                .into_iter()
                .flat_map(|extension| lines(extension))
                .collect(),
            None => {
                let all = snapshot
                    .extensions()
                    .iter()
                    .filter(|extension| self.may_be_open(extension));
                all.flat_map(|extension| lines(extension))
                    .filter(|line| line.state != "closed")
                    .collect()
            }
        };
        let omitted = breakers.len().saturating_sub(MOST_BREAKERS) as u64;
        breakers.truncate(MOST_BREAKERS);
        ReplicaStatus {
            replica_id: self.replica_id.clone(),
            revision: snapshot.revision(),
            breakers,
            omitted,
        }
    }

    /// Nearly always false where there are very many extensions, and cheaper than their lines.
    fn may_be_open(&self, extension: &ExtensionRecord) -> bool {
        extension.breaker_operator.is_some() || self.invokers.find(&extension.id).is_some()
    }

    /// The extension as a whole, and each of its targets that was called here.
    fn lines(&self, extension: &ExtensionRecord) -> Vec<BreakerStatus> {
        let mode = Mode::of(extension.breaker_operator.as_ref(), SystemTime::now());
        let line = |subject: Option<&str>, state: &str, resets| BreakerStatus {
            extension_id: extension.id.clone(),
            subject: subject.map(str::to_owned),
            state: state.to_owned(),
            resets,
        };
        let Some(invoker) = self.invokers.find(&extension.id) else {
            // Nobody has called it here: there is nothing that could be open or closed.
            let state = if matches!(mode, Mode::ForcedOpen(_)) {
                "open"
            } else {
                "closed"
            };
            return vec![line(None, state, extension.breaker_resets())];
        };
        let whole = line(
            None,
            mode.effective(invoker.breakers(extension).whole.state),
            invoker.resets(),
        );
        let target = |target: &Arc<TargetState>| {
            line(
                Some(&target.subject),
                mode.effective(target.breaker().state),
                invoker.resets(),
            )
        };
        std::iter::once(whole)
            .chain(invoker.targets().iter().map(target))
            .collect()
    }
}
