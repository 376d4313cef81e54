//! Extensions that are called over connections of their own, because others broke while they were
//! called.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use beamline_actors::fail_points;
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_contract::admin::TreeNode;
use beamline_contract::escape::OneLine;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};
use tracing::{error, info, warn};

use super::lane::{Lane, UsualTrip};
use super::suspects::{FORGIVEN, Suspects};
use crate::edge::nats::connection::Connection;
use crate::edge::nats::connections::{Connections, Watch};
use crate::edge::nats::forgeries::Forgeries;
use crate::edge::nats::replies::Reading;

/// Connections that are opened besides; who comes later shares the last one.
const MOST: usize = 32;
const OPEN_LIMIT: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// What still waits for an answer on a connection that nobody needs any more.
const IDLE_LIMIT: Duration = Duration::from_secs(600);
const IDLE_POLL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(super) struct Apart {
    connections: Connections,
    homes: Vec<Arc<Lane>>,
    /// By subject.
    lanes: ArcSwap<HashMap<Arc<str>, Alone>>,
    suspects: Mutex<Suspects>,
    usual_trip: Arc<UsualTrip>,
    hand_over: mpsc::UnboundedSender<Reading>,
}

/// Where a subject is called that was set apart.
#[derive(Debug, Clone)]
pub(super) struct Alone {
    pub(super) lane: Arc<Lane>,
    /// Others are called there as well, because there are no more connections.
    shared: bool,
    since: Instant,
}

/// A lane that broke, with what watches it.
struct Broken {
    lane: Arc<Lane>,
    watch: Watch,
    messages: u64,
}

/// Everything that runs beside the watching.
type Tasks = JoinSet<Option<Opened>>;

/// A connection for one subject, or why there is none yet.
struct Opened {
    subject: Arc<str>,
    lane: Option<Arc<Lane>>,
}

impl Alone {
    /// Whether what was called there has ended the connection: nobody else is, and it did not end
    /// with its server.
    pub(super) fn broke(&self, homes: &[Arc<Lane>]) -> bool {
        let connection = &self.lane.connection;
        let server = connection.server();
        let stands =
            |home: &Arc<Lane>| home.connection.is_connected() && home.connection.server() == server;
        !self.shared && !connection.is_closing() && homes.iter().any(stands)
    }
}

impl Apart {
    pub(super) fn new(
        connections: &Connections,
        homes: &[Arc<Lane>],
        usual_trip: &Arc<UsualTrip>,
        hand_over: mpsc::UnboundedSender<Reading>,
    ) -> Arc<Self> {
        Arc::new(Self {
            connections: connections.clone(),
            homes: homes.to_vec(),
            lanes: ArcSwap::default(),
            suspects: Mutex::default(),
            usual_trip: Arc::clone(usual_trip),
            hand_over,
        })
    }

    pub(super) fn forgeries(&self) -> Arc<Forgeries> {
        Arc::clone(&self.connections.forgeries)
    }

    /// Where a subject is called that was set apart.
    pub(super) fn lane_of(&self, subject: &str) -> Option<Alone> {
        let lanes = self.lanes.load();
        // Nearly always empty.
        lanes.get(subject).cloned()
    }

    pub(super) fn child(self: &Arc<Self>) -> Child {
        let node = Node::new("calls_apart", NodeKind::Worker);
        let shown = Arc::clone(self);
        node.describe(move |view| view.children = shown.view());
        let apart = Arc::clone(self);
        Child::task(&node, move || Arc::clone(&apart).watch())
    }

    /// Watches all connections for calls, and keeps those alive that were opened here.
    async fn watch(self: Arc<Self>) -> Result<(), JoinError> {
        let mut tasks = Tasks::new();
        let mut breaks = FuturesUnordered::new();
        for lane in self.homes.iter().cloned().chain(self.opened()) {
            if !self.is_home(&lane) {
                keep(&mut tasks, &lane);
            }
            let watch = self.watch_of(&lane);
            breaks.push(self.next_break(lane, watch));
        }
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                Some(Broken { lane, watch, messages }) = breaks.next() => {
                    fail_points::reached("calls_apart");
                    if lane.connection.is_closing() {
                        continue;
                    }
                    self.take(&lane, messages, &mut tasks);
                    breaks.push(self.next_break(lane, watch));
                }
                Some(ended) = tasks.join_next() => {
                    if let Some(opened) = ended?
                        && let Some(lane) = self.set_apart(opened)
                    {
                        keep(&mut tasks, &lane);
                        let watch = self.watch_of(&lane);
                        breaks.push(self.next_break(lane, watch));
                    }
                }
                _ = look.tick() => self.forgive(&mut tasks),
            }
        }
    }

    fn watch_of(&self, lane: &Lane) -> Watch {
        let others = self.connections.beside(&lane.connection);
        Watch::of(&lane.connection, &others)
    }

    async fn next_break(&self, lane: Arc<Lane>, mut watch: Watch) -> Broken {
        let others = self.connections.beside(&lane.connection);
        let messages = watch.next(&others).await;
        Broken {
            lane,
            watch,
            messages,
        }
    }

    fn take(self: &Arc<Self>, lane: &Arc<Lane>, messages: u64, tasks: &mut Tasks) {
        lane.connection.count_unreadable(messages);
        if !self.is_home(lane) {
            return self.broke_again(lane);
        }
        let told = lane.told();
        let suspects = self.suspects.lock().were_called(told, Instant::now());
        let apart = self.lanes.load();
        let new = suspects
            .into_iter()
            .filter(|subject| !apart.contains_key(subject));
        for subject in new {
            let all = Arc::clone(self);
            tasks.spawn(async move { Some(all.open(subject).await) });
        }
    }

    fn is_home(&self, lane: &Arc<Lane>) -> bool {
        self.homes.iter().any(|home| Arc::ptr_eq(home, lane))
    }

    /// A connection for a subject, unless there are too many already.
    async fn open(&self, subject: Arc<str>) -> Opened {
        if self.opened().len() >= MOST {
            let lane = self.opened().pop();
            return Opened { subject, lane };
        }
        let opening = async {
            let connection = self.connections.open_apart().await.ok()?;
            let usual_trip = Arc::clone(&self.usual_trip);
            Lane::open(connection, usual_trip, self.hand_over.clone())
                .await
                .ok()
        };
        let lane = timeout(OPEN_LIMIT, opening).await.ok().flatten();
        Opened { subject, lane }
    }

    /// Answers the lane when it is a new one.
    fn set_apart(&self, Opened { subject, lane }: Opened) -> Option<Arc<Lane>> {
        let Some(lane) = lane else {
            warn!(
                subject = %OneLine(&subject),
                "NATS gives no connection for this extension alone; trying again when one breaks"
            );
            return None;
        };
        error!(
            subject = %OneLine(&subject),
            code = "security_event",
            "two connections broke after this extension was called there: it is called over one of its own from now on. An \
             answer of it, or of one that was called at the same times, has headers that no client library writes"
        );
        let is_new = !self.opened().iter().any(|known| Arc::ptr_eq(known, &lane));
        let since = Instant::now();
        self.lanes.rcu(|lanes| {
            let mut lanes = HashMap::clone(lanes);
            for alone in lanes.values_mut() {
                alone.shared |= Arc::ptr_eq(&alone.lane, &lane);
            }
            let alone = Alone {
                lane: Arc::clone(&lane),
                shared: !is_new,
                since,
            };
            lanes.insert(Arc::clone(&subject), alone);
            lanes
        });
        is_new.then_some(lane)
    }

    /// It stays apart for longer.
    fn broke_again(&self, lane: &Arc<Lane>) {
        let now = Instant::now();
        self.lanes.rcu(|lanes| {
            let mut lanes = HashMap::clone(lanes);
            for alone in lanes.values_mut() {
                if Arc::ptr_eq(&alone.lane, lane) {
                    alone.since = now;
                }
            }
            lanes
        });
    }

    /// Calls those as before that have done no harm for long, and closes what nobody needs then.
    fn forgive(&self, tasks: &mut Tasks) {
        let now = Instant::now();
        let is_quiet = |alone: &Alone| now.duration_since(alone.since) >= FORGIVEN;
        let lanes = self.lanes.load_full();
        for (subject, _) in lanes.iter().filter(|(_, alone)| is_quiet(alone)) {
            self.suspects.lock().forgive(subject);
            info!(subject = %OneLine(subject), "this extension is called as before again");
        }
        self.lanes.rcu(|lanes| {
            let mut left = HashMap::clone(lanes);
            left.retain(|_, alone| !is_quiet(alone));
            left
        });
        let kept = self.opened();
        for alone in lanes.values() {
            if !kept.iter().any(|lane| Arc::ptr_eq(lane, &alone.lane)) {
                tasks.spawn(close_when_idle(Arc::clone(&alone.lane)));
            }
        }
    }

    /// Each once, in the order of their opening.
    fn opened(&self) -> Vec<Arc<Lane>> {
        let lanes = self.lanes.load();
        let mut all: Vec<&Alone> = lanes.values().collect();
        all.sort_by_key(|alone| alone.since);
        let mut opened: Vec<Arc<Lane>> = Vec::new();
        for alone in all {
            if !opened.iter().any(|lane| Arc::ptr_eq(lane, &alone.lane)) {
                opened.push(Arc::clone(&alone.lane));
            }
        }
        opened
    }

    fn view(&self) -> Vec<TreeNode> {
        let lanes = self.lanes.load();
        let mut view: Vec<TreeNode> = lanes
            .iter()
            .map(|(subject, alone)| node_of(subject, &alone.lane.connection, alone.since))
            .collect();
        view.sort_by(|one, other| one.name.cmp(&other.name));
        view
    }
}

/// Puts another client in the place of one that has ended.
fn keep(tasks: &mut Tasks, lane: &Arc<Lane>) {
    let keeping = lane.connection.keep();
    tasks.spawn(async move {
        keeping.await;
        None
    });
}

/// It stays open until nothing is in flight there.
async fn close_when_idle(lane: Arc<Lane>) -> Option<Opened> {
    let idle = async {
        while lane.waiting() > 0 {
            sleep(IDLE_POLL).await;
        }
    };
    let _ = timeout(IDLE_LIMIT, idle).await;
    lane.connection.close().await;
    None
}

fn node_of(subject: &str, connection: &Connection, since: Instant) -> TreeNode {
    let is_connected = connection.is_connected();
    TreeNode {
        name: OneLine(subject).to_string(),
        status: if is_connected {
            "running"
        } else {
            "restarting"
        }
        .into(),
        uptime_ms: u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX),
        restarts: connection.reconnects(),
        ..TreeNode::default()
    }
}
