//! Which messages of other replicas were taken: none is taken twice, or long after it was sent.

use std::collections::HashMap;

/// Messages that were taken, by who sent them. It holds what true replicas sent in a minute, and
/// of each only numbers, so that it stays small.
#[derive(Debug, Default)]
pub struct Seen {
    senders: HashMap<String, Sender>,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    /// When it sent the newest.
    sent_at: u64,
    /// The highest sequence number.
    highest: u64,
    /// One bit for each number from there down.
    taken: u128,
}

/// How a message looks beside those that were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    New,
    /// Taken before, or so far behind others of its sender that it may have been.
    Again,
    /// More senders than any fleet has.
    Crowded,
}

/// How far the clocks of two replicas may be apart, the time on the way included.
const APART: u64 = 30_000;
/// Each start of a replica is a sender.
const MOST_SENDERS: usize = 1_000;

/// Whether a message was sent just now.
pub fn is_fresh(sent_at: u64, now: u64) -> bool {
    sent_at.abs_diff(now) <= APART
}

impl Seen {
    /// Notes a message that is fresh and of a true replica.
    pub fn take(&mut self, sender: &str, sequence: u64, sent_at: u64, now: u64) -> Sight {
        if let Some(known) = self.senders.get_mut(sender) {
            known.sent_at = known.sent_at.max(sent_at);
            return known.take(sequence);
        }
        if self.senders.len() >= MOST_SENDERS {
            // Of these nothing is fresh any more, so that nothing can come again.
            self.senders
                .retain(|_, known| known.sent_at.saturating_add(APART) >= now);
        }
        if self.senders.len() >= MOST_SENDERS {
            return Sight::Crowded;
        }
        let first = Sender {
            sent_at,
            highest: sequence,
            taken: 1,
        };
        self.senders.insert(sender.to_owned(), first);
        Sight::New
    }
}

impl Sender {
    fn take(&mut self, sequence: u64) -> Sight {
        let place = |distance: u64| u32::try_from(distance).ok();
        if sequence > self.highest {
            let ahead = place(sequence - self.highest);
            let moved = ahead.and_then(|ahead| self.taken.checked_shl(ahead));
            self.taken = moved.unwrap_or_default() | 1;
            self.highest = sequence;
            return Sight::New;
        }
        let behind = place(self.highest - sequence);
        match behind.and_then(|behind| 1_u128.checked_shl(behind)) {
            Some(bit) if self.taken & bit == 0 => {
                self.taken |= bit;
                Sight::New
            }
            Some(_) | None => Sight::Again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_be_half_a_minute_apart() {
        for (sent_at, fresh) in [
            (100_000 - APART, true),
            (100_000 + APART, true),
            (100_000 - APART - 1, false),
            (100_000 + APART + 1, false),
            (0, false),
            (u64::MAX, false),
        ] {
            assert_eq!(is_fresh(sent_at, 100_000), fresh, "{sent_at}");
        }
    }

    #[test]
    fn what_was_taken_is_not_taken_again_in_whatever_order_it_comes() {
        let mut seen = Seen::default();
        let mut take = |sequence| seen.take("r1", sequence, 0, 0);
        for sequence in [5, 7, 6, 3, 130, 131] {
            assert_eq!(take(sequence), Sight::New, "{sequence}");
        }
        for sequence in [5, 7, 6, 130, 131] {
            assert_eq!(take(sequence), Sight::Again, "{sequence}");
        }
        assert_eq!(take(4), Sight::New, "late, and never seen");
        assert_eq!(take(3), Sight::Again, "too far behind to tell");
        assert_eq!(take(u64::MAX), Sight::New);
        assert_eq!(take(131), Sight::Again);
        assert_eq!(take(u64::MAX - 1), Sight::New);
    }

    #[test]
    fn senders_count_for_themselves() {
        let mut seen = Seen::default();
        assert_eq!(seen.take("r1", 1, 0, 0), Sight::New);
        assert_eq!(seen.take("r2", 1, 0, 0), Sight::New);
        assert_eq!(seen.take("r1", 1, 0, 0), Sight::Again);
    }

    #[test]
    fn it_forgets_a_sender_only_when_nothing_of_it_is_fresh() {
        let mut seen = Seen::default();
        for sender in 0..MOST_SENDERS {
            assert_eq!(seen.take(&sender.to_string(), 1, 1_000, 0), Sight::New);
        }
        let late = 1_000 + APART;
        assert_eq!(seen.take("one more", 1, late, late), Sight::Crowded);
        assert_eq!(seen.take("7", 1, 1_000, late), Sight::Again);
        assert_eq!(seen.take("7", 2, late, late), Sight::New);
        assert_eq!(seen.take("one more", 1, late, late + 1), Sight::New);
        assert_eq!(seen.senders.len(), 2);
    }
}
