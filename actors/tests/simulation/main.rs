//! The whole tree in memory with paused time, under schedules of faults and load that follow from a
//! seed.
//!
//! `SIMULATION_SEEDS=5000` plays so many; `SIMULATION_SEED=7` plays one and prints what happens in
//! it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails by panicking, and tells what it found"
)]

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;

use play::{Played, play};

mod bus;
mod faults;
mod judge;
mod play;
mod policies;
mod router;
mod story;
mod world;

const SEEDS: u64 = 150;
/// Failing seeds that are printed.
const SHOWN: usize = 5;

#[test]
fn every_promise_is_kept_whatever_the_seed() {
    if let Some(seed) = variable("SIMULATION_SEED") {
        return replay(seed);
    }
    let seeds = variable("SIMULATION_SEEDS").unwrap_or(SEEDS);
    let next = AtomicU64::new(0);
    let requests = AtomicUsize::new(0);
    let calls = AtomicUsize::new(0);
    let failed: Mutex<Vec<(u64, Vec<String>)>> = Mutex::default();
    let begun = Instant::now();
    let work = || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= seeds {
            break;
        }
        let played = outcome(seed, false);
        requests.fetch_add(played.requests, Ordering::Relaxed);
        calls.fetch_add(played.calls, Ordering::Relaxed);
        if !played.broken.is_empty() {
            failed.lock().push((seed, played.broken));
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(1, usize::from))
            .for_each(|_| drop(scope.spawn(work)))
    });
    let took = begun.elapsed().as_secs_f64();
    let each = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    eprintln!(
        "{seeds} seeds, {} requests, {} calls in {took:.1} s",
        each(&requests),
        each(&calls)
    );
    report(failed.into_inner(), seeds);
}

#[test]
fn a_seed_is_the_same_story_every_time() {
    for seed in 0..8 {
        let first = play(seed, true).story;
        let second = play(seed, true).story;
        let differs = first.iter().zip(&second).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(
            first.iter().any(|line| line.contains("answer")),
            "seed {seed} tells nothing"
        );
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{name} must be a whole number, is {value}")),
    )
}

/// A run that panics has broken its promises as well.
fn outcome(seed: u64, keep_story: bool) -> Played {
    catch_unwind(|| play(seed, keep_story)).unwrap_or_else(|_| Played {
        requests: 0,
        calls: 0,
        broken: vec!["it panicked".to_owned()],
        story: Vec::new(),
    })
}

fn replay(seed: u64) {
    let played = outcome(seed, true);
    played.story.iter().for_each(|line| eprintln!("{line}"));
    report(
        vec![(seed, played.broken)]
            .into_iter()
            .filter(|(_, broken)| !broken.is_empty())
            .collect(),
        1,
    );
}

fn report(mut failed: Vec<(u64, Vec<String>)>, seeds: u64) {
    failed.sort();
    for (seed, broken) in failed.iter().take(SHOWN) {
        eprintln!("\nseed {seed} breaks {} promises:", broken.len());
        broken
            .iter()
            .take(SHOWN)
            .for_each(|sentence| eprintln!("  {sentence}"));
        eprintln!("  play it again: SEED={seed} make simulate");
    }
    let numbers: Vec<u64> = failed.iter().map(|(seed, _)| *seed).collect();
    assert!(
        numbers.is_empty(),
        "{} of {seeds} seeds fail: {numbers:?}",
        numbers.len()
    );
}
