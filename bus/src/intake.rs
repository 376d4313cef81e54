//! The subscription to a subject with a queue group: takes requests, and stops taking them without
//! losing one.
//!
//! A plain unsubscribe, and the NATS client's drain too, forget the subscription before the server
//! has; under load the requests that are on their way at that moment reach nobody, and their
//! callers wait in vain. An unsubscribe "after n messages" is counted by both sides, so nothing
//! falls between them. While requests keep coming, that is how to leave; when none come, none can
//! be lost, and a drain ends the subscription at once.
//!
//! After a reconnect the server counts from zero and the client goes on counting, so each
//! connection needs a subscription of its own: [`Intake::connection_lost`].

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_nats::connection::State;
use async_nats::{Client, Message, SubscribeError, Subscriber};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::at_once;

/// No request is longer under way between the server and this process, which may get no processor
/// for a while.
const UNDER_WAY: Duration = Duration::from_millis(500);
/// Nothing came for so long: nothing is under way either. Shorter, and a gap in the traffic would
/// pass for its end, while the next request is under way on a slow link.
const QUIET: Duration = Duration::from_millis(250);
/// The count is reached late, or never, when the load ends in the middle.
const COUNT_LIMIT: Duration = Duration::from_secs(2);

/// One member of a queue group.
pub struct Intake {
    client: Client,
    subject: String,
    group: String,
    subscription: Subscriber,
    /// Came by a subscription before this one.
    waiting: VecDeque<Message>,
    /// By this subscription.
    received: u64,
    /// The one on which the server has counted all of them; the first is 1.
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
            subject: subject.to_owned(),
            group: group.to_owned(),
            subscription,
            waiting: VecDeque::new(),
            received: 0,
            connection: next_connection(client),
            rate: Rate::new(Instant::now()),
            leaving: Leaving::No,
        })
    }

    /// The next request; `None` after the last one. May be dropped while it waits.
    pub async fn next(&mut self) -> Option<Message> {
        if let Some(message) = self.waiting.pop_front() {
            return Some(message);
        }
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

    /// To be called as soon as the connection is lost, before the client is back: another
    /// subscription takes the place of this one, for the next connection. Whoever calls it too
    /// late, or never, may lose what is under way when it leaves.
    pub fn connection_lost(&mut self) {
        let lost = self.client.connection_state() == State::Disconnected;
        let is_for_the_next = self.connection > connections(&self.client);
        if !lost || is_for_the_next || !matches!(self.leaving, Leaving::No) {
            return;
        }
        let subscribing = self
            .client
            .queue_subscribe(self.subject.clone(), self.group.clone());
        // It waits only where thousands of other commands do.
        let Some(Ok(next)) = at_once(pin!(subscribing)) else {
            return;
        };
        let mut before = std::mem::replace(&mut self.subscription, next);
        while let Some(Some(message)) = at_once(before.next()) {
            self.waiting.push_back(message);
        }
        // The client does not take it along to the next connection.
        drop(before);
        self.received = 0;
        self.connection = next_connection(&self.client);
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
        let counted = self.connection == connections(&self.client);
        if under_way == 0 || !counted {
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

/// The one on which the server learns of what is subscribed to now.
fn next_connection(client: &Client) -> u64 {
    let stands = client.connection_state() == State::Connected;
    connections(client) + u64::from(!stands)
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
        assert_eq!(rate.expected_in(UNDER_WAY, at(100)), 500);
        // Half a second of silence halves it and more; two seconds end it.
        assert!(rate.expected_in(UNDER_WAY, at(900)) < 60);
        assert!(rate.expected_in(UNDER_WAY, at(1500)) <= 50);
        assert_eq!(rate.expected_in(UNDER_WAY, at(5000)), 0);
    }
}
