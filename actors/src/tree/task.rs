//! Tasks that end with their owners.

use std::fmt;
use std::time::Duration;

/// Between a panic and the next try, so that one that panics at once takes little and says little.
const LASTING_REST: Duration = Duration::from_secs(1);

/// A task that ends with its owner.
#[derive(Debug)]
pub struct OwnedTask(tokio::task::JoinHandle<()>);

impl OwnedTask {
    pub fn spawn(task: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// One that is made anew after each panic: for work beside the requests, whose end nobody would notice.
    pub fn lasting<T: Future<Output = ()> + Send + 'static>(
        make: impl Fn() -> T + Send + 'static,
    ) -> Self {
        Self::spawn(async move {
            while (&mut Self::spawn(make()).0)
                .await
                .is_err_and(|end| end.is_panic())
            {
                tokio::time::sleep(LASTING_REST).await;
            }
        })
    }
}

impl Drop for OwnedTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Does something when it is dropped, unless it was disarmed: for a task whose owner must hear of its end even if that
/// was a panic.
pub struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub fn new(act: F) -> Self {
        Self(Some(act))
    }

    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(act) = self.0.take() {
            act();
        }
    }
}

impl<F: FnOnce()> fmt::Debug for OnDrop<F> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("OnDrop")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lasting_task_is_made_anew_after_a_panic_and_goes_with_its_owner() {
        let made = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&made);
        let task = OwnedTask::lasting(move || {
            let counted = Arc::clone(&counted);
            async move {
                assert!(
                    counted.fetch_add(1, Ordering::Relaxed) >= 2,
                    "the first two panic"
                );
                std::future::pending().await
            }
        });
        tokio::time::sleep(LASTING_REST * 10).await;
        assert_eq!(made.load(Ordering::Relaxed), 3);
        drop(task);
        tokio::time::sleep(LASTING_REST).await;
        assert_eq!(Arc::strong_count(&made), 1, "nothing is left of it");
    }
}
