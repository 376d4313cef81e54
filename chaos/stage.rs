//! A scenario's stage: servers, routers and extensions as processes, load on them, and what has happened when.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use beamline_test_support::{
    ExtensionProcess, Gateway, LIMIT, Nats, RouterProcess, TcpProxy, free_port,
};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use crate::load::Load;
use crate::outcome::{Finding, Outcome};
use crate::pace::Pace;
use crate::puppet::Puppet;
use crate::traffic::{self, Class, MIXED};
use crate::watch::{Counters, Watch, memory};

mod breakers;
mod invariants;
mod late;
mod places;
mod recovery;

pub(crate) use late::{BELIEVED_PAST, IN_QUEUES, ON_ITS_WAY};

/// How a stage is set for a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    pub(crate) routers: usize,
    /// Processes that serve the provider `model`; none for a scenario with a puppet of its own.
    pub(crate) models: usize,
    /// The pre-processor is a puppet of the scenario.
    pub(crate) without_pre: bool,
    /// The routers reach NATS through a proxy.
    pub(crate) proxy: bool,
    /// Settings of the NATS server; it has JetStream without them.
    pub(crate) nats: Option<String>,
    /// These are on a second NATS server, joined with the first through the proxy.
    pub(crate) apart: Option<Apart>,
    /// A control group that the routers start in.
    pub(crate) control_group: Option<PathBuf>,
    /// The routers write their log into a pipe.
    pub(crate) log_pipe: bool,
    pub(crate) settings: Vec<(&'static str, String)>,
    pub(crate) variables: Vec<(&'static str, String)>,
    pub(crate) classes: &'static [Class],
    pub(crate) rate: Option<f64>,
    /// How often a client tries again.
    pub(crate) retries: u32,
}

/// Who is on another NATS server than everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Apart {
    Routers,
    Extensions,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            routers: 1,
            models: 1,
            without_pre: false,
            proxy: false,
            nats: None,
            apart: None,
            control_group: None,
            log_pipe: false,
            settings: Vec::new(),
            variables: Vec::new(),
            classes: MIXED,
            rate: None,
            retries: 0,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) pace: Pace,
    pub(crate) load: Load,
    pub(crate) gateway: Gateway,
    /// The extension processes: `normalize_text`, `pii_guard`, `mask_pii`, `spare`, and `model` with a number.
    pub(crate) cast: BTreeMap<String, ExtensionProcess>,
    /// The provider that nobody breaks.
    pub(crate) steady: Puppet,
    pub(crate) routers: Vec<RouterProcess>,
    /// Before the NATS server, or between the two servers.
    pub(crate) proxy: Option<TcpProxy>,
    pub(crate) nats: Nats,
    /// The server of those who are apart.
    pub(crate) other_nats: Option<Nats>,
    watches: Vec<Watch>,
    begun: Instant,
    broken: Option<Instant>,
    healed: Option<Instant>,
    recovery: Option<Duration>,
    /// Requests sent within these times may be lost or late: the transport itself was away.
    forgiven: Vec<(Instant, Instant)>,
    /// Until when a router must have said that it is not ready, if it must; and until when it may.
    unready: Option<(Option<Instant>, Instant)>,
    /// What routers may hold besides, in MiB.
    room: u64,
    /// Panics that the scenario caused.
    may_panic: bool,
    /// Routers that are meant to be dead in the end.
    dead: Vec<usize>,
    memory_before: Vec<Option<u64>>,
    tasks_before: Vec<Option<f64>>,
    /// Length of each router's log.
    logged_before: Vec<usize>,
    findings: Vec<Finding>,
}

impl Stage {
    /// Everything runs and answers when this returns, and load is on it.
    pub(crate) async fn set(pace: Pace, setting: Setting) -> Self {
        let begun = Instant::now();
        let Buses {
            nats,
            other_nats,
            proxy,
        } = Buses::start(&setting).await;
        let of = |apart| {
            other_nats
                .as_ref()
                .filter(|_| setting.apart == Some(apart))
                .unwrap_or(&nats)
        };
        let before = proxy.as_ref().filter(|_| setting.apart.is_none());
        let url = before.map_or_else(|| of(Apart::Routers).url().to_owned(), TcpProxy::nats_url);
        let mut keys: Vec<(&str, &str)> = vec![("nats.url", &url)];
        keys.extend(
            setting
                .settings
                .iter()
                .map(|(key, value)| (*key, value.as_str())),
        );
        let variables: Vec<_> = setting
            .variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let spawn = || match &setting.control_group {
            Some(group) => RouterProcess::spawn_in(group, &keys, &variables),
            None if setting.log_pipe => RouterProcess::spawn_piped(&keys, &variables),
            None => RouterProcess::spawn_with(&keys, &variables),
        };
        let mut routers: Vec<_> = (0..setting.routers).map(|_| spawn()).collect();
        for router in &mut routers {
            router.until_ready().await;
        }
        let gateway = Gateway::connect(&nats).await;
        traffic::register(&gateway).await;
        let cast = cast(of(Apart::Extensions), &setting).await;
        let steady = Puppet::provider(nats.url(), "steady").await;
        let load = Load::start(
            nats.url(),
            setting.classes,
            setting.rate.unwrap_or(pace.rate),
            setting.retries,
        )
        .await;
        let watches = routers
            .iter()
            .map(|router| Watch::start(router.http()))
            .collect();
        let (memory_before, tasks_before) = (vec![None; routers.len()], vec![None; routers.len()]);
        let logged_before = vec![0; routers.len()];
        Self {
            pace,
            load,
            gateway,
            cast,
            steady,
            routers,
            proxy,
            nats,
            other_nats,
            watches,
            begun,
            memory_before,
            tasks_before,
            logged_before,
            broken: None,
            healed: None,
            recovery: None,
            forgiven: Vec::new(),
            unready: None,
            room: 0,
            may_panic: false,
            dead: Vec::new(),
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
        self.memory_before = self
            .routers
            .iter()
            .map(|router| memory(router.id()).map(|(now, _)| now))
            .collect();
        let tasks = self
            .routers
            .iter()
            .map(async |router| Some(Counters::of(router.http()).await?.tasks()));
        self.tasks_before = join_all(tasks).await;
        self.logged_before = self
            .routers
            .iter()
            .map(|router| router.log().len())
            .collect();
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
        self.broken = Some(now);
        now
    }

    pub(crate) async fn lasts(&self) {
        sleep(self.pace.fault).await;
    }

    /// The fault is over.
    pub(crate) fn heals(&mut self) -> Instant {
        let now = Instant::now();
        self.healed = Some(now);
        now
    }

    /// The transport lost what was sent in this time, or delivered it late: nobody can hold that against the router.
    pub(crate) fn forgive(&mut self, from: Instant, to: Instant) {
        self.forgiven
            .push((from.checked_sub(traffic::DEADLINE).unwrap_or(from), to));
    }

    /// A router must say within `detected` of the fault that it is not ready, and be ready again `back` after the end.
    pub(crate) fn unready(&mut self, detected: Duration, back: Duration) {
        let (Some(broken), Some(healed)) = (self.broken, self.healed) else {
            return;
        };
        self.unready = Some((Some(broken + detected), healed + back));
    }

    /// A router may say that it is not ready until so long after the fault, and need not.
    pub(crate) fn may_be_unready(&mut self, back: Duration) {
        self.unready = self.healed.map(|healed| (None, healed + back));
    }

    /// Probes of a router since then, and how many of them nobody answered.
    pub(crate) fn unanswered_probes(&self, router: usize, since: Instant) -> (usize, usize) {
        let probes = self.watches[router].probes();
        let since: Vec<_> = probes.iter().filter(|probe| probe.at >= since).collect();
        (
            since.iter().filter(|probe| probe.ready.is_none()).count(),
            since.len(),
        )
    }

    /// The scenario itself gives the routers so much more to hold, in MiB.
    pub(crate) fn may_hold(&mut self, room: u64) {
        self.room = room;
    }

    pub(crate) fn may_panic(&mut self) {
        self.may_panic = true;
    }

    /// The router with this number has ended and stays so.
    pub(crate) fn is_dead(&mut self, router: usize) {
        self.dead.push(router);
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
            self.recovery,
            self.begun.elapsed(),
            std::mem::take(&mut self.findings),
        )
    }
}

struct Buses {
    nats: Nats,
    other_nats: Option<Nats>,
    proxy: Option<TcpProxy>,
}

impl Buses {
    async fn start(setting: &Setting) -> Self {
        if setting.apart.is_some() {
            return Self::cluster().await;
        }
        let nats = match &setting.nats {
            Some(settings) => Nats::start_configured(settings).await,
            None => Nats::start().await,
        };
        let proxy = if setting.proxy {
            Some(TcpProxy::start(nats.address()).await)
        } else {
            None
        };
        Self {
            nats,
            other_nats: None,
            proxy,
        }
    }

    /// Two servers with one route between them, through the proxy. The second one makes it, again and again.
    async fn cluster() -> Self {
        let (port, other) = (free_port(), free_port());
        let nats = Nats::start_in_cluster(&format!(
            "cluster {{ name: chaos, listen: \"127.0.0.1:{port}\" }}"
        ))
        .await;
        let proxy = TcpProxy::start(&format!("127.0.0.1:{port}")).await;
        let route = format!("routes: [\"{}\"]", proxy.nats_url());
        let cluster = format!("cluster {{ name: chaos, listen: \"127.0.0.1:{other}\", {route} }}");
        // A lame duck waits for so long before it ends the connections of its clients.
        let lame_duck = "lame_duck_grace_period: \"5s\", lame_duck_duration: \"30s\"";
        let other_nats = Nats::start_in_cluster(&format!("{cluster}\n{lame_duck}")).await;
        Self {
            nats,
            other_nats: Some(other_nats),
            proxy: Some(proxy),
        }
    }
}

async fn cast(nats: &Nats, setting: &Setting) -> BTreeMap<String, ExtensionProcess> {
    let mut cast = BTreeMap::new();
    let mut guardrails = vec![
        ("beamline-pii-guard", "pii_guard"),
        ("beamline-mask-pii", "mask_pii"),
    ];
    if !setting.without_pre {
        guardrails.push(("beamline-normalize-text", "normalize_text"));
    }
    for (program, id) in guardrails {
        cast.insert(
            id.to_owned(),
            ExtensionProcess::start(nats, program, id, &[]).await,
        );
    }
    cast.insert("spare".to_owned(), provider(nats, "spare").await);
    for number in 1..=setting.models {
        cast.insert(format!("model{number}"), provider(nats, "model").await);
    }
    cast
}

/// A provider process that takes a little time.
pub(crate) async fn provider(nats: &Nats, id: &str) -> ExtensionProcess {
    ExtensionProcess::start(
        nats,
        "beamline-mock-provider",
        id,
        &["--id", id, "--latency-ms", "5"],
    )
    .await
}
