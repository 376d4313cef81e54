//! When a service is whole again after a fault.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Stage;
use crate::load::Sent;
use crate::traffic::FALLBACK;

/// So long must nothing fail for the service to count as whole.
const QUIET: Duration = Duration::from_millis(1_500);
/// An answer later than this is a sign of a fault by itself.
const USUAL: Duration = Duration::from_secs(1);
/// Beyond the bound, for a machine that others use too; and how much longer is waited before it is
/// given up.
const SLACK: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(100);

/// Served as if nothing had been: nothing degraded, nobody's fallback.
pub(super) fn whole(sent: &Sent) -> bool {
    let by_spare = sent.class == &FALLBACK
        && sent
            .answers
            .iter()
            .any(|answer| answer.provider.as_deref() != Some("model"));
    sent.served() && !by_spare && !sent.answers.iter().any(|answer| answer.degraded)
}

impl Stage {
    /// Waits until the service is whole, measures how long that took from the end of the fault, and
    /// watches on for a while (I8).
    pub(crate) async fn recovers(&mut self, bound: Duration) {
        let healed = self.phases.healed.unwrap_or_else(Instant::now);
        let limit = healed + bound + QUIET + PATIENCE;
        loop {
            sleep(POLL).await;
            let now = Instant::now();
            let failed = self.last_failure(healed);
            let since = failed.map_or(healed, |at| at.max(healed));
            let enough = self.load.since(since, |sent| {
                sent.iter().filter(|sent| whole(sent)).count() >= 10
            });
            let quiet = now.saturating_duration_since(since) > QUIET && enough;
            if quiet && self.open_breakers().await.is_empty() {
                self.phases.recovery = Some(since - healed);
                break;
            }
            if now > limit {
                let open = self.open_breakers().await;
                let failed = |sent: &&Sent| !sent.answers.is_empty() && !whole(sent);
                let last = self
                    .load
                    .since(healed, |sent| sent.iter().rev().find(failed).cloned());
                self.check("I8", false, || {
                    format!(
                        "not whole {:?} after the fault; open breakers {open:?}; last failure {last:?}",
                        now - healed
                    )
                });
                return;
            }
        }
        let took = self.phases.recovery.unwrap_or_default();
        self.check("I8", took <= bound + SLACK, || {
            format!("recovery took {took:?}, the bound is {bound:?}")
        });
        let calm = Instant::now();
        sleep(self.pace.after).await;
        let (failed, all) = self.load.since(calm, |sent| {
            let answered = sent.iter().filter(|sent| !sent.answers.is_empty());
            (
                answered.clone().filter(|sent| !whole(sent)).count(),
                answered.count(),
            )
        });
        self.check("I8", failed * 1_000 <= all, || {
            format!("{failed} of {all} failed after the recovery")
        });
    }

    /// What has been sent since then was served as always.
    pub(crate) fn nobody_noticed(&mut self, since: Instant) {
        let (failed, all) = self.load.since(since, |sent| {
            let answered = sent.iter().filter(|sent| !sent.answers.is_empty());
            (
                answered.clone().filter(|sent| !sent.served()).count(),
                answered.count(),
            )
        });
        self.check("data path", failed == 0 && all > 0, || {
            format!("{failed} of {all} requests failed")
        });
    }

    fn last_failure(&self, healed: Instant) -> Option<Instant> {
        let overdue = |sent: &&Sent| sent.answers.is_empty() && sent.at.elapsed() > USUAL;
        let failed = |sent: &&Sent| (!sent.answers.is_empty() && !whole(sent)) || overdue(sent);
        self.load.since(healed, |all| {
            all.iter().rev().find(failed).map(|sent| sent.at)
        })
    }
}
