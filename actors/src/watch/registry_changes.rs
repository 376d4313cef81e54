//! Tells the invokers when the registry serves another revision: extensions may be gone, or reset
//! by an operator.

use crate::invokers::Invokers;

/// Looks for as long as it is not dropped.
pub(super) async fn follow(invokers: Invokers) {
    let mut served = invokers.registry().served();
    // What changed before this began is looked at as well.
    invokers.prune();
    while served.changed().await.is_ok() {
        invokers.prune();
    }
}
