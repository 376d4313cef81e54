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
use tokio::time::{Instant, interval, timeout};
use tracing::{error, info, warn};

use super::lane::{Lane, UsualTrip};
use super::suspects::{FORGIVEN, Suspects};
use crate::edge::nats::connection::Connection;
use crate::edge::nats::connections::{Break, Connections, Watch};
use crate::edge::nats::forgeries::Forgeries;
use crate::edge::nats::replies::Reading;

/// Connections that are opened besides; who comes later shares the last one.
const MOST: usize = 16;
const OPEN_LIMIT: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_secs(30);

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

#[derive(Debug, Clone)]
struct Alone {
    lane: Arc<Lane>,
    since: Instant,
}

/// A lane that broke, with what watches it.
struct Broken {
    lane: Arc<Lane>,
    watch: Watch,
    broken: Break,
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
    pub(super) fn lane_of(&self, subject: &str) -> Option<Arc<Lane>> {
        let lanes = self.lanes.load();
        // Nearly always empty.
        lanes.get(subject).map(|alone| Arc::clone(&alone.lane))
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
        let mut clients = JoinSet::new();
        let mut breaks = FuturesUnordered::new();
        for lane in &self.homes {
            breaks.push(self.next_break(Arc::clone(lane), Watch::of(&lane.connection)));
        }
        for lane in self.opened() {
            clients.spawn(lane.connection.keep());
            let watch = Watch::of(&lane.connection);
            breaks.push(self.next_break(lane, watch));
        }
        let mut look = interval(LOOK_EVERY);
        loop {
            tokio::select! {
                Some(Broken { lane, watch, broken }) = breaks.next() => {
                    fail_points::reached("calls_apart");
                    if lane.connection.is_closing() {
                        continue;
                    }
                    for new in self.take(&lane, broken).await {
                        clients.spawn(new.connection.keep());
                        let watch = Watch::of(&new.connection);
                        breaks.push(self.next_break(new, watch));
                    }
                    breaks.push(self.next_break(lane, watch));
                }
                Some(ended) = clients.join_next() => ended?,
                _ = look.tick() => self.forgive().await,
            }
        }
    }

    async fn next_break(&self, lane: Arc<Lane>, mut watch: Watch) -> Broken {
        let others = self.connections.beside(&lane.connection);
        let broken = watch.next(&others).await;
        Broken {
            lane,
            watch,
            broken,
        }
    }

    /// Answers the lanes that were opened for it.
    async fn take(&self, lane: &Arc<Lane>, broken: Break) -> Vec<Arc<Lane>> {
        lane.connection.count_unreadable(broken.count());
        let called = lane.take_lost(broken.first, broken.last);
        let mut opened = Vec::new();
        if self.is_home(lane) {
            let to_set_apart = self.suspects.lock().were_called(called, Instant::now());
            for subject in to_set_apart {
                opened.extend(self.set_apart(subject).await);
            }
        } else {
            self.broke_again(lane);
        }
        opened
    }

    fn is_home(&self, lane: &Arc<Lane>) -> bool {
        self.homes.iter().any(|home| Arc::ptr_eq(home, lane))
    }

    /// Answers the lane when it is a new one.
    async fn set_apart(&self, subject: Arc<str>) -> Option<Arc<Lane>> {
        let opened = self.opened();
        let shared = opened.last().filter(|_| opened.len() >= MOST).cloned();
        let (lane, new) = match shared {
            Some(lane) => (lane, None),
            None => {
                let lane = self.open(&subject).await?;
                (Arc::clone(&lane), Some(lane))
            }
        };
        error!(
            subject = %OneLine(&subject),
            code = "security_event",
            "connections broke twice while this extension was called: it is called over one of its own from now on. An \
             answer of it, or of one that was called at the same times, has headers that no client library writes"
        );
        let since = Instant::now();
        self.lanes.rcu(|lanes| {
            let mut lanes = HashMap::clone(lanes);
            lanes.insert(
                Arc::clone(&subject),
                Alone {
                    lane: Arc::clone(&lane),
                    since,
                },
            );
            lanes
        });
        new
    }

    async fn open(&self, subject: &str) -> Option<Arc<Lane>> {
        let opening = async {
            let connection = self.connections.open_apart().await.ok()?;
            let usual_trip = Arc::clone(&self.usual_trip);
            Lane::open(connection, usual_trip, self.hand_over.clone())
                .await
                .ok()
        };
        let lane = timeout(OPEN_LIMIT, opening).await.ok().flatten();
        if lane.is_none() {
            // The next break finds it among those that were called.
            self.suspects.lock().forgive(subject);
            warn!(
                subject = %OneLine(subject),
                "NATS gives no connection for this extension alone; trying again when one breaks"
            );
        }
        lane
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
    async fn forgive(&self) {
        let now = Instant::now();
        let is_quiet = |alone: &Alone| now.duration_since(alone.since) >= FORGIVEN;
        let lanes = self.lanes.load_full();
        let quiet: Vec<&Arc<str>> = lanes
            .iter()
            .filter(|(_, alone)| is_quiet(alone))
            .map(|(subject, _)| subject)
            .collect();
        for subject in &quiet {
            self.suspects.lock().forgive(subject);
            info!(subject = %OneLine(subject), "this extension is called as before again");
        }
        self.lanes.rcu(|lanes| {
            let mut left = HashMap::clone(lanes);
            left.retain(|_, alone| !is_quiet(alone));
            left
        });
        let kept = self.opened();
        for (_, alone) in lanes.iter() {
            if !kept.iter().any(|lane| Arc::ptr_eq(lane, &alone.lane)) {
                alone.lane.connection.close().await;
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
