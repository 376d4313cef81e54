//! What the replicas of a router tell each other about breakers. Whatever is lost here changes
//! nothing but speed.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::permit::now;
use crate::metrics::{ExtensionState, Metrics};
use beamline_contract::failure::FailureKind;
use beamline_domain::target::breaker::State;

/// A breaker has changed its state here.
#[derive(Debug, Clone)]
pub struct Transition {
    pub extension_id: Arc<str>,
    pub subject: Arc<str>,
    pub state: State,
    pub generation: u64,
    /// What the failure was about that opened it the last time.
    pub class: Option<FailureKind>,
}

/// What goes out to other replicas, and what came in about targets that nobody has called here yet.
#[derive(Debug)]
pub struct Peers {
    transitions: broadcast::Sender<Transition>,
    /// Until when a target that is not known here is open elsewhere, by subject.
    heard: Mutex<LruCache<Arc<str>, Instant>>,
    metrics: Metrics,
}

/// Transitions that wait for whoever tells them; of more at once, the oldest are not told.
const WAITING: usize = 256;
/// Targets that are remembered before their first call here.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(1_000).expect("more than none");
/// No peer is believed for longer than this: the longest open time that can be set.
const LONGEST: Duration = Duration::from_secs(600);

impl Default for Peers {
    fn default() -> Self {
        Self::new(Metrics::default())
    }
}

impl Peers {
    pub(crate) fn new(metrics: Metrics) -> Self {
        let (transitions, _) = broadcast::channel(WAITING);
        // Grows with what is remembered: most routers hear nothing of targets that they do not use.
        Self {
            transitions,
            heard: Mutex::new(LruCache::unbounded()),
            metrics,
        }
    }

    /// Every change of a breaker from now on.
    pub fn transitions(&self) -> broadcast::Receiver<Transition> {
        self.transitions.subscribe()
    }

    /// Never waits, also when nobody listens.
    pub(super) fn tell(&self, transition: Transition) {
        let label = ExtensionState {
            extension_id: self.metrics.extension(&transition.extension_id),
            state: transition.state.as_str(),
        };
        self.metrics.breaker_transitions.of(&label).inc();
        let _ = self.transitions.send(transition);
    }

    /// Until when what a peer said about `left` is to be believed.
    pub(crate) fn until(left: Duration) -> Instant {
        now() + left.min(LONGEST)
    }

    pub(crate) fn remember(&self, subject: &str, until: Instant) {
        let mut heard = self.heard.lock();
        if heard.len() >= REMEMBERED.get() && !heard.contains(subject) {
            heard.pop_lru();
        }
        heard.put(subject.into(), until);
    }

    /// What was heard about a target before its first call.
    pub(super) fn remembered(&self, subject: &str) -> Option<Instant> {
        self.heard
            .lock()
            .pop(subject)
            .filter(|until| *until > now())
    }

    #[cfg(test)]
    pub(crate) fn remembers(&self) -> usize {
        self.heard.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::TargetState;
    use beamline_contract::record::{BreakerOverrides, Kind};
    use beamline_domain::target::breaker::{Mode, Outcome, Settings};

    fn target(peers: &Arc<Peers>) -> Arc<TargetState> {
        TargetState::new(&"clean".into(), &SUBJECT.into(), peers)
    }

    const SUBJECT: &str = "p.ext.pre.clean.v1";

    #[tokio::test(start_paused = true)]
    async fn transitions_are_told_and_outcomes_are_not() {
        let peers = Arc::new(Peers::default());
        let mut told = peers.transitions();
        let target = target(&peers);
        let settings = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        while let Ok(permit) = target.permit(Mode::Normal, &settings) {
            permit.finish(Outcome::Failure, Duration::ZERO);
        }
        let opened = told.try_recv().unwrap();
        assert_eq!(
            (opened.state.as_str(), opened.generation, &*opened.subject),
            ("open", 1, SUBJECT)
        );
        tokio::time::sleep(Duration::from_secs(7)).await;
        for _ in 0..3 {
            target
                .permit(Mode::Normal, &settings)
                .unwrap()
                .finish(Outcome::Success, Duration::ZERO);
        }
        let states: Vec<_> = std::iter::from_fn(|| told.try_recv().ok())
            .map(|told| told.state.as_str())
            .collect();
        assert_eq!(states, ["half_open", "closed"]);
        target.reset();
        assert!(told.try_recv().is_err(), "there was nothing to close");
    }

    #[tokio::test(start_paused = true)]
    async fn the_call_that_finds_it_half_open_for_too_long_tells_that_it_is_open() {
        let peers = Arc::new(Peers::default());
        let target = target(&peers);
        let settings = Settings::new(
            Kind::Pre,
            Duration::from_secs(1),
            &BreakerOverrides::default(),
        );
        while let Ok(permit) = target.permit(Mode::Normal, &settings) {
            permit.finish(Outcome::Failure, Duration::ZERO);
        }
        let mut told = peers.transitions();
        tokio::time::sleep(Duration::from_secs(7)).await;
        let _silent = target.permit(Mode::Normal, &settings).unwrap();
        tokio::time::sleep(settings.half_open_max).await;
        assert!(target.permit(Mode::Normal, &settings).is_err());
        let states: Vec<_> = std::iter::from_fn(|| told.try_recv().ok())
            .map(|told| told.state.as_str())
            .collect();
        assert_eq!(states, ["half_open", "open"]);
    }

    #[test]
    fn what_was_heard_is_remembered_until_the_first_call_and_not_without_end() {
        let peers = Arc::new(Peers::default());
        for n in 0..REMEMBERED.get() * 3 {
            let subject = format!("{n}.ext.pre.clean.v1");
            peers.remember(&subject, Peers::until(Duration::MAX));
        }
        peers.remember(SUBJECT, Peers::until(Duration::from_secs(5)));
        assert_eq!(peers.remembers(), REMEMBERED.get());

        let reading = target(&peers).breaker();
        assert!(
            reading.suspect_until.is_some(),
            "its first call finds what was heard"
        );
        assert_eq!(
            (reading.state, peers.remembers()),
            (State::Closed, REMEMBERED.get() - 1)
        );
    }
}
