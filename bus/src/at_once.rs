//! What a future gives without waiting.

use futures_util::FutureExt;

/// The output of a future that is ready, else `None`.
///
/// The scheduler gives each task a budget, and what Tokio has ready looks unready when that is
/// spent. A reader that takes a hundred messages in one go would find every queue full and every
/// channel empty, so the budget is left out.
pub fn at_once<F: Future>(future: F) -> Option<F::Output> {
    tokio::task::unconstrained(future).now_or_never()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// More than the budget of a task.
    const MANY: usize = 1000;

    #[tokio::test]
    async fn a_spent_budget_hides_nothing() {
        let (sender, mut receiver) = mpsc::channel(MANY);
        for number in 0..MANY {
            assert_eq!(at_once(sender.send(number)), Some(Ok(())));
        }
        for number in 0..MANY {
            assert_eq!(at_once(receiver.recv()), Some(Some(number)));
        }
        assert_eq!(at_once(receiver.recv()), None, "nothing more is there");
    }
}
