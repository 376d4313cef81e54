//! How an operation of the contract is carried out, and what it waits for.

use std::sync::Arc;

use beamline_contract::admin::{self, Effect, Operation};
use beamline_contract::fields::{Fields, MissingField};
use beamline_contract::for_each_operation;
use tokio::task::spawn_blocking;

use super::caller::Caller;
use super::large::LARGE;
use super::refusal::Refusal;
use super::surroundings::Surroundings;

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// For nothing but memory, and at most for the word of other replicas.
    Nobody,
    Extensions,
    Store,
}

/// An operation of the contract that this router carries out.
pub(super) trait Perform: Operation {
    const WAITS_FOR: WaitsFor;

    /// The request in a body. A field of another type than it should have counts as absent, unless
    /// it is said otherwise.
    fn read(body: &Fields) -> Result<Self, Refusal> {
        body.read()
            .map_err(|MissingField(field)| Refusal::missing_text(&field))
    }

    fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> impl Future<Output = Result<Self::Answer, Refusal>> + Send;
}

/// Of an operation that does not exist nothing is known; it is refused at once.
pub(super) fn waits_for(name: &str) -> WaitsFor {
    entry(name).map_or(WaitsFor::Nobody, |entry| entry.waits_for)
}

/// Whether the registry may be another one after it.
pub(super) fn writes(name: &str) -> bool {
    entry(name).is_some_and(|entry| entry.effect == Effect::Writes)
}

struct Entry {
    name: &'static str,
    effect: Effect,
    waits_for: WaitsFor,
}

fn entry(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| entry.name == name)
}

macro_rules! table {
    ($($operation:ident $name:literal $role:ident $reach:ident $effect:ident $answer:ident,)*) => {
        const TABLE: &[Entry] = &[$(Entry {
            name: $name,
            effect: Effect::$effect,
            waits_for: <admin::$operation as Perform>::WAITS_FOR,
        }),*];
    };
}

for_each_operation!(table);

/// What looks at every extension, on a thread of its own: requests need the others meanwhile.
pub(super) async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    blocking(work).await
}

/// What looks at a body of so many bytes: on a thread of its own if that may take long.
pub(super) async fn by_size<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    if bytes <= LARGE {
        return work();
    }
    blocking(work).await
}

pub(super) async fn blocking<T: Send + 'static, E: From<Refusal> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    spawn_blocking(work)
        .await
        .map_err(|lost| Refusal::internal(&lost.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_writes_or_reads_the_database_waits_for_it() {
        let waits_for = |kind| {
            let entries = TABLE.iter().filter(|entry| entry.waits_for == kind);
            entries.map(|entry| entry.name).collect::<Vec<_>>()
        };
        let store = [
            "create_extension",
            "update_extension",
            "delete_extension",
            "enable_extension",
            "disable_extension",
            "put_policy",
            "delete_policy",
            "reload",
            "set_breaker",
            "reset_breaker",
            "create_key",
            "rotate_key",
            "revoke_key",
            "list_audit",
            "verify_audit",
            "prune_audit",
        ];
        assert_eq!(waits_for(WaitsFor::Store), store);
        assert_eq!(waits_for(WaitsFor::Extensions), ["dry_run_pipeline"]);
        assert_eq!(waits_for(WaitsFor::Nobody).len(), 12, "all the rest");
        let reads = ["reload", "list_audit", "verify_audit"];
        assert!(
            store
                .iter()
                .all(|name| writes(name) || reads.contains(name))
        );
    }
}
