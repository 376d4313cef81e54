//! Large bodies are read on threads of their own, few at a time: reading one may take longer than
//! requests can wait. Whoever has no right key waits apart.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::refusal::Refusal;

/// A body of more bytes is large.
pub(super) const LARGE: usize = 64 * 1024;
/// Until it is one's turn.
const WAIT_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct LargeBodies {
    /// Is the signature right, or the key? That takes some milliseconds for each.
    pub(super) doors: Room,
    pub(super) callers: Room,
    pub(super) strangers: Room,
}

/// So many bodies at a time, and so many that wait.
#[derive(Debug)]
pub(super) struct Room {
    turns: Semaphore,
    places: Semaphore,
}

/// Held while a body is read.
#[derive(Debug)]
pub(super) struct Turn<'r> {
    _turn: SemaphorePermit<'r>,
    _place: SemaphorePermit<'r>,
}

impl Default for LargeBodies {
    fn default() -> Self {
        Self {
            doors: Room::new(2, 64),
            callers: Room::new(2, 64),
            strangers: Room::new(1, 8),
        }
    }
}

impl Room {
    fn new(turns: usize, places: usize) -> Self {
        Self {
            turns: Semaphore::new(turns),
            places: Semaphore::new(places),
        }
    }

    pub(super) async fn turn(&self) -> Result<Turn<'_>, Refusal> {
        let place = self.places.try_acquire().map_err(|_| Refusal::busy())?;
        let turn = timeout(WAIT_LIMIT, self.turns.acquire()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or_else(Refusal::busy)?;
        Ok(Turn {
            _turn: turn,
            _place: place,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn strangers_keep_no_caller_waiting() {
        let rooms = LargeBodies::default();
        let _reads = rooms.strangers.turn().await.expect("the first");
        assert!(rooms.strangers.turn().await.is_err(), "one at a time");
        let _also = rooms.callers.turn().await.expect("a turn of its own");
    }

    #[tokio::test(start_paused = true)]
    async fn who_finds_the_room_full_is_told_at_once() {
        let room = Room::new(1, 2);
        let reads = room.turn().await.expect("a turn");
        let (waits, refused) = tokio::join!(room.turn(), room.turn());
        assert!(waits.is_err() && refused.is_err());
        drop(reads);
        assert!(room.turn().await.is_ok());
    }
}
