//! The queue group of routers is left without losing a request, also over a link that is slow, and
//! after the server was away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::Message;
use beamline_test_support::{Nats, TcpProxy, Weather, until, within};
use parking_lot::Mutex;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{MissedTickBehavior, interval};

use crate::edge::nats::Connection;
use crate::edge::nats::queue::Queue;
use crate::edge::nats::testing::{config, connected};

const SUBJECT: &str = "beamline.test.queue";
/// Some ten requests are always under way on it.
const SLOW: Duration = Duration::from_millis(20);
const LIMIT: Duration = Duration::from_secs(10);

type Seen = Arc<Mutex<BTreeSet<u32>>>;

/// One router of the group, which notes what it gets.
struct Member {
    queue: Arc<Queue>,
    seen: Seen,
    connection: Connection,
    reading: JoinHandle<()>,
}

impl Member {
    async fn join(url: &str) -> Self {
        let connection = connected(&config(url)).await;
        let queue = Queue::new(connection.clone());
        let reader = queue.subscribe(SUBJECT.to_owned()).await.unwrap();
        let seen = Seen::default();
        let note = Arc::clone(&seen);
        let reading = tokio::spawn(reader.run(move |_, message: Message| {
            note.lock().insert(number_of(&message));
        }));
        Self {
            queue,
            seen,
            connection,
            reading,
        }
    }

    fn count(&self) -> usize {
        self.seen.lock().len()
    }

    async fn gets_more(&self) {
        let before = self.count();
        until("it gets requests", || self.count() > before + 20).await;
    }

    async fn leaves(self) -> BTreeSet<u32> {
        assert!(self.queue.leave(LIMIT).await, "it leaves in time");
        within("it reads no more", self.reading).await.unwrap();
        self.seen.lock().clone()
    }
}

fn number_of(message: &Message) -> u32 {
    let text = std::str::from_utf8(&message.payload).unwrap();
    text.parse().unwrap()
}

/// Numbers from zero on, some 500 a second.
struct Load {
    sent: Arc<Mutex<u32>>,
    sending: AbortHandle,
}

impl Load {
    async fn start(server: &Nats) -> Self {
        let client = server.client().await;
        let sent = Arc::new(Mutex::new(0));
        let next = Arc::clone(&sent);
        let sending = tokio::spawn(async move {
            let mut pace = interval(Duration::from_millis(2));
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                pace.tick().await;
                let number = *next.lock();
                client
                    .publish(SUBJECT, number.to_string().into())
                    .await
                    .unwrap();
                *next.lock() += 1;
            }
        });
        Self {
            sent,
            sending: sending.abort_handle(),
        }
    }

    fn sent(&self) -> u32 {
        *self.sent.lock()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.sending.abort();
    }
}

/// Two routers, one of them behind a link that is slow.
struct Group {
    proxy: TcpProxy,
    far: Member,
    near: Member,
    load: Load,
    _server: Nats,
}

impl Group {
    async fn start() -> Self {
        let server = Nats::start_without_jetstream().await;
        let proxy = TcpProxy::start(server.address()).await;
        let far = Member::join(&proxy.nats_url()).await;
        let near = Member::join(server.url()).await;
        let load = Load::start(&server).await;
        far.gets_more().await;
        proxy.weather(Weather {
            latency: SLOW,
            ..Weather::default()
        });
        far.gets_more().await;
        Self {
            proxy,
            far,
            near,
            load,
            _server: server,
        }
    }

    /// The far one loses its connection, and has another when this returns.
    async fn reset(&self) {
        let before = self.far.connection.reconnects();
        self.proxy.reset();
        let connection = &self.far.connection;
        until("it is back", || connection.reconnects() > before).await;
        self.far.gets_more().await;
    }

    /// The far one leaves; none of what is sent from now on until then is lost.
    async fn nothing_is_lost(self) {
        let Self {
            far, near, load, ..
        } = self;
        // What was sent when the link was reset went with it.
        let from = load.sent();
        near.gets_more().await;
        let by_far = far.leaves().await;
        assert!(by_far.iter().any(|number| *number > from));
        let to = load.sent();
        until("the near one goes on", || {
            near.seen.lock().last().is_some_and(|last| *last > to)
        })
        .await;
        let by_near = near.seen.lock().clone();
        let lost =
            (from..to).filter(|number| !by_far.contains(number) && !by_near.contains(number));
        assert_eq!(lost.collect::<Vec<_>>(), [0; 0]);
    }
}

#[tokio::test]
async fn nothing_is_lost_when_a_router_leaves_over_a_slow_link() {
    Group::start().await.nothing_is_lost().await;
}

#[tokio::test]
async fn nothing_is_lost_when_a_router_leaves_that_has_reconnected() {
    let group = Group::start().await;
    group.reset().await;
    group.reset().await;
    group.nothing_is_lost().await;
}
