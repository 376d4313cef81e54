//! Connections of one kind, of which there are never many more than allowed: who comes besides ends
//! the oldest, and nobody waits for a place.

use std::collections::VecDeque;

use tokio_util::sync::{CancellationToken, DropGuard};

/// How to end each connection, in the order of their age; cancelled when it has ended.
#[derive(Debug)]
pub(super) struct Crowd {
    most: usize,
    ending: CancellationToken,
    oldest: VecDeque<CancellationToken>,
}

/// A connection's place. It is free when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Says that the connection shall end.
    pub(super) ending: CancellationToken,
    _free_on_drop: DropGuard,
}

impl Crowd {
    /// All of them end with `ending`.
    pub(super) fn new(most: usize, ending: &CancellationToken) -> Self {
        Self {
            most,
            ending: ending.clone(),
            oldest: VecDeque::new(),
        }
    }

    /// Ends the oldest if all places are taken.
    pub(super) fn enter(&mut self) -> Place {
        if self.oldest.len() >= self.most {
            self.forget_ended();
        }
        if self.oldest.len() >= self.most
            && let Some(oldest) = self.oldest.pop_front()
        {
            oldest.cancel();
        }
        let ending = self.ending.child_token();
        self.oldest.push_back(ending.clone());
        Place {
            _free_on_drop: ending.clone().drop_guard(),
            ending,
        }
    }

    /// Those that do nothing hold file descriptors.
    pub(super) fn end_a_quarter(&mut self) {
        self.forget_ended();
        let count = self.oldest.len().div_ceil(4);
        self.oldest
            .drain(..count)
            .for_each(|connection| connection.cancel());
    }

    fn forget_ended(&mut self) {
        self.oldest.retain(|connection| !connection.is_cancelled());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room_and_who_has_left_needs_none() {
        let mut crowd = Crowd::new(3, &CancellationToken::new());
        let first = crowd.enter();
        let second = crowd.enter();
        let third = crowd.enter();
        drop(second);
        let fourth = crowd.enter();
        assert!(!first.ending.is_cancelled(), "the second has left");
        let fifth = crowd.enter();
        assert!(first.ending.is_cancelled());
        for place in [&third, &fourth, &fifth] {
            assert!(!place.ending.is_cancelled());
        }
        crowd.end_a_quarter();
        assert!(third.ending.is_cancelled());
        assert!(!fourth.ending.is_cancelled());
    }

    #[test]
    fn all_end_together() {
        let ending = CancellationToken::new();
        let place = Crowd::new(1, &ending).enter();
        ending.cancel();
        assert!(place.ending.is_cancelled());
    }
}
