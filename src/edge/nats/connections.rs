//! The router's connections to NATS, so that a message which ends one of them costs its sender and
//! not the others: a header that the client cannot read ends the connection that it comes by.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use beamline_actors::metrics::Metrics;
use beamline_actors::tree::{Child, Node, NodeKind};
use futures_util::future::{join, join_all, join3, try_join_all};

use super::connection::{ConnectError, Connection, Purpose, connect};
use super::events::AwayReports;
use super::forgeries::{Forgeries, Forgery};
use crate::config::NatsConfig;

mod breaks;

pub(super) use breaks::Watch;

/// All of them; clones are the same.
#[derive(Debug, Clone)]
pub struct Connections {
    /// Requests of gateways come by it, and their answers leave by it.
    pub gateways: Connection,
    /// Of the administration, the other replicas, and the bucket of sessions.
    pub administration: Connection,
    /// Calls to extensions are spread over these.
    pub calls: Vec<Connection>,
    pub(super) forgeries: Arc<Forgeries>,
    away_reports: Arc<AwayReports>,
    /// Messages that nobody can read and that came over connections for calls, also over those that
    /// were opened later.
    unreadable_calls: Arc<AtomicU64>,
    /// Connections that were opened besides, so that their names differ.
    opened: Arc<AtomicU64>,
    config: Arc<NatsConfig>,
    name: Arc<str>,
}

/// The administration may be away for so long in a ready router: whoever ends its connection again
/// and again does not take the router out of service.
const ADMINISTRATION_AWAY: Duration = Duration::from_secs(1);

impl Connections {
    /// Opens all within `nats.startup_timeout` each, trying again while the server is away. `name`
    /// is how the server shows them.
    pub async fn open(config: &NatsConfig, name: &str) -> Result<Self, ConnectError> {
        let forgeries = Arc::new(Forgeries::default());
        let away_reports = Arc::new(AwayReports::default());
        let unreadable_calls = Arc::new(AtomicU64::new(0));
        let purpose = |what: Cow<'static, str>| Purpose {
            name: format!("{name} {what}"),
            node: Node::new(what, NodeKind::Worker),
            forgeries: Arc::clone(&forgeries),
            away_reports: Arc::clone(&away_reports),
            unreadable: Arc::default(),
        };
        let for_calls = |number: usize| Purpose {
            unreadable: Arc::clone(&unreadable_calls),
            ..purpose(format!("calls_{number}").into())
        };
        // The first one finds out what is wrong; the others need not say it again.
        let gateways = connect(config, purpose("gateways".into())).await?;
        let calls = (1..=config.call_connections).map(for_calls);
        let (administration, calls) = futures_util::try_join!(
            connect(config, purpose("administration".into())),
            try_join_all(calls.map(|purpose| connect(config, purpose))),
        )?;
        Ok(Self {
            gateways,
            administration,
            calls,
            forgeries,
            away_reports,
            unreadable_calls,
            opened: Arc::default(),
            config: Arc::new(config.clone()),
            name: name.into(),
        })
    }

    /// One more for the calls of one extension.
    pub(super) async fn open_apart(&self) -> Result<Connection, ConnectError> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
        let what = format!("calls_apart_{number}");
        let purpose = Purpose {
            name: format!("{} {what}", self.name),
            node: Node::new(what, NodeKind::Worker),
            forgeries: Arc::clone(&self.forgeries),
            away_reports: Arc::clone(&self.away_reports),
            unreadable: Arc::clone(&self.unreadable_calls),
        };
        connect(&self.config, purpose).await
    }

    /// The tasks that put another client in the place of one that has ended, and one that counts
    /// what ended them. Until they run, nobody does.
    pub fn child(&self, metrics: &Metrics) -> Child {
        let mut children: Vec<Child> = self.all().map(Connection::child).collect();
        let all = self.clone();
        children.push(Child::task(
            &Node::new("breaks", NodeKind::Worker),
            move || all.clone().count_breaks(),
        ));
        Child::supervisor("nats", children, metrics)
    }

    /// Those for calls are watched by who calls.
    async fn count_breaks(self) {
        let count = async |door: &Connection| breaks::count(door, &self.beside(door)).await;
        join(count(&self.gateways), count(&self.administration)).await;
    }

    fn all(&self) -> impl Iterator<Item = &Connection> {
        [&self.gateways, &self.administration]
            .into_iter()
            .chain(&self.calls)
    }

    /// The others, seen from this one.
    pub(super) fn beside(&self, one: &Connection) -> Vec<Connection> {
        self.all().filter(|other| !other.is(one)).cloned().collect()
    }

    /// Whether requests can be served: the administration may be away for a moment.
    pub fn serve(&self) -> bool {
        let away = self.administration.away_for();
        self.gateways.is_connected()
            && self.calls.iter().all(Connection::is_connected)
            && away.is_none_or(|away| away <= ADMINISTRATION_AWAY)
    }

    /// Whether the server has denied a subscription without which requests are not served.
    pub fn subscription_denied(&self) -> bool {
        self.gateways.subscription_denied()
            || self.calls.iter().any(Connection::subscription_denied)
    }

    /// Resolves when a message to ourselves has come back over each connection without which
    /// requests are not served: the servers have all that was sent before it.
    pub async fn confirm(&self) {
        join_all(self.needed().map(Connection::confirm)).await;
    }

    /// What the server has denied of what requests need, as the end of "does not let this router
    /// ..".
    pub fn missing_permissions(&self) -> Vec<String> {
        let denied: BTreeSet<String> = self.needed().flat_map(Connection::denied).collect();
        denied.into_iter().collect()
    }

    fn needed(&self) -> impl Iterator<Item = &Connection> {
        std::iter::once(&self.gateways).chain(&self.calls)
    }

    pub fn reconnects(&self) -> u64 {
        self.all().map(Connection::reconnects).sum()
    }

    pub fn replacements(&self) -> u64 {
        self.all().map(Connection::replacements).sum()
    }

    pub fn slow_consumer_events(&self) -> u64 {
        self.all().map(Connection::slow_consumer_events).sum()
    }

    /// Answers to calls that nobody waited for any more.
    pub fn late_answers(&self) -> u64 {
        self.forgeries.late_answers()
    }

    /// Answers that were refused, by what is wrong with them.
    pub fn forged_answers(&self) -> [(&'static str, u64); 3] {
        Forgery::ALL.map(|forgery| (forgery.as_str(), self.forgeries.of(forgery)))
    }

    /// Messages that nobody can read, by where they came in.
    pub fn unreadable(&self) -> [(&'static str, u64); 3] {
        let calls = self.unreadable_calls.load(Ordering::Relaxed);
        [
            ("gateways", self.gateways.unreadable()),
            ("administration", self.administration.unreadable()),
            ("calls", calls),
        ]
    }

    /// Writes what is queued, then ends them. False when an answer may not have been written: calls
    /// are over by then, and an administration that is away has told its callers nothing anyway.
    pub async fn close(&self) -> bool {
        let administrates = self.administration.is_connected();
        let calls = join_all(self.calls.iter().map(Connection::close));
        let closing = join3(self.gateways.close(), self.administration.close(), calls);
        let (answered, administrated, _calls) = closing.await;
        answered && (administrated || !administrates)
    }
}
