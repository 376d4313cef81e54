//! "How are your breakers?"

use std::sync::Arc;
use std::time::SystemTime;

use async_nats::Message;
use beamline_actors::targets::TargetState;
use beamline_contract::control::{BREAKERS, BreakerStatus, BreakersQuestion, ReplicaStatus};
use beamline_contract::record::ExtensionRecord;
use beamline_domain::target::breaker::Mode;
use tokio::task::spawn_blocking;

use super::Shared;
use super::questions::{FromReplica, ask, send_answer};

/// Breakers that each lists.
const MOST_BREAKERS: usize = 1_000;

impl FromReplica for ReplicaStatus {
    fn replica_id(&self) -> &str {
        &self.replica_id
    }
}

/// What all replicas say that answer in time; this one first.
pub(super) async fn gather(shared: &Arc<Shared>, question: BreakersQuestion) -> Vec<ReplicaStatus> {
    let others = ask(shared, BREAKERS, &question).await;
    // What this replica says does not depend on the bus. It is looked at last: the others have
    // had their time, too.
    let own = status_apart(shared, question).await;
    own.into_iter().chain(others).collect()
}

/// `name` is that of the question.
pub(super) async fn answer(shared: &Arc<Shared>, name: &str, message: Message) {
    let question = match message.payload.len() {
        0 => Ok(BreakersQuestion::default()),
        _ => serde_json::from_slice(&message.payload),
    };
    let Ok(question) = question else { return };
    if let Some(status) = status_apart(shared, question).await {
        send_answer(shared, name, message.reply, &status).await;
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
