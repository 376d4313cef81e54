//! What is to be written of refusals. Each key has a share of the rows, so that nobody's attempts
//! keep those of others out of the log; what goes beyond it is summed.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::entry::Entry;

/// Of a share, and of the row about all that came without a valid key.
const MINUTE: Duration = Duration::from_secs(60);
/// Refusals of one key in a minute with a row of their own.
const SHARE: u32 = 50;
/// Those that wait for a database that is away. Beyond this they are lost, and counted.
const MOST: usize = 1_000;
/// Written in one go.
const AT_ONCE: usize = 200;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    entries: VecDeque<Entry>,
    /// Taken to be written, and not written yet.
    under_way: Vec<Entry>,
    shares: HashMap<Option<String>, Share>,
    /// Refused without a valid key, since the last row about it.
    without_key: u64,
    told_at: Option<Instant>,
    lost: u64,
}

/// What one key had of its minute.
#[derive(Debug)]
struct Share {
    since: Instant,
    rows: u32,
    /// By operation and code.
    sums: BTreeMap<(String, Option<String>), Sum>,
}

#[derive(Debug)]
struct Sum {
    count: u64,
    first: Entry,
}

impl Waiting {
    /// Whatever was done has a row; of what was refused a share has.
    pub(super) fn note(&mut self, entry: Entry, now: Instant) {
        if entry.error_code.is_some() && !self.has_share(&entry, now) {
            return;
        }
        self.push(entry);
    }

    /// Sums it where it has none.
    fn has_share(&mut self, entry: &Entry, now: Instant) -> bool {
        let key_id = entry.key_id.clone();
        let is_over = |share: &Share| now >= share.since + MINUTE;
        if self.shares.get(&key_id).is_some_and(is_over)
            && let Some(share) = self.shares.remove(&key_id)
        {
            share.rows_of_sums().for_each(|sum| self.push(sum));
        }
        let share = self.shares.entry(key_id).or_insert_with(|| Share {
            since: now,
            rows: 0,
            sums: BTreeMap::new(),
        });
        if share.rows < SHARE {
            share.rows += 1;
            return true;
        }
        let kind = (entry.action.clone(), entry.error_code.clone());
        let sum = share.sums.entry(kind).or_insert_with(|| Sum {
            count: 0,
            first: entry.clone(),
        });
        sum.count += 1;
        false
    }

    fn push(&mut self, entry: Entry) {
        self.entries.push_back(entry);
        while self.entries.len() > MOST {
            self.lose_one();
        }
    }

    /// The oldest of whoever has most of them.
    fn lose_one(&mut self) {
        let mut counts: HashMap<Option<&str>, usize> = HashMap::new();
        for entry in &self.entries {
            *counts.entry(entry.key_id.as_deref()).or_default() += 1;
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let at = most.and_then(|(key_id, _)| {
            let mut entries = self.entries.iter();
            entries.position(|entry| entry.key_id.as_deref() == key_id)
        });
        self.entries.remove(at.unwrap_or_default());
        self.lost += 1;
    }

    pub(super) fn note_without_key(&mut self) {
        self.without_key += 1;
    }

    /// What is to be written now. It comes again until it is `written`. At the end of the router
    /// no minute is waited for.
    pub(super) fn take(&mut self, ends: bool, now: Instant) -> Vec<Entry> {
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            tracing::warn!(lost, "the audit log could not take all refusals");
        }
        self.close_shares(ends, now);
        let is_due = self.told_at.is_none_or(|at| now >= at + MINUTE);
        if self.without_key > 0 && (is_due || ends) {
            self.told_at = Some(now);
            let count = std::mem::take(&mut self.without_key);
            self.push(without_key(count));
        }
        if self.under_way.is_empty() {
            let count = self.entries.len().min(AT_ONCE);
            self.under_way = self.entries.drain(..count).collect();
        }
        self.under_way.clone()
    }

    /// What was taken last.
    pub(super) fn written(&mut self) {
        self.under_way.clear();
    }

    fn close_shares(&mut self, ends: bool, now: Instant) {
        let is_over = |share: &Share| ends || now >= share.since + MINUTE;
        let over = self.shares.extract_if(|_, share| is_over(share));
        let over: Vec<Share> = over.map(|(_, share)| share).collect();
        let sums = over.into_iter().flat_map(Share::rows_of_sums);
        sums.for_each(|sum| self.push(sum));
    }

    pub(super) fn is_empty(&self) -> bool {
        let has_sums = self.shares.values().any(|share| !share.sums.is_empty());
        self.entries.is_empty() && self.under_way.is_empty() && self.without_key == 0 && !has_sums
    }
}

impl Share {
    fn rows_of_sums(self) -> impl Iterator<Item = Entry> {
        self.sums.into_values().map(|Sum { count, first }| Entry {
            object_id: String::new(),
            reason: Some(format!("{count} more of this key within a minute")),
            after: Some(count_of(count)),
            request_id: None,
            trace_id: None,
            ..first
        })
    }
}

fn without_key(count: u64) -> Entry {
    Entry {
        source: "nats-admin".to_owned(),
        action: "authenticate".to_owned(),
        error_code: Some("unauthorized".to_owned()),
        reason: Some(format!("{count} requests without a valid key")),
        after: Some(count_of(count)),
        ..Entry::default()
    }
}

fn count_of(count: u64) -> String {
    format!(r#"{{"count":{count}}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(key: &str, action: &str) -> Entry {
        Entry {
            key_id: Some(key.to_owned()),
            action: action.to_owned(),
            error_code: Some("forbidden".to_owned()),
            ..Entry::default()
        }
    }

    fn all(waiting: &mut Waiting, ends: bool, now: Instant) -> Vec<Entry> {
        let mut all = Vec::new();
        loop {
            let taken = waiting.take(ends, now);
            if taken.is_empty() {
                return all;
            }
            all.extend(taken);
            waiting.written();
        }
    }

    fn of<'e>(entries: &'e [Entry], key: &str) -> Vec<&'e Entry> {
        let of_key = |entry: &&Entry| entry.key_id.as_deref() == Some(key);
        entries.iter().filter(of_key).collect()
    }

    #[test]
    fn the_attempts_of_one_key_hide_none_of_another() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        for number in 0..40 {
            for _ in 0..150 {
                waiting.note(refused("loud", "delete_extension"), now);
            }
            waiting.note(refused("quiet", "create_key"), now);
            if number % 20 == 19 {
                waiting.note(refused("loud", "put_policy"), now);
            }
        }
        let first = all(&mut waiting, false, now);
        assert_eq!(of(&first, "quiet").len(), 40);
        assert_eq!(of(&first, "loud").len(), 50);
        assert!(!waiting.is_empty(), "sums wait for their minute");
        let later = all(&mut waiting, false, now + MINUTE);
        let told = later.iter().map(|entry| {
            let reason = entry.reason.clone().unwrap_or_default();
            (entry.action.as_str(), reason)
        });
        let more = |count| format!("{count} more of this key within a minute");
        let sums = [("delete_extension", more(5_950)), ("put_policy", more(2))];
        assert_eq!(told.collect::<Vec<_>>(), sums);
        assert!(waiting.is_empty());
        waiting.note(refused("loud", "delete_extension"), now + MINUTE);
        assert_eq!(all(&mut waiting, false, now + MINUTE).len(), 1);
    }

    #[test]
    fn a_sum_is_told_when_the_next_minute_or_the_end_comes() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        for _ in 0..=SHARE {
            waiting.note(refused("a", "reload"), now);
            waiting.note(refused("b", "reload"), now);
        }
        waiting.note(refused("a", "reload"), now + MINUTE);
        let written = all(&mut waiting, true, now + MINUTE);
        assert_eq!(of(&written, "a").len(), 52);
        assert_eq!(of(&written, "b").len(), 51);
    }

    #[test]
    fn the_last_of_each_key_are_kept_while_the_database_is_away() {
        let mut waiting = Waiting::default();
        let start = Instant::now();
        waiting.note(refused("quiet", "create_key"), start);
        for minute in 0..60 {
            let now = start + MINUTE * minute;
            for number in 0..SHARE {
                waiting.note(refused("loud", &format!("{minute}.{number}")), now);
            }
            // What is under way stays so.
            waiting.take(false, now);
        }
        let written = all(&mut waiting, true, start + MINUTE * 60);
        assert_eq!(of(&written, "quiet").len(), 1);
        let last = of(&written, "loud").last().map(|entry| &entry.action);
        assert_eq!(last, Some(&"59.49".to_owned()));
        assert!(written.len() <= MOST + AT_ONCE);
    }

    #[test]
    fn what_is_not_written_is_taken_again() {
        let mut waiting = Waiting::default();
        let now = Instant::now();
        waiting.note(refused("a", "reload"), now);
        assert_eq!(waiting.take(false, now).len(), 1);
        waiting.note(refused("b", "reload"), now);
        assert_eq!(waiting.take(false, now).len(), 1);
        waiting.written();
        assert_eq!(of(&waiting.take(false, now), "b").len(), 1);
    }
}
