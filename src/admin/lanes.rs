//! Room for operations: so many at work, so many that wait, apart by what they wait for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::operation::WaitsFor;
use super::refusal::Refusal;

const AT_ONCE: usize = 10;
const PLACES: usize = 200;
/// For a permit. Who waits longer had better ask another replica.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

/// What only looks at memory does not wait for what waits for a database that hangs.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    nobody: Arc<Lane>,
    extensions: Arc<Lane>,
    store: Arc<Lane>,
}

#[derive(Debug)]
struct Lane {
    /// For those at work.
    permits: Semaphore,
    /// For those at work and those that wait.
    places: Arc<Semaphore>,
}

/// A place for one operation.
#[derive(Debug)]
pub struct Admission {
    lane: Arc<Lane>,
    _place: OwnedSemaphorePermit,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            permits: Semaphore::new(AT_ONCE),
            places: Arc::new(Semaphore::new(PLACES)),
        }
    }
}

impl Lanes {
    /// A place, or the refusal that there is none.
    pub(super) fn admit(&self, waits_for: WaitsFor) -> Result<Admission, Refusal> {
        let lane = match waits_for {
            WaitsFor::Nobody => &self.nobody,
            WaitsFor::Extensions => &self.extensions,
            WaitsFor::Store => &self.store,
        };
        let place = Arc::clone(&lane.places).try_acquire_owned();
        Ok(Admission {
            lane: Arc::clone(lane),
            _place: place.map_err(|_| Refusal::busy())?,
        })
    }
}

impl Admission {
    /// Waits until fewer than the most are at work.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let permit = timeout(WAIT_LIMIT, self.lane.permits.acquire()).await;
        permit.ok().and_then(Result::ok).ok_or_else(Refusal::busy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_store_keeps_nobody_else_waiting() {
        let lanes = Lanes::default();
        let admitted: Vec<Admission> = (0..PLACES)
            .map(|_| lanes.admit(WaitsFor::Store).expect("a place"))
            .collect();
        assert!(
            lanes.admit(WaitsFor::Store).is_err(),
            "all places are taken"
        );
        let mut at_work = Vec::new();
        for admission in admitted.iter().take(AT_ONCE) {
            at_work.push(admission.turn().await.expect("a permit"));
        }
        assert!(
            admitted[AT_ONCE].turn().await.is_err(),
            "refused after a while"
        );
        let other = lanes.admit(WaitsFor::Nobody).expect("a place");
        assert!(other.turn().await.is_ok());

        drop(at_work);
        assert!(admitted[AT_ONCE].turn().await.is_ok());
        drop(admitted);
        assert!(lanes.admit(WaitsFor::Store).is_ok());
    }
}
