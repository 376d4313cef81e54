//! What is logged can be changed while the router runs, for a time: nobody forgets to take it back.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_contract::admin::ReplicaLogLevel;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::reload;

/// The filter of this process's log.
pub(crate) struct Levels {
    configured: String,
    apply: Box<dyn Fn(&str) + Send + Sync>,
    changed: watch::Sender<Option<Changed>>,
    /// What is shown is what counts.
    turn: Mutex<()>,
}

#[derive(Debug, Clone)]
struct Changed {
    filter: String,
    until: Instant,
    until_by_the_clock: SystemTime,
}

static LEVELS: OnceLock<Arc<Levels>> = OnceLock::new();

/// Those of this process, if its log is the router's.
pub(crate) fn levels() -> Option<Arc<Levels>> {
    LEVELS.get().map(Arc::clone)
}

impl Levels {
    pub(super) fn new<S: 'static>(configured: &str, filter: reload::Handle<EnvFilter, S>) -> Self {
        let apply = move |directives: &str| {
            let directives = EnvFilter::builder().parse_lossy(super::without_noise(directives));
            // It fails when the log has ended.
            let _ = filter.reload(directives);
        };
        Self {
            configured: configured.to_owned(),
            apply: Box::new(apply),
            changed: watch::Sender::new(None),
            turn: Mutex::default(),
        }
    }

    pub(super) fn take_charge(self) {
        // Only the first is in charge.
        let _first = LEVELS.set(Arc::new(self));
    }

    /// Logs by another filter for so long. It was checked.
    pub(crate) fn set(&self, filter: &str, time: Duration, by: &str) {
        let _turn = self.turn.lock();
        let for_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // Before it: another filter may leave it out.
        warn!(filter, for_ms, by, "the log filter is changed");
        (self.apply)(filter);
        self.changed.send_replace(Some(Changed {
            filter: filter.to_owned(),
            until: Instant::now() + time,
            until_by_the_clock: SystemTime::now() + time,
        }));
    }

    /// As configured again.
    pub(crate) fn reset(&self) {
        let _turn = self.turn.lock();
        if self.changed.send_replace(None).is_some() {
            (self.apply)(&self.configured);
            info!(
                filter = self.configured,
                recovered = true,
                "the log filter is the configured one again"
            );
        }
    }

    pub(crate) fn show(&self, replica_id: &str) -> ReplicaLogLevel {
        let changed = self.changed.borrow();
        let changed = changed.as_ref();
        let until = changed.map(|changed| changed.until_by_the_clock);
        ReplicaLogLevel {
            replica_id: replica_id.to_owned(),
            filter: changed
                .map_or(&self.configured, |changed| &changed.filter)
                .clone(),
            until: until.map(|until| humantime::format_rfc3339_seconds(until).to_string()),
        }
    }

    /// Takes changes back when their time is over.
    pub(crate) fn child(self: Arc<Self>) -> Child {
        let node = Node::new("log_levels", NodeKind::Worker);
        Child::task(&node, move || Arc::clone(&self).watch())
    }

    async fn watch(self: Arc<Self>) -> Result<(), watch::error::RecvError> {
        let mut changes = self.changed.subscribe();
        loop {
            let until = changes
                .borrow_and_update()
                .as_ref()
                .map(|changed| changed.until);
            let over = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over => self.reset(),
                changed = changes.changed() => changed?,
            }
        }
    }
}

impl fmt::Debug for Levels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Levels")
            .field("configured", &self.configured)
            .finish_non_exhaustive()
    }
}
