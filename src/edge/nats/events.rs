//! What the NATS client tells about its connection, and what is said of that in the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Client, ClientError, ConnectErrorKind, Event, ServerError};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::connection::Link;
use super::denials::{Denials, Denied};

/// The same thing is said at most so often.
const REPORT_EVERY: Duration = Duration::from_secs(5);
/// The same reason why the connection does not come back.
const AWAY_REPORT_EVERY: Duration = Duration::from_secs(60);

/// What the client tells about its connection.
#[derive(Default)]
pub(super) struct Events {
    pub(super) link: watch::Sender<Link>,
    /// The server has announced its end.
    pub(super) lame_duck: Notify,
    /// The next client comes before the end of the one before it.
    pub(super) moves: AtomicBool,
    pub(super) slow_consumers: AtomicU64,
    slow_consumer_report: Mutex<Report>,
    pub(super) denials: Denials,
    /// Of all connections of the router: they fail for the same reasons.
    away_reports: Arc<AwayReports>,
    /// Weak, because the client keeps these events: a circle would keep the connection open for
    /// ever.
    pub(super) client: Mutex<Weak<Client>>,
}

impl Events {
    pub(super) fn reporting(away_reports: Arc<AwayReports>) -> Self {
        Self {
            away_reports,
            ..Self::default()
        }
    }

    pub(super) fn take(&self, event: &Event) {
        match event {
            Event::Connected => self.connected(),
            Event::Disconnected | Event::Closed => self.lost(),
            Event::SlowConsumer(_) => {
                let dropped = self.slow_consumers.fetch_add(1, Ordering::Relaxed) + 1;
                self.catch_up();
                if self.slow_consumer_report.lock().is_due() {
                    warn!(
                        dropped,
                        "a subscription is full: messages are dropped, and their senders wait in vain"
                    );
                }
                return;
            }
            Event::ServerError(ServerError::Other(text)) => {
                self.catch_up();
                if let Some(denied) = Denied::read(text) {
                    return self.denials.take(denied);
                }
            }
            Event::ClientError(error) => {
                self.catch_up();
                return self.report_away(error);
            }
            Event::LameDuckMode => {
                self.catch_up();
                self.lame_duck.notify_one();
            }
            Event::Draining | Event::ServerError(_) => self.catch_up(),
        }
        match event {
            Event::Connected | Event::Draining | Event::Closed => info!(%event, "nats"),
            Event::Disconnected
            | Event::LameDuckMode
            | Event::SlowConsumer(_)
            | Event::ServerError(_)
            | Event::ClientError(_) => warn!(%event, "nats"),
        }
    }

    /// The client says it for each of its attempts, about one a second.
    fn report_away(&self, error: &ClientError) {
        let error = error.to_string();
        if !self.away_reports.0.lock().are_news(&error, Instant::now()) {
            return;
        }
        if error.contains(&ConnectErrorKind::AuthorizationViolation.to_string()) {
            warn!(
                error,
                "NATS refuses the router's credentials: let its user in again, or restart the router with others; \
                 trying again"
            );
        } else {
            warn!(error, "the connection to NATS fails, trying again");
        }
    }

    fn connected(&self) {
        self.denials.forget();
        // What fails after this is news.
        *self.away_reports.0.lock() = Reasons::default();
        let moved = self.moves.swap(false, Ordering::Relaxed);
        self.link.send_modify(|link| {
            if moved && link.connected {
                return;
            }
            // Two in a row: the loss between them was not told.
            link.losses += u64::from(link.connected);
            link.connected = true;
            link.back_since = (link.losses > 0).then(Instant::now);
            if let Some(since) = link.away_since.take() {
                let away_ms = since.elapsed().as_millis();
                info!(away_ms, recovered = true, "connected to NATS again");
            }
        });
    }

    pub(super) fn lost(&self) {
        self.link.send_if_modified(|link| {
            let was_connected = std::mem::replace(&mut link.connected, false);
            link.losses += u64::from(was_connected);
            if was_connected {
                link.away_since = Some(Instant::now());
            }
            was_connected
        });
    }

    /// The client drops events when too many come at once, and a lost "connected" would keep the
    /// router silent. Then the queue was full of others, and each of them is an occasion to look.
    fn catch_up(&self) {
        let state = self
            .client
            .lock()
            .upgrade()
            .map(|client| client.connection_state());
        match state {
            Some(State::Connected) if !self.link.borrow().connected => self.connected(),
            Some(State::Disconnected) => self.lost(),
            Some(State::Connected | State::Pending) | None => {}
        }
    }
}

/// What was said of connections that do not come back.
#[derive(Debug, Default)]
pub(super) struct AwayReports(Mutex<Reasons>);

/// Why the connection does not come back, as it was said lately: servers may fail differently, one
/// after the other.
#[derive(Debug, Default)]
struct Reasons {
    said: VecDeque<(Instant, String)>,
}

impl Reasons {
    /// More than servers fail in ways; when each attempt has words of its own, they are said again
    /// sooner.
    const MOST: usize = 16;

    /// True when this is to be said, which it is then taken to be.
    fn are_news(&mut self, reason: &str, now: Instant) -> bool {
        self.said
            .retain(|(at, _)| now.duration_since(*at) < AWAY_REPORT_EVERY);
        if self.said.iter().any(|(_, said)| said == reason) {
            return false;
        }
        if self.said.len() >= Self::MOST {
            self.said.pop_front();
        }
        self.said.push_back((now, reason.to_owned()));
        true
    }
}

/// Says whether it is time to say something again.
#[derive(Debug)]
pub(crate) struct Report {
    every: Duration,
    last: Option<Instant>,
}

impl Default for Report {
    fn default() -> Self {
        Self::every(REPORT_EVERY)
    }
}

impl Report {
    pub(super) fn every(every: Duration) -> Self {
        Self { every, last: None }
    }

    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let due = self
            .last
            .is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_said_once_a_minute() {
        let start = Instant::now();
        let mut reasons = Reasons::default();
        let said = |reasons: &mut Reasons, seconds| {
            let now = start + Duration::from_secs(seconds);
            ["refused", "no route"]
                .into_iter()
                .filter(|reason| reasons.are_news(reason, now))
                .count()
        };
        // Two servers that fail differently, once a second.
        let in_each_minute: Vec<usize> = (0..3)
            .map(|minute| {
                (0..60)
                    .map(|second| said(&mut reasons, minute * 60 + second))
                    .sum()
            })
            .collect();
        assert_eq!(in_each_minute, [2, 2, 2]);
    }

    #[test]
    fn what_all_connections_of_a_router_meet_is_said_once() {
        let reports = Arc::new(AwayReports::default());
        let connections = [(); 3].map(|()| Events::reporting(Arc::clone(&reports)));
        let news = |events: &Events| {
            let mut reasons = events.away_reports.0.lock();
            reasons.are_news("refused", Instant::now())
        };
        assert_eq!(
            connections
                .iter()
                .map(news)
                .filter(|is_news| *is_news)
                .count(),
            1
        );
        // One is back: what fails after this is another matter.
        connections[0].connected();
        assert!(news(&connections[1]));
    }

    #[test]
    fn reasons_do_not_pile_up() {
        let now = Instant::now();
        let mut reasons = Reasons::default();
        assert!((0..1_000).all(|number| reasons.are_news(&format!("reason {number}"), now)));
        assert_eq!(reasons.said.len(), Reasons::MOST);
        assert!(
            !reasons.are_news("reason 999", now),
            "the latest are remembered"
        );
    }
}
