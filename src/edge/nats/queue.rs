//! The queue group that all routers on one NATS share: read on one client after the other, and left
//! without losing a request.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Message, SubscribeError};
use beamline_bus::Intake as Subscription;
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::task_tracker::{TaskTracker, TaskTrackerToken};

use super::Connection;

const QUEUE_GROUP: &str = "beamline-router";
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(1);
/// So long two clients take requests side by side, when one takes the place of another.
pub(crate) const OVERLAP: Duration = Duration::from_millis(500);

/// All that read for one actor; they leave together.
#[derive(Debug)]
pub(crate) struct Queue {
    connection: Connection,
    left: CancellationToken,
    readers: TaskTracker,
}

/// Why there is no subscription.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSubscribed {
    #[error("NATS takes no subscription in time")]
    Late(#[from] Elapsed),
    #[error(transparent)]
    Refused(#[from] SubscribeError),
}

impl Queue {
    pub(crate) fn new(connection: Connection) -> Arc<Self> {
        Arc::new(Self {
            connection,
            left: CancellationToken::new(),
            readers: TaskTracker::new(),
        })
    }

    pub(crate) async fn subscribe(
        self: &Arc<Self>,
        subject: String,
    ) -> Result<Reader, NotSubscribed> {
        let client = self.connection.client();
        let subscription = subscribe(&client, &subject).await?;
        let counted = self.readers.token();
        Ok(Reader {
            queue: Arc::clone(self),
            subject,
            client,
            subscription,
            counted,
        })
    }

    /// Leaves the group without losing what is on its way here; false when that took longer than
    /// `limit`.
    pub(crate) async fn leave(&self, limit: Duration) -> bool {
        self.left.cancel();
        self.readers.close();
        timeout(limit, self.readers.wait()).await.is_ok()
    }
}

async fn subscribe(client: &Client, subject: &str) -> Result<Subscription, NotSubscribed> {
    Ok(timeout(
        SUBSCRIBE_LIMIT,
        Subscription::subscribe(client, subject, QUEUE_GROUP),
    )
    .await??)
}

/// Reads one subject.
#[derive(Debug)]
pub(crate) struct Reader {
    queue: Arc<Queue>,
    subject: String,
    client: Arc<Client>,
    subscription: Subscription,
    /// From now on the queue is not left before this reader has ended.
    counted: TaskTrackerToken,
}

/// Why a client is read no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopped {
    Ended,
    /// There is another one, and this one still serves.
    Replaced,
}

impl Reader {
    /// Gives every request to `take`, which must not wait, with the client that it came by, until
    /// the queue is left and nothing more is on its way.
    pub(crate) async fn run(
        self,
        take: impl Fn(&Arc<Client>, Message) + Clone + Send + Sync + 'static,
    ) {
        let Self {
            queue,
            subject,
            mut client,
            mut subscription,
            counted: _counted,
        } = self;
        loop {
            let hand = |message| take(&client, message);
            let stopped = tokio::select! {
                () = queue.left.cancelled() => break,
                stopped = read_from(&queue, &client, &mut subscription, &hand) => stopped,
            };
            let (next, another) = tokio::select! {
                () = queue.left.cancelled() => break,
                next = subscribe_again(&queue, &client, &subject) => next,
            };
            let before = std::mem::replace(&mut subscription, another);
            let client_before = std::mem::replace(&mut client, next);
            if stopped == Stopped::Replaced {
                let take = take.clone();
                let take = move |message| take(&client_before, message);
                queue
                    .readers
                    .spawn(leave_later(Arc::clone(&queue), before, take));
            }
        }
        leave(subscription, &|message| take(&client, message)).await;
    }
}

async fn read_from(
    queue: &Queue,
    client: &Arc<Client>,
    subscription: &mut Subscription,
    take: &impl Fn(Message),
) -> Stopped {
    let mut replaced = pin!(queue.connection.client_after(client));
    let mut link = queue.connection.link();
    loop {
        tokio::select! {
            // First, because the client is back within some 25 ms.
            biased;
            Ok(()) = link.changed() => {
                if !link.borrow_and_update().connected {
                    subscription.connection_lost();
                }
            }
            message = subscription.next() => match message {
                Some(message) => take(message),
                None => return Stopped::Ended,
            },
            _ = &mut replaced => return Stopped::Replaced,
        }
    }
}

/// Reads on until all servers know of the next subscription, so that nobody finds no router in
/// between.
async fn leave_later(queue: Arc<Queue>, mut subscription: Subscription, take: impl Fn(Message)) {
    let mut overlap = pin!(sleep(OVERLAP));
    loop {
        tokio::select! {
            () = &mut overlap => break,
            () = queue.left.cancelled() => break,
            message = subscription.next() => match message {
                Some(message) => take(message),
                None => return,
            },
        }
    }
    leave(subscription, &take).await;
}

/// Takes what is still on its way here.
async fn leave(mut subscription: Subscription, take: &impl Fn(Message)) {
    if subscription.leave().await.is_some() {
        while let Some(message) = subscription.next().await {
            take(message);
        }
    }
}

/// The client has ended or been replaced: the actor did nothing wrong, so its restarts are not
/// spent on it.
async fn subscribe_again(
    queue: &Queue,
    ended: &Arc<Client>,
    subject: &str,
) -> (Arc<Client>, Subscription) {
    let mut ended = Arc::clone(ended);
    loop {
        let client = queue.connection.client_after(&ended).await;
        match subscribe(&client, subject).await {
            Ok(subscription) => return (client, subscription),
            Err(NotSubscribed::Refused(_)) => ended = client,
            Err(NotSubscribed::Late(_)) => {
                tracing::warn!(subject, "NATS takes no subscription, trying again")
            }
        }
    }
}
