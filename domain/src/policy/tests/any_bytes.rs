//! The seeds of the fuzz target and mutations of them, so that every run of the tests covers what
//! fuzzing starts from.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::Index;

use crate::policy::invariants;

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/policy");
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|file| fs::read(file).unwrap())
        .collect()
});

/// Pieces that a mutation of single bytes would hardly find.
const WORDS: [&str; 20] = [
    "\"steps\":",
    "\"weights\":",
    "\"fallback\":",
    "\"providers\":",
    "\"pre\":",
    "\"depends_on\":",
    "\"when\":",
    "\"ttl\":",
    "null",
    "true",
    "[]",
    "{}",
    "[",
    "{",
    "]",
    "}",
    ",",
    "\"",
    "1e308",
    "\\ud800",
];

#[test]
fn the_seeds_keep_what_must_hold() {
    assert!(SEEDS.len() >= 15, "the seeds are missing");
    SEEDS.iter().for_each(|seed| invariants::check(seed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_seeds_keep_what_must_hold(
        seed in any::<Index>(),
        edits in prop::collection::vec((any::<Index>(), 0usize..12, 0u8..5, any::<Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = seed.get(&SEEDS).clone();
        for (place, length, kind, word, byte) in edits {
            let start = place.index(bytes.len() + 1);
            let end = (start + length).min(bytes.len());
            let new = match kind {
                0 => Vec::new(),
                1 => vec![byte],
                2 => word.get(&WORDS).as_bytes().to_vec(),
                3 => bytes[start..end].repeat(2),
                _ => word.get(&SEEDS).clone(),
            };
            bytes.splice(start..end, new);
        }
        invariants::check(&bytes);
    }
}
