//! Forgets targets that nobody has called for a while and that there is nothing to say about.

use std::time::Duration;

use tokio::time::sleep;

use crate::invokers::Invokers;

const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Looks for as long as it is not dropped.
pub(super) async fn forget(invokers: Invokers) {
    loop {
        sleep(LOOK_EVERY).await;
        invokers
            .all()
            .iter()
            .for_each(|invoker| invoker.forget_idle());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::invoker::Invoker;
    use beamline_contract::record::{BreakerOverrides, Kind};
    use beamline_domain::target::breaker::{Mode, Outcome, Settings};

    #[tokio::test(start_paused = true)]
    async fn what_is_closed_and_unused_for_ten_minutes_is_forgotten() {
        let invoker = Invoker::new("clean");
        let subjects = ["p.a", "p.b", "p.c", "p.d"].map(Arc::<str>::from);
        let settings = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        let call = |subject: &Arc<str>, outcome| {
            let permit = invoker.target(subject).permit(Mode::Normal, &settings);
            permit.is_ok_and(|permit| {
                permit.finish(outcome, Duration::ZERO);
                true
            })
        };
        assert!(
            subjects
                .iter()
                .all(|subject| call(subject, Outcome::Success))
        );
        let [unused, open, in_use, held] = &subjects;
        while call(open, Outcome::Failure) {}
        let _held = invoker.target(held).permit(Mode::Normal, &settings);
        let known = || {
            invoker
                .targets()
                .iter()
                .map(|target| target.subject.to_string())
                .collect::<Vec<_>>()
        };
        sleep(Duration::from_secs(590)).await;
        assert!(call(in_use, Outcome::Success));
        invoker.forget_idle();
        assert_eq!(known().len(), 4);
        sleep(Duration::from_secs(11)).await;
        invoker.forget_idle();
        assert_eq!(
            known(),
            ["p.b", "p.c", "p.d"],
            "one may be probed, one is in use, one has a call out"
        );
        assert!(
            call(unused, Outcome::Success),
            "and comes back with its next call"
        );
    }
}
