//! Plays one seed from its beginning to its end, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::incoming::Incoming;
use beamline_actors::ports::Change;
use beamline_actors::targets::TargetState;
use beamline_actors::testing::answer_to;
use beamline_domain::request::{RequestHeaders, RequestKind};
use beamline_domain::target::breaker::{BreakerReading, State};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep, sleep_until};

use crate::bus::Called;
use crate::faults::{Fault, Sessions, What};
use crate::judge;
use crate::router::{Router, policy, record};
use crate::story::Story;
use crate::world::{PROBER, Planned, TENANTS, World, named, text};

/// What is left of a run.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) requests: usize,
    pub(crate) calls: usize,
    /// Each a sentence; none when every promise was kept.
    pub(crate) broken: Vec<String>,
    pub(crate) story: Vec<String>,
}

/// A request with everything that came back.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) planned: Planned,
    pub(crate) at: Instant,
    pub(crate) answers: Arc<Mutex<Vec<(Instant, Value)>>>,
}

/// All that the judge looks at.
#[derive(Debug)]
pub(crate) struct Evidence {
    pub(crate) asked: Vec<Asked>,
    pub(crate) calls: Vec<Called>,
    /// By tenant: what each policy that it ever had names.
    pub(crate) named: BTreeMap<String, Vec<BTreeSet<String>>>,
    pub(crate) extra_attempts: u32,
    pub(crate) bus_broke: bool,
    pub(crate) pipelines_crashed: bool,
}

enum Event<'w> {
    Begins(usize, &'w Fault),
    Ends(usize, &'w Fault),
    Sent(&'w Planned),
}

/// No request takes longer than this, with all that comes after it.
const ALL_ANSWERED: Duration = Duration::from_secs(61);
/// For the next poll of the registry, and for the sessions, which are opened again after 30 s at
/// most.
const SETTLES: Duration = Duration::from_secs(40);
/// The longest open time with its jitter, and some probes.
const CLOSES_WITHIN: u32 = 120;

pub(crate) fn play(seed: u64, keep_story: bool) -> Played {
    // The router draws from the generator of this thread.
    fastrand::seed(seed);
    let world = World::of(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(Play::run(seed, &world, keep_story))
}

struct Play {
    router: Router,
    story: Story,
    asked: Vec<Asked>,
}

impl Play {
    async fn run(seed: u64, world: &World, keep_story: bool) -> Played {
        let story = Story::begin(keep_story);
        tell_world(world, &story);
        let router = Router::start(seed, world, &story).await;
        let mut play = Self {
            router,
            story,
            asked: Vec::new(),
        };
        play.trouble(world).await;
        let mut broken = Vec::new();
        if !play.router.door.is_idle_within(ALL_ANSWERED).await {
            broken.push(format!(
                "{} requests are still in flight",
                play.router.door.in_flight()
            ));
        }
        sleep(SETTLES).await;
        broken.extend(play.recovers().await);
        broken.extend(play.serves_again().await);
        let evidence = Evidence::of(world, &play.router, play.asked);
        broken.extend(judge::requests(&evidence));
        broken.extend(judge::all_home(&play.router, evidence.asked.len(), world));
        Played {
            requests: evidence.asked.len(),
            calls: evidence.calls.len(),
            broken,
            story: play.story.lines(),
        }
    }

    /// Everything that the seed has planned, at its time.
    async fn trouble(&mut self, world: &World) {
        let begun = Instant::now();
        for (at, event) in timeline(world) {
            sleep_until(begun + at).await;
            match event {
                Event::Begins(number, fault) => self.begins(number, &fault.what),
                Event::Ends(number, fault) => self.ends(number, &fault.what),
                Event::Sent(planned) => self.send(planned.clone()),
            }
        }
    }

    fn begins(&self, number: usize, what: &What) {
        self.story
            .tell(|| format!("fault {number} begins: {what:?}"));
        let router = &self.router;
        match what {
            What::Calls { subjects, end } => router.bus.breaks(number, subjects, *end),
            What::BusAway => router.bus.set_away(true),
            What::StoreAway => router.store.set_away(true),
            What::Sessions(Sessions::Away) => router.sessions.set_away(true),
            What::Sessions(Sessions::Hang) => router.sessions.set_hanging(true),
            What::Sessions(Sessions::CutOff) => router.sessions.set_cut_off(true),
            What::Record { changed, told, .. } => {
                router.write(Change::UpdateExtension(record(changed)), *told)
            }
            What::Policy { policy: put, told } => {
                router.write(Change::PutPolicy(policy(put)), *told)
            }
            What::Crash(part) => router.crash(part),
        }
    }

    fn ends(&self, number: usize, what: &What) {
        self.story.tell(|| format!("fault {number} ends"));
        let router = &self.router;
        match what {
            What::Calls { .. } => router.bus.mends(number),
            What::BusAway => router.bus.set_away(false),
            What::StoreAway => router.store.set_away(false),
            What::Sessions(Sessions::Away) => router.sessions.set_away(false),
            What::Sessions(Sessions::Hang) => router.sessions.set_hanging(false),
            What::Sessions(Sessions::CutOff) => router.sessions.set_cut_off(false),
            What::Record { original, told, .. } => {
                router.write(Change::UpdateExtension(record(original)), *told)
            }
            What::Policy { .. } | What::Crash(_) => {}
        }
    }

    fn send(&mut self, planned: Planned) {
        let number = self.asked.len();
        let story = self.story.clone();
        story.tell(|| {
            format!(
                "request {number}: {:?} of {} within {:?}: {}",
                planned.kind, planned.tenant, planned.timeout, planned.body
            )
        });
        let answers = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&answers);
        let responder = answer_to(move |outgoing| {
            let answer: Value = serde_json::from_slice(&outgoing.body).unwrap();
            story.tell(|| format!("answer {number}: {}", without_chance(&answer)));
            kept.lock().push((Instant::now(), answer));
        });
        let headers = RequestHeaders {
            priority: planned.batch.then(|| "batch".to_owned()),
            ..RequestHeaders::default()
        };
        let body = Bytes::from(planned.body.clone());
        self.asked.push(Asked {
            at: Instant::now(),
            answers,
            planned: planned.clone(),
        });
        self.router.door.admit(Incoming {
            edge: "nats",
            kind: planned.kind,
            headers,
            body,
            received: Instant::now(),
            responder,
        });
    }

    /// Gives traffic to everything whose breaker is not closed, until all are.
    async fn recovers(&mut self) -> Vec<String> {
        for _ in 0..CLOSES_WITHIN {
            let open = self.open();
            if open.is_empty() {
                return Vec::new();
            }
            self.story.tell(|| format!("not closed: {open:?}"));
            for (id, _) in open {
                for tier in ["gold", "tin", "gold", "tin"] {
                    self.ask(PROBER, &id, tier);
                }
            }
            sleep(Duration::from_secs(1)).await;
        }
        self.open()
            .iter()
            .map(|(id, subject)| format!("the breaker of {id} at {subject} does not close"))
            .collect()
    }

    /// Extension and subject of each target in the registry whose breaker is not closed. That of a
    /// tenant only has to let its next call through: nobody but the tenant can close it.
    fn open(&self) -> BTreeSet<(String, String)> {
        let snapshot = self.router.registry.snapshot();
        let mut open = BTreeSet::new();
        for id in self.router.bus.ids() {
            let Some(invoker) = self.router.invokers.find(&id) else {
                continue;
            };
            let known = snapshot.extension(&id).is_some();
            let targets = invoker
                .targets()
                .into_iter()
                .filter(|target| is_open(target));
            open.extend(
                targets
                    .filter(|_| known)
                    .map(|target| (id.clone(), target.subject.to_string())),
            );
        }
        open
    }

    /// With nothing broken any more every tenant is served in full.
    async fn serves_again(&mut self) -> Vec<String> {
        let first = self.asked.len();
        for tenant in TENANTS {
            for tier in ["gold", "tin"] {
                self.ask(tenant, "default", tier);
                sleep(Duration::from_secs(1)).await;
            }
        }
        let mut broken = Vec::new();
        for asked in self.asked.iter().skip(first) {
            let answers = asked.answers.lock();
            let good = answers
                .iter()
                .any(|(_, answer)| answer["ok"] == true && answer["degraded"] == json!([]));
            if !good {
                broken.push(format!(
                    "{} is not served in full although nothing is broken any more: {answers:?}",
                    asked.planned.body
                ));
            }
        }
        broken
    }

    fn ask(&mut self, tenant: &str, policy: &str, tier: &str) {
        let number = self.asked.len();
        let body = json!({"version": "1", "tenant_id": tenant, "policy_id": policy, "request_id": format!("r-{number}"),
            "timeout_ms": 30_000, "message": {"payload": "raw"},
            "context": {"tier": tier, "user_id": format!("u-{}", number % 8)}});
        self.send(Planned {
            at: Duration::ZERO,
            kind: RequestKind::Route,
            tenant: tenant.to_owned(),
            timeout: Duration::from_secs(30),
            batch: false,
            body: body.to_string(),
        });
    }
}

fn is_open(target: &TargetState) -> bool {
    let keeps_back =
        |(_, breaker): (_, BreakerReading)| matches!(breaker.state, State::Open { .. });
    target.breaker().state != State::Closed || target.tenants().into_iter().any(keeps_back)
}

impl Evidence {
    fn of(world: &World, router: &Router, asked: Vec<Asked>) -> Self {
        let mut all: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
        let put = world.faults.iter().filter_map(|fault| match &fault.what {
            What::Policy { policy, .. } => Some(policy),
            _ => None,
        });
        for policy in world.policies.iter().chain(put) {
            all.entry(policy.tenant.clone())
                .or_default()
                .push(named(&policy.document));
        }
        let crash = |fault: &Fault| matches!(fault.what, What::Crash(crate::faults::Part::Door));
        Self {
            asked,
            calls: router.bus.calls(),
            named: all,
            extra_attempts: world.extra_attempts,
            bus_broke: world
                .faults
                .iter()
                .any(|fault| matches!(fault.what, What::BusAway)),
            pipelines_crashed: world.faults.iter().any(crash),
        }
    }
}

fn timeline(world: &World) -> Vec<(Duration, Event<'_>)> {
    let mut timeline: Vec<(Duration, Event<'_>)> = Vec::new();
    for (number, fault) in world.faults.iter().enumerate() {
        timeline.push((fault.from, Event::Begins(number, fault)));
        timeline.push((fault.until, Event::Ends(number, fault)));
    }
    timeline.extend(
        world
            .load
            .iter()
            .map(|planned| (planned.at, Event::Sent(planned))),
    );
    timeline.sort_by_key(|(at, _)| *at);
    timeline
}

fn tell_world(world: &World, story: &Story) {
    story.tell(|| {
        let World { max_in_flight, calls_per_extension, extra_attempts, .. } = world;
        format!("{max_in_flight} requests at once, {calls_per_extension} calls of an extension, {extra_attempts} extra attempts")
    });
    world
        .records
        .iter()
        .for_each(|record| story.tell(|| format!("registered: {record}")));
    let own = world
        .policies
        .iter()
        .filter(|policy| policy.tenant != PROBER);
    own.for_each(|policy| {
        story.tell(|| format!("policy of {}: {}", policy.tenant, policy.document))
    });
}

/// Without the time of day.
fn without_chance(answer: &Value) -> Value {
    let mut answer = answer.clone();
    if let Some(details) = answer["error"]["details"].as_object_mut() {
        details.remove("timestamp");
    }
    answer
}

/// The request that a body belongs to, if it says so.
pub(crate) fn request_id(asked: &Asked) -> Option<String> {
    let body: Value = serde_json::from_str(&asked.planned.body).ok()?;
    Some(text(&body, "request_id").to_owned())
}
