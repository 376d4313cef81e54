//! What must not happen when the bus comes back late, or a router does: work for callers who have
//! given up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Stage;
use crate::load::class_id;
use crate::traffic::DEADLINE;
use crate::watch::Progress;

/// What is more than this past its deadline is dropped by whoever reads it; less may be the clocks.
pub(crate) const BELIEVED_PAST: Duration = Duration::from_secs(1);
/// For a machine that others use too.
pub(crate) const ON_ITS_WAY: Duration = Duration::from_millis(500);
/// A request that waits for a place at the door, and its call for one of its extension.
pub(crate) const IN_QUEUES: Duration = Duration::from_millis(500);

impl Stage {
    /// Nothing is acted on long after its caller gave up, and nothing twice. The steady provider is
    /// the witness.
    pub(crate) fn no_ghosts(&mut self) {
        let sent = self.load.sent();
        let number = |id: &str| {
            id.strip_prefix("chaos-")
                .and_then(|number| number.parse::<usize>().ok())
        };
        let mut times: BTreeMap<usize, usize> = BTreeMap::new();
        let mut ghosts = Vec::new();
        for call in self.cast.steady.calls() {
            let Some(number) = number(&call.request_id) else {
                continue;
            };
            *times.entry(number).or_insert(0) += 1;
            let age = sent
                .get(number)
                .map(|sent| call.at.saturating_duration_since(sent.at));
            ghosts
                .extend(age.filter(|age| *age > DEADLINE + BELIEVED_PAST + IN_QUEUES + ON_ITS_WAY));
        }
        let twice: Vec<String> = times
            .iter()
            .filter(|(_, times)| **times > 1)
            .map(|(number, _)| class_id(*number))
            .collect();
        let oldest = ghosts.iter().max();
        self.check("ghosts", ghosts.is_empty(), || {
            format!(
                "{} requests were executed long after their deadline, the oldest {oldest:?} after it was sent",
                ghosts.len()
            )
        });
        self.check("ghosts", !times.is_empty(), || {
            "nobody was called, so nothing was seen".to_owned()
        });
        self.check("doubled calls", twice.is_empty(), || {
            format!("called more than once: {twice:?}")
        });
    }

    /// Follows what a router takes in and answers, from now on.
    pub(crate) fn progress(&self, router: usize) -> Progress {
        Progress::start(self.routers[router].http())
    }

    /// Whatever a router took in had its end by its deadline, whether or not the bus could carry
    /// the answer.
    pub(crate) fn nobody_hung(&mut self, progress: &Progress) {
        let lag = self
            .load
            .lags()
            .into_iter()
            .map(|(_, lag)| lag)
            .max()
            .unwrap_or_default();
        let overdue = progress.overdue(DEADLINE + ON_ITS_WAY + lag);
        self.check("hung", overdue == Some(0.0), || match overdue {
            Some(count) => format!("{count} requests were not answered by their deadline"),
            None => "the router said too seldom what it had answered".to_owned(),
        });
    }
}
