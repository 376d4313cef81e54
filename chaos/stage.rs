//! A scenario's stage: servers, routers and extensions as processes, load on them, and what has
//! happened when.

use std::time::Duration;

use beamline_test_support::{Gateway, LIMIT, RouterProcess};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::load::Load;
use crate::outcome::{Finding, Outcome};
use crate::pace::Pace;
use crate::setting::{Apart, Launch, RouterSetting, Setting};
use crate::traffic;
use crate::watch::{Counters, Watch, memory};

mod breakers;
mod buses;
mod cast;
mod invariants;
mod late;
mod places;
mod recovery;

pub(crate) use buses::Buses;
pub(crate) use cast::{Cast, guardrail, provider};
pub(crate) use late::{BELIEVED_PAST, IN_QUEUES, ON_ITS_WAY};

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) pace: Pace,
    pub(crate) load: Load,
    pub(crate) gateway: Gateway,
    pub(crate) cast: Cast,
    pub(crate) routers: Vec<RouterProcess>,
    pub(crate) buses: Buses,
    /// Of each router.
    observed: Vec<Observed>,
    phases: Phases,
    allowed: Allowed,
    findings: Vec<Finding>,
}

/// What is seen of a router, and what was seen before the fault.
#[derive(Debug)]
struct Observed {
    watch: Watch,
    /// In MiB.
    memory_before: Option<u64>,
    tasks_before: Option<f64>,
    /// Length of its log.
    logged_before: usize,
}

/// When what began.
#[derive(Debug)]
struct Phases {
    begun: Instant,
    broken: Option<Instant>,
    healed: Option<Instant>,
    /// From the end of the fault to the last request that felt it.
    recovery: Option<Duration>,
}

/// What the scenario itself answers for.
#[derive(Debug, Default)]
struct Allowed {
    /// Requests sent within these times may be lost or late: the transport itself was away.
    unanswered: Vec<(Instant, Instant)>,
    /// Until when a router must have said that it is not ready, if it must; and until when it may.
    unready: Option<(Option<Instant>, Instant)>,
    /// What routers may hold besides, in MiB.
    memory: u64,
    panics: bool,
    /// Routers that are meant to be dead in the end.
    dead: Vec<usize>,
}

impl Stage {
    /// Everything runs and answers when this returns, and load is on it.
    pub(crate) async fn set(pace: Pace, setting: Setting) -> Self {
        let begun = Instant::now();
        let buses = Buses::start(&setting.bus).await;
        let routers = start_routers(&buses.url_for_routers(), &setting.routers).await;
        let gateway = Gateway::connect(&buses.nats).await;
        traffic::register(&gateway).await;
        let nats = buses.of(Apart::Extensions);
        let cast = Cast::start(nats, &buses.nats, setting.models).await;
        let traffic = setting.traffic;
        let rate = traffic.rate.unwrap_or(pace.rate);
        let load = Load::start(buses.nats.url(), traffic.classes, rate, traffic.retries).await;
        let observed = routers.iter().map(Observed::start).collect();
        Self {
            pace,
            load,
            gateway,
            cast,
            routers,
            buses,
            observed,
            phases: Phases {
                begun,
                broken: None,
                healed: None,
                recovery: None,
            },
            allowed: Allowed::default(),
            findings: Vec::new(),
        }
    }

    /// Waits for a service that works, and watches it for a while.
    pub(crate) async fn calm(&mut self) {
        self.works().await;
        let calm = Instant::now();
        sleep(self.pace.before).await;
        let failed = self.load.since(calm, |sent| {
            sent.iter()
                .filter(|sent| !sent.answers.is_empty() && !recovery::whole(sent))
                .count()
        });
        self.check("calm", failed == 0, || {
            format!("{failed} requests failed before anything was broken")
        });
        let observing = self.observed.iter_mut().zip(&self.routers);
        join_all(observing.map(async |(observed, router)| observed.note(router).await)).await;
    }

    /// Waits until everything that was sent lately is served.
    async fn works(&self) {
        let limit = Instant::now() + LIMIT / 2;
        loop {
            let from = Instant::now();
            sleep(Duration::from_millis(500)).await;
            let failed = self.load.since(from, |sent| {
                let served = sent.iter().filter(|sent| recovery::whole(sent)).count();
                let failed = sent
                    .iter()
                    .find(|sent| !sent.answers.is_empty() && !recovery::whole(sent))
                    .cloned();
                failed.map_or_else(
                    || (served < 5).then(|| "nobody answers".to_owned()),
                    |sent| Some(format!("{sent:?}")),
                )
            });
            let Some(failed) = failed else { return };
            assert!(
                Instant::now() < limit,
                "not served before the fault: {failed}"
            );
        }
    }

    /// The fault begins now.
    pub(crate) fn breaks(&mut self) -> Instant {
        let now = Instant::now();
        self.phases.broken = Some(now);
        now
    }

    pub(crate) async fn lasts(&self) {
        sleep(self.pace.fault).await;
    }

    /// The fault is over.
    pub(crate) fn heals(&mut self) -> Instant {
        let now = Instant::now();
        self.phases.healed = Some(now);
        now
    }

    /// The transport lost what was sent in this time, or delivered it late: nobody can hold that
    /// against the router.
    pub(crate) fn forgive(&mut self, from: Instant, to: Instant) {
        self.allowed
            .unanswered
            .push((from.checked_sub(traffic::DEADLINE).unwrap_or(from), to));
    }

    /// A router must say within `detected` of the fault that it is not ready, and be ready again
    /// `back` after the end.
    pub(crate) fn unready(&mut self, detected: Duration, back: Duration) {
        let (Some(broken), Some(healed)) = (self.phases.broken, self.phases.healed) else {
            return;
        };
        self.allowed.unready = Some((Some(broken + detected), healed + back));
    }

    /// A router may say that it is not ready until so long after the fault, and need not.
    pub(crate) fn may_be_unready(&mut self, back: Duration) {
        self.allowed.unready = self.phases.healed.map(|healed| (None, healed + back));
    }

    /// Probes of a router since then, and how many of them nobody answered.
    pub(crate) fn unanswered_probes(&self, router: usize, since: Instant) -> (usize, usize) {
        let probes = self.observed[router].watch.probes();
        let since: Vec<_> = probes.iter().filter(|probe| probe.at >= since).collect();
        (
            since.iter().filter(|probe| probe.ready.is_none()).count(),
            since.len(),
        )
    }

    /// The scenario itself gives the routers so much more to hold, in MiB.
    pub(crate) fn may_hold(&mut self, room: u64) {
        self.allowed.memory = room;
    }

    pub(crate) fn may_panic(&mut self) {
        self.allowed.panics = true;
    }

    /// The router with this number has ended and stays so.
    pub(crate) fn is_dead(&mut self, router: usize) {
        self.allowed.dead.push(router);
    }

    pub(crate) fn check(&mut self, rule: &'static str, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.findings.push(Finding { rule, what: what() });
        }
    }

    /// Stops the load, and judges.
    pub(crate) async fn ends(mut self) -> Outcome {
        self.load.stop().await;
        let sent = self.load.sent();
        self.judge_answers(&sent);
        self.judge_places().await;
        self.judge_routers().await;
        self.judge_readiness();
        Outcome::of(
            &sent,
            self.phases.recovery,
            self.phases.begun.elapsed(),
            std::mem::take(&mut self.findings),
        )
    }
}

impl Observed {
    fn start(router: &RouterProcess) -> Self {
        Self {
            watch: Watch::start(router.http()),
            memory_before: None,
            tasks_before: None,
            logged_before: 0,
        }
    }

    /// What the router is like before the fault.
    async fn note(&mut self, router: &RouterProcess) {
        self.memory_before = memory(router.id()).map(|(now, _)| now);
        self.tasks_before = Counters::of(router.http())
            .await
            .map(|counters| counters.tasks());
        self.logged_before = router.log().len();
    }
}

/// All of them are ready when this returns.
async fn start_routers(nats_url: &str, setting: &RouterSetting) -> Vec<RouterProcess> {
    let mut configuration = vec![("nats.url", nats_url)];
    configuration.extend(borrowed(&setting.configuration));
    let variables = borrowed(&setting.variables);
    let mut routers = Vec::new();
    for _ in 0..setting.count {
        routers.push(match &setting.launch {
            Launch::Plain => RouterProcess::spawn_with(&configuration, &variables),
            Launch::InGroup(group) => RouterProcess::spawn_in(group, &configuration, &variables),
            Launch::PipedLog => RouterProcess::spawn_piped(&configuration, &variables),
        });
    }
    for router in &mut routers {
        router.until_ready().await;
    }
    routers
}

fn borrowed<'a>(pairs: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    pairs
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect()
}
