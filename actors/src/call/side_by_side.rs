//! The calls of one step, made at the same time.

use beamline_domain::request::failure::CallFailure;
use beamline_domain::request::run::{CallOrder, CallResult, is_fatal};
use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::CallScope;
use crate::invokers::Invokers;

/// Makes the calls of a step at the same time. One that decides about the request cuts off those
/// after it in the order of the policy; those before it are waited for, because theirs would be the
/// deciding one, whoever is faster.
pub(crate) async fn side_by_side(
    invokers: &Invokers,
    orders: &[CallOrder],
    scope: &CallScope,
) -> Vec<CallResult> {
    // Most steps make one call, which nothing cuts off.
    if let [order] = orders {
        return vec![invokers.call(order, scope).await];
    }
    let decided = watch::Sender::new(usize::MAX);
    let calls = orders
        .iter()
        .enumerate()
        .map(|(index, order)| unless_decided(invokers, order, scope, index, &decided));
    join_all(calls).await
}

async fn unless_decided(
    invokers: &Invokers,
    order: &CallOrder,
    scope: &CallScope,
    index: usize,
    decided: &watch::Sender<usize>,
) -> CallResult {
    let begun = Instant::now();
    let mut heard = decided.subscribe();
    let result = tokio::select! {
        // With both at hand, chance must not decide what the answer says of this call.
        biased;
        result = invokers.call(order, scope) => result,
        _ = heard.wait_for(|by| *by < index) => {
            return CallResult::ended(CallFailure::Cancelled, begun.elapsed());
        }
    };
    if is_fatal(&order.call, &result.outcome) {
        decided.send_modify(|by| *by = index.min(*by));
    }
    result
}
