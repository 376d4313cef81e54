//! The subscription to a subject with a queue group: takes requests, and stops taking them without
//! losing one.
//!
//! A plain unsubscribe, and the NATS client's drain too, forget the subscription before the server
//! has; under load the requests that are on their way at that moment reach nobody, and their
//! callers wait in vain. An unsubscribe "after n messages" is counted by both sides, so nothing
//! falls between them. While requests keep coming, that is how to leave; when none come, none can
//! be lost, and a drain ends the subscription at once.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Message, SubscribeError, Subscriber};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::at_once;

/// More than any request is under way between the server and this process.
const UNDER_WAY: Duration = Duration::from_millis(250);
/// Nothing came for so long: nothing is under way either. Shorter, and a gap in the traffic would
/// pass for its end, while the next request is under way on a slow link.
const QUIET: Duration = UNDER_WAY;
/// The count may never be reached when the load ends in the middle.
const COUNT_LIMIT: Duration = Duration::from_secs(1);

/// One member of a queue group.
pub struct Intake {
    client: Client,
    subscription: Subscriber,
    received: u64,
    /// The server counts anew after a reconnect.
    connection: u64,
    rate: Rate,
    leaving: Leaving,
}

#[derive(Debug)]
enum Leaving {
    No,
    Counting {
        until: Instant,
    },
    Draining,
    /// Without a connection nothing more can come; what has come already is still served.
    Disconnected,
}

impl Intake {
    /// Returns when the subscription is queued; the server may learn of it a little later.
    pub async fn subscribe(
        client: &Client,
        subject: &str,
        group: &str,
    ) -> Result<Self, SubscribeError> {
        let subscription = client
            .queue_subscribe(subject.to_owned(), group.to_owned())
            .await?;
        Ok(Self {
            client: client.clone(),
            subscription,
            received: 0,
            connection: connections(client),
            rate: Rate::new(Instant::now()),
            leaving: Leaving::No,
        })
    }

    /// The next request; `None` after the last one. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let message = match self.leaving {
                Leaving::No | Leaving::Draining => self.subscription.next().await,
                Leaving::Disconnected => at_once(self.subscription.next()).flatten(),
                Leaving::Counting { until } => {
                    let wait = QUIET.min(until.saturating_duration_since(Instant::now()));
                    match timeout(wait, self.subscription.next()).await {
                        Ok(message) => message,
                        Err(_) => {
                            self.drain().await?;
                            continue;
                        }
                    }
                }
            };
            if message.is_some() {
                self.received += 1;
                self.rate.count(Instant::now());
            }
            return message;
        }
    }

    /// Asks the server for no more; what is under way still comes out of [`Intake::next`], which
    /// then ends. `None` when the connection is closed for good, and nothing more can come.
    pub async fn leave(&mut self) -> Option<()> {
        if self.client.connection_state() != State::Connected {
            self.leaving = Leaving::Disconnected;
            return Some(());
        }
        let now = Instant::now();
        let under_way = self.rate.expected_in(UNDER_WAY, now);
        // Before the first reconnect, both sides have counted the same messages.
        if under_way == 0 || self.connection.max(1) != connections(&self.client) {
            return self.drain().await;
        }
        self.subscription
            .unsubscribe_after(self.received + under_way)
            .await
            .ok()?;
        self.leaving = Leaving::Counting {
            until: now + COUNT_LIMIT,
        };
        Some(())
    }

    async fn drain(&mut self) -> Option<()> {
        self.leaving = Leaving::Draining;
        self.subscription.drain().await.ok()
    }
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("received", &self.received)
            .field("leaving", &self.leaving)
            .finish_non_exhaustive()
    }
}

fn connections(client: &Client) -> u64 {
    client.statistics().connects.load(Ordering::Relaxed)
}

/// Messages per second, over one to two of the last seconds.
struct Rate {
    since: Instant,
    count: u32,
    before: f64,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(1);

    fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
            before: 0.0,
        }
    }

    fn count(&mut self, now: Instant) {
        self.roll(now);
        self.count = self.count.saturating_add(1);
    }

    /// Rounded up, and none when it has been quiet.
    fn expected_in(&mut self, time: Duration, now: Instant) -> u64 {
        self.roll(now);
        let recent =
            f64::from(self.count) / now.duration_since(self.since).as_secs_f64().max(0.001);
        let expected = recent.max(self.before) * time.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "never negative, and saturates"
        )]
        let expected = expected.ceil() as u64;
        expected
    }

    fn roll(&mut self, now: Instant) {
        let age = now.duration_since(self.since);
        if age >= Self::WINDOW {
            self.before = f64::from(self.count) / age.as_secs_f64();
            self.count = 0;
            self.since = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_follows_the_traffic() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut rate = Rate::new(start);
        assert_eq!(rate.expected_in(UNDER_WAY, at(10)), 0);
        (0..100).for_each(|n| rate.count(at(n)));
        assert_eq!(rate.expected_in(UNDER_WAY, at(100)), 250);
        // Half a second of silence halves it and more; two seconds end it.
        assert!(rate.expected_in(UNDER_WAY, at(900)) < 30);
        assert!(rate.expected_in(UNDER_WAY, at(1500)) <= 25);
        assert_eq!(rate.expected_in(UNDER_WAY, at(5000)), 0);
    }
}
