//! The last ones, as many as there is room for.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Past;

#[derive(Debug)]
pub(super) struct Ring {
    most: usize,
    most_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The newest last.
    all: VecDeque<(usize, Arc<Past>)>,
    bytes: usize,
}

impl Ring {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            most,
            most_bytes,
            kept: Mutex::default(),
        }
    }

    pub(super) fn keep(&self, past: Past) {
        let bytes = past.bytes();
        let mut forgotten = Vec::new();
        let mut kept = self.kept.lock();
        kept.bytes += bytes;
        kept.all.push_back((bytes, Arc::new(past)));
        while (kept.all.len() > self.most || kept.bytes > self.most_bytes)
            && let Some((bytes, oldest)) = kept.all.pop_front()
        {
            kept.bytes -= bytes;
            forgotten.push(oldest);
        }
        drop(kept);
        // Nobody waits for the lock meanwhile.
        drop(forgotten);
    }

    /// The newest that fit.
    pub(super) fn newest(&self, limit: usize, fits: impl Fn(&Past) -> bool) -> Vec<Arc<Past>> {
        // Whoever answers a request waits for the lock no longer than it takes to copy pointers.
        let all: Vec<Arc<Past>> = {
            let kept = self.kept.lock();
            kept.all
                .iter()
                .rev()
                .map(|(_, past)| Arc::clone(past))
                .collect()
        };
        all.into_iter()
            .filter(|past| fits(past))
            .take(limit)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use beamline_actors::story::Ended;
    use beamline_domain::request::RequestKind;
    use tokio::time::Instant;

    use super::*;

    fn past(id: &str) -> Past {
        let ended = Ended {
            edge: "nats",
            kind: RequestKind::Route,
            outcome: "ok",
            request_id: Some(id.into()),
            trace_id: "".into(),
            tenant_id: None,
            policy_id: None,
            received: Instant::now(),
            took: Duration::ZERO,
            run: None,
            story: Arc::default(),
        };
        Past::new(ended, SystemTime::UNIX_EPOCH)
    }

    fn ids(ring: &Ring, limit: usize) -> Vec<String> {
        let found = ring.newest(limit, |_| true);
        let ids = found
            .iter()
            .filter_map(|past| past.ended.request_id.as_deref());
        ids.map(str::to_owned).collect()
    }

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let ring = Ring::new(3, usize::MAX);
        for id in ["a", "b", "c", "d"] {
            ring.keep(past(id));
        }
        assert_eq!(ids(&ring, 10), ["d", "c", "b"]);
        assert_eq!(ids(&ring, 2), ["d", "c"]);
    }

    #[test]
    fn large_ones_leave_room_for_fewer() {
        let two = 2 * past("a").bytes();
        let ring = Ring::new(100, two);
        for id in ["a", "b", "c"] {
            ring.keep(past(id));
        }
        assert_eq!(ids(&ring, 10), ["c", "b"]);
        assert_eq!(ring.kept.lock().bytes, two);
    }
}
