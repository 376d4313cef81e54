//! The retry budgets of this router: one for each extension that was called, and one for all of
//! them together. Whoever makes another attempt asks here, so that layers of retries cannot
//! multiply.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use crate::metrics::{Metrics, RefusedRetryLabel, RetryLabel};
use beamline_domain::target::retry_budget::{Again, Allowance, RetryBudget, RetryTokens};

#[derive(Debug)]
pub struct RetryBudgets {
    router: Mutex<RetryBudget>,
    extensions: RwLock<HashMap<Arc<str>, Mutex<RetryBudget>>>,
    metrics: Metrics,
}

impl RetryBudgets {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let router = Mutex::new(RetryBudget::new(Allowance::ROUTER, now()));
        Self {
            router,
            extensions: RwLock::default(),
            metrics,
        }
    }

    /// A call was sent that is no retry.
    pub(crate) fn attempted(&self, id: &Arc<str>) {
        let now = now();
        self.router.lock().attempted(now);
        self.of(id, |budget| budget.attempted(now));
    }

    /// Forgets the extensions that are gone.
    pub(crate) fn retain(&self, known: impl Fn(&str) -> bool) {
        self.extensions.write().retain(|id, _| known(id));
    }

    fn of<T>(&self, id: &str, use_it: impl FnOnce(&mut RetryBudget) -> T) -> T {
        if let Some(budget) = self.extensions.read().get(id) {
            return use_it(&mut budget.lock());
        }
        let mut extensions = self.extensions.write();
        let new = || Mutex::new(RetryBudget::new(Allowance::EXTENSION, now()));
        use_it(extensions.entry(id.into()).or_insert_with(new).get_mut())
    }

    /// The name of the budget that is empty, if one is.
    fn try_take(&self, again: Again<'_>) -> Result<(), &'static str> {
        let now = now();
        match again {
            Again::Retry(id) => {
                if !self.of(id, |budget| budget.take(now)) {
                    return Err("extension");
                }
                let granted = self.router.lock().take(now);
                if !granted {
                    self.of(id, |budget| budget.give_back(now));
                }
                if granted { Ok(()) } else { Err("router") }
            }
            Again::Takeover(_) => Ok(()),
            Again::Fallback(_) => {
                if self.router.lock().take(now) {
                    Ok(())
                } else {
                    Err("router")
                }
            }
        }
    }
}

impl RetryTokens for RetryBudgets {
    fn take(&self, again: Again<'_>) -> bool {
        let (kind, id) = match again {
            Again::Retry(id) => ("retry", id),
            Again::Fallback(id) | Again::Takeover(id) => ("fallback", id),
        };
        match self.try_take(again) {
            Ok(()) => {
                let extension_id = self.metrics.extension(id);
                let label = RetryLabel { extension_id, kind };
                self.metrics.retries.of(&label).inc();
                true
            }
            Err(budget) => {
                let label = RefusedRetryLabel {
                    extension_id: self.metrics.extension(id),
                    kind,
                    budget,
                };
                self.metrics.retries_refused.of(&label).inc();
                false
            }
        }
    }
}

/// The runtime's clock, so that tests can pause it.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(retries: &RetryBudgets, again: Again<'_>) -> usize {
        (0..1_000).take_while(|_| retries.take(again)).count()
    }

    #[test]
    fn a_retry_takes_from_both_budgets_or_from_none() {
        let metrics = Metrics::default();
        let retries = RetryBudgets::new(metrics.clone());
        assert_eq!(
            [
                taken(&retries, Again::Retry("a")),
                taken(&retries, Again::Retry("b"))
            ],
            [30, 30]
        );
        assert_eq!(
            [
                taken(&retries, Again::Retry("c")),
                taken(&retries, Again::Retry("d"))
            ],
            [30, 10]
        );
        // What the router refused, d has still.
        (0..100).for_each(|_| retries.attempted(&"e".into()));
        assert_eq!(taken(&retries, Again::Retry("d")), 10);
        let refused = |id: &str, budget| {
            let label = RefusedRetryLabel {
                extension_id: id.into(),
                kind: "retry",
                budget,
            };
            metrics.retries_refused.of(&label).get()
        };
        assert_eq!(
            (
                refused("a", "extension"),
                refused("d", "router"),
                refused("d", "extension")
            ),
            (1, 2, 0)
        );
        let made = RetryLabel {
            extension_id: "d".into(),
            kind: "retry",
        };
        assert_eq!(metrics.retries.of(&made).get(), 20);
    }

    #[test]
    fn a_fallback_asks_the_router_alone() {
        let retries = RetryBudgets::new(Metrics::default());
        assert_eq!(taken(&retries, Again::Retry("p1")), 30);
        assert_eq!(taken(&retries, Again::Fallback("p1")), 70);
        assert!(!retries.take(Again::Retry("p2")), "the router's is empty");
    }

    #[test]
    fn what_is_gone_starts_anew() {
        let retries = RetryBudgets::new(Metrics::default());
        assert_eq!(taken(&retries, Again::Retry("a")), 30);
        retries.retain(|id| id != "a");
        assert_eq!(taken(&retries, Again::Retry("a")), 30);
    }
}
