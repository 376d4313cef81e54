//! What tests of NATS share: configurations, subscriptions that stand, and a link over which
//! answers are late.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use beamline_actors::metrics::Metrics;
use beamline_actors::tree::{Child, Node, NodeKind, Root};
use beamline_test_support::{Nats, within};
use bytes::BytesMut;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{self, Purpose};
use super::{ConnectError, Connection, Connections, NatsTransport};
use crate::config::{NatsConfig, Overrides, load_from};

/// Starts a tree of these, which goes on until the runtime of the test ends.
pub(crate) async fn grow(children: Vec<Child>) {
    Root::start(Node::root(), children, Metrics::default())
        .await
        .unwrap();
}

/// One connection, of which nobody takes care.
pub(crate) async fn connect(config: &NatsConfig, name: &str) -> Result<Connection, ConnectError> {
    let purpose = Purpose {
        name: name.to_owned(),
        node: Node::new(name.to_owned(), NodeKind::Worker),
        forgeries: Arc::default(),
        away_reports: Arc::default(),
        unreadable: Arc::default(),
    };
    connection::connect(config, purpose).await
}

/// A connection whose client is replaced when it has ended.
pub(crate) async fn connected(config: &NatsConfig) -> Connection {
    let connection = connect(config, "test").await.unwrap();
    grow(vec![connection.child()]).await;
    connection
}

/// All connections of a router, one of them for calls, whose clients are replaced.
pub(crate) async fn all_connected(config: &NatsConfig) -> Connections {
    let config = NatsConfig {
        call_connections: 1,
        ..config.clone()
    };
    let connections = Connections::open(&config, "test").await.unwrap();
    grow(vec![connections.child(&Metrics::default())]).await;
    connections
}

/// A transport whose answers are read, and the connection that its calls go over.
pub(crate) async fn transport(config: &NatsConfig) -> (NatsTransport, Connection) {
    let connections = all_connected(config).await;
    let transport = transport_over(&connections).await;
    (transport, connections.calls[0].clone())
}

pub(crate) async fn transport_over(connections: &Connections) -> NatsTransport {
    let transport = NatsTransport::new(connections).await.unwrap();
    grow(transport.children()).await;
    transport
}

/// Subscribes, and returns when the server knows it: it handles the commands of one connection in
/// order.
pub(crate) async fn subscribe(client: &Client, subject: &'static str) -> Subscriber {
    let subscriber = client.subscribe(subject).await.unwrap();
    let inbox = client.new_inbox();
    let mut own = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    within("the subscription stands", own.next()).await.unwrap();
    subscriber
}

pub(crate) fn config(url: &str) -> NatsConfig {
    config_with(url, &[])
}

pub(crate) fn config_with(url: &str, more: &[(&str, &str)]) -> NatsConfig {
    let set = [("nats.url", url)]
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    load_from(
        &Overrides {
            set,
            ..Overrides::default()
        },
        [],
    )
    .expect("a good configuration")
    .nats
}

/// A link on which what the server says arrives later, with the pauses between its words as they
/// were.
pub(crate) struct LateLink {
    pub(crate) url: String,
    lag: watch::Sender<Duration>,
    _task: AbortOnDropHandle<()>,
}

impl LateLink {
    pub(crate) async fn to(server: &Nats) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let target = server.address().to_owned();
        let (lag, lagging) = watch::channel(Duration::ZERO);
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target.clone(), lagging.clone()));
            }
        });
        Self {
            url,
            lag,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn lag(&self, lag: Duration) {
        self.lag.send_replace(lag);
    }
}

async fn carry(near: TcpStream, target: String, lag: watch::Receiver<Duration>) {
    let far = TcpStream::connect(target).await.unwrap();
    let (mut from_near, to_near) = near.into_split();
    let (from_far, mut to_far) = far.into_split();
    tokio::select! {
        _ = copy(&mut from_near, &mut to_far) => {}
        () = pass_late(from_far, to_near, lag) => {}
    }
}

/// Each piece as much later as `lag` says when it comes.
async fn pass_late(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    lag: watch::Receiver<Duration>,
) {
    let (pieces, mut delayed) = mpsc::unbounded_channel::<(Instant, BytesMut)>();
    let read = async move {
        let mut piece = BytesMut::with_capacity(64 * 1024);
        while from.read_buf(&mut piece).await.is_ok_and(|bytes| bytes > 0) {
            let due = Instant::now() + *lag.borrow();
            let _ = pieces.send((due, piece.split()));
        }
    };
    let write = async move {
        while let Some((due, piece)) = delayed.recv().await {
            sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}
