//! How much of anything a document may have that people write.

use std::ops::RangeInclusive;

/// Entries of a list; more than any pipeline may have.
pub const MAX_ITEMS: usize = 256;

/// Of an id of an extension or a policy, in characters.
pub const MAX_ID: usize = 64;
/// Of an id in a request, in bytes.
pub const MAX_REQUEST_ID: usize = 256;
/// Milliseconds that a request may name; more is a mistake, not a wish.
pub const REQUEST_TIMEOUT_MS: RangeInclusive<u64> = 1..=9_999_999_999;

/// Fallback rules of a policy; far more than anybody can follow.
pub const MAX_RULES: usize = 32;
/// Conditions of a rule.
pub const MAX_CONDITIONS: usize = 32;
/// Attempts after the first that a rule may ask for.
pub const RULE_RETRIES: RangeInclusive<u64> = 0..=10;
/// The first wait of a rule, and its longest.
pub const BACKOFF_BASE_MS: RangeInclusive<u64> = 1..=60_000;
pub const BACKOFF_MAX_MS: RangeInclusive<u64> = 1..=600_000;
/// The name of the context key of a session, in bytes.
pub const MAX_SESSION_KEY: usize = 128;
/// How long a session keeps its provider.
pub const SESSION_SECONDS: RangeInclusive<u64> = 1..=7 * 86_400;

/// Milliseconds that a record may name; ten minutes is the most that a policy may grant a provider.
pub const RECORD_TIMEOUT_MS: RangeInclusive<u64> = 1..=600_000;
/// Retries that a record may name: four attempts in all.
pub const RECORD_RETRIES: RangeInclusive<u64> = 0..=3;
/// Calls in flight that a record may name.
pub const MAX_IN_FLIGHT: RangeInclusive<u64> = 1..=10_000;
/// Bytes of a call that a record may name as the most that its extension takes.
pub const MAX_PAYLOAD_BYTES: RangeInclusive<u64> = 1..=64 * 1024 * 1024;
/// Milliseconds that a record may add for each MiB of a call.
pub const TIMEOUT_PER_MIB_MS: RangeInclusive<u64> = 1..=600_000;
/// Of an instance.
pub const WEIGHT: RangeInclusive<u64> = 0..=100;

/// Milliseconds that an operator's decision about breakers may hold: a day at most.
pub const DECISION_MS: RangeInclusive<u64> = 1_000..=86_400_000;
/// Of an operator's reason, in bytes.
pub const MAX_REASON: usize = 500;

/// Of the name of a key, in bytes.
pub const MAX_KEY_NAME: usize = 128;
/// Milliseconds that a rotated key may go on beside its successor: 90 days at most.
pub const OVERLAP_MS: RangeInclusive<u64> = 0..=90 * 86_400_000;

/// How long another log filter holds, in milliseconds.
pub const LOG_LEVEL_MS: RangeInclusive<u64> = 1_000..=24 * 3_600_000;
