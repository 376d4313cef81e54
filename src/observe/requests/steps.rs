//! Figures over time: steps of ten seconds, for six hours.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::story::Ended;
use beamline_contract::admin::{GetStats, StatsCount, StatsStep};
use beamline_contract::time::{milliseconds, since_1970};
use parking_lot::Mutex;

/// The newest last; a step in which nothing happened is left out.
#[derive(Debug, Default)]
pub(super) struct Steps(Mutex<VecDeque<Step>>);

#[derive(Debug)]
struct Step {
    /// Since 1970, in steps.
    number: u64,
    requests: StatsCount,
    extensions: BTreeMap<Arc<str>, StatsCount>,
    tenants: BTreeMap<Arc<str>, StatsCount>,
}

const STEP: Duration = Duration::from_secs(10);
const KEPT: u64 = 6 * 360;
/// Names of a step; what comes later is counted as this.
const MOST_NAMES: usize = 50;
const OTHER: &str = "other";
const USUAL_TIME: Duration = Duration::from_secs(600);
const USUAL_STEPS: u32 = 60;
const MOST_STEPS: u32 = 120;

impl Steps {
    pub(super) fn count(&self, ended: &Ended, now: SystemTime) {
        let number = number_of(now);
        let mut all = self.0.lock();
        while all.front().is_some_and(|step| step.number + KEPT <= number) {
            all.pop_front();
        }
        // A clock that was set back counts on in the newest step.
        if all.back().is_none_or(|step| step.number < number) {
            all.push_back(Step {
                number,
                requests: StatsCount::default(),
                extensions: BTreeMap::new(),
                tenants: BTreeMap::new(),
            });
        }
        if let Some(step) = all.back_mut() {
            step.add(ended);
        }
    }

    /// What was asked for: how long its steps are, and the steps.
    pub(super) fn read(&self, question: &GetStats, now: SystemTime) -> (Duration, Vec<StatsStep>) {
        let step_ms = u64::try_from(STEP.as_millis()).unwrap_or(u64::MAX);
        let time = question.last_ms.unwrap_or(milliseconds(USUAL_TIME) as u64);
        let back = time.div_ceil(step_ms).clamp(1, KEPT);
        let most = question.steps.unwrap_or(USUAL_STEPS).clamp(1, MOST_STEPS);
        let width = back.div_ceil(u64::from(most));
        let last = number_of(now);
        // Steps begin at multiples, so that those of replicas and of several questions agree.
        let first = (last + 1).saturating_sub(back) / width;
        let mut steps: Vec<StatsStep> = (first..=last / width)
            .map(|step| StatsStep {
                at_ms: step * width * step_ms,
                ..StatsStep::default()
            })
            .collect();
        for step in self.0.lock().iter() {
            let place = (step.number / width).checked_sub(first);
            let place = place.and_then(|place| usize::try_from(place).ok());
            if let Some(into) = place.and_then(|place| steps.get_mut(place)) {
                step.add_to(into, question.tenant_id.as_deref());
            }
        }
        (STEP * u32::try_from(width).unwrap_or(u32::MAX), steps)
    }
}

impl Step {
    fn add(&mut self, ended: &Ended) {
        let request = one(ended.outcome != "ok", ended.took);
        self.requests.add(request);
        if let Some(tenant_id) = &ended.tenant_id {
            count(&mut self.tenants, tenant_id, request);
        }
        ended.story.read(|told| {
            for call in &told.calls {
                let made = one(call.failure.is_some(), call.took);
                count(&mut self.extensions, &call.extension_id, made);
            }
        });
    }

    fn add_to(&self, into: &mut StatsStep, tenant_id: Option<&str>) {
        if let Some(tenant_id) = tenant_id {
            let own = self.tenants.get(tenant_id);
            return into.requests.add(own.copied().unwrap_or_default());
        }
        into.requests.add(self.requests);
        for (names, into) in [
            (&self.extensions, &mut into.extensions),
            (&self.tenants, &mut into.tenants),
        ] {
            for (name, count) in names {
                into.entry(name.to_string()).or_default().add(*count);
            }
        }
    }
}

fn one(failed: bool, took: Duration) -> StatsCount {
    StatsCount {
        count: 1,
        failed: failed.into(),
        total_ms: milliseconds(took),
        longest_ms: milliseconds(took),
    }
}

/// Asked several times a request: nothing is made for a name that is known.
fn count(names: &mut BTreeMap<Arc<str>, StatsCount>, name: &Arc<str>, one: StatsCount) {
    if let Some(known) = names.get_mut(name) {
        return known.add(one);
    }
    let name = if names.len() < MOST_NAMES {
        Arc::clone(name)
    } else {
        OTHER.into()
    };
    names.entry(name).or_default().add(one);
}

fn number_of(now: SystemTime) -> u64 {
    since_1970(now) / 1_000 / STEP.as_secs()
}

#[cfg(test)]
mod tests {
    use beamline_domain::request::RequestKind;
    use tokio::time::Instant;

    use super::*;

    fn ended(tenant_id: &str, outcome: &'static str, took_ms: u64) -> Ended {
        Ended {
            edge: "nats",
            kind: RequestKind::Route,
            outcome,
            request_id: None,
            trace_id: "".into(),
            tenant_id: Some(tenant_id.into()),
            policy_id: None,
            received: Instant::now(),
            took: Duration::from_millis(took_ms),
            run: None,
            story: Arc::default(),
        }
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn counts(steps: &Steps, question: &GetStats, now: SystemTime) -> Vec<u64> {
        let (_, steps) = steps.read(question, now);
        steps.iter().map(|step| step.requests.count).collect()
    }

    fn last(seconds: u64, steps: u32) -> GetStats {
        GetStats {
            last_ms: Some(seconds * 1_000),
            steps: Some(steps),
            tenant_id: None,
        }
    }

    #[test]
    fn requests_are_counted_in_their_step_and_a_quiet_one_is_zero() {
        let steps = Steps::default();
        for second in [0, 5, 9, 10, 31] {
            steps.count(&ended("acme", "ok", 20), at(second));
        }
        assert_eq!(counts(&steps, &last(40, 60), at(31)), [3, 1, 0, 1]);
        assert_eq!(counts(&steps, &last(10, 60), at(31)), [1]);
        assert_eq!(counts(&steps, &last(10, 60), at(45)), [0]);
    }

    #[test]
    fn several_steps_are_told_as_one_where_fewer_are_wanted() {
        let steps = Steps::default();
        for second in 0..40 {
            steps.count(
                &ended(
                    "acme",
                    if second % 4 == 0 { "internal" } else { "ok" },
                    second,
                ),
                at(second),
            );
        }
        let (width, told) = steps.read(&last(40, 2), at(39));
        assert_eq!(width, Duration::from_secs(20));
        let all: Vec<StatsCount> = told.iter().map(|step| step.requests).collect();
        assert_eq!(all.iter().map(|count| count.count).sum::<u64>(), 40);
        assert_eq!(all.iter().map(|count| count.failed).sum::<u64>(), 10);
        assert_eq!(all.last().map(|count| count.longest_ms), Some(39.0));
    }

    #[test]
    fn six_hours_are_kept_and_names_do_not_grow() {
        let steps = Steps::default();
        for hour in 0..9 {
            for tenant in 0..200 {
                steps.count(&ended(&format!("t{tenant}"), "ok", 1), at(hour * 3_600));
            }
        }
        let kept = counts(&steps, &last(24 * 3_600, 120), at(8 * 3_600));
        assert_eq!(kept.iter().sum::<u64>(), 6 * 200);
        let (_, told) = steps.read(&last(10, 1), at(8 * 3_600));
        let tenants = &told.last().expect("a step").tenants;
        assert_eq!(tenants.len(), MOST_NAMES + 1);
        assert_eq!(tenants.get(OTHER).map(|count| count.count), Some(150));
    }

    #[test]
    fn a_tenant_alone_is_told_of_nobody_else() {
        let steps = Steps::default();
        steps.count(&ended("acme", "ok", 1), at(0));
        steps.count(&ended("globex", "ok", 1), at(0));
        let question = GetStats {
            tenant_id: Some("acme".to_owned()),
            ..last(10, 1)
        };
        let (_, told) = steps.read(&question, at(0));
        let step = told.last().expect("a step");
        assert_eq!(step.requests.count, 1);
        assert!(step.tenants.is_empty() && step.extensions.is_empty());
    }
}
