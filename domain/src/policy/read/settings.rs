//! What holds for the whole policy: sticky sessions and what it asks of breakers.

use std::time::Duration;

use serde_json::value::RawValue;

use crate::document::{Mistakes, Object, shorten};
use crate::policy::Sticky;
use crate::target::breaker;
use beamline_contract::limits::{MAX_SESSION_KEY, SESSION_SECONDS};
use beamline_contract::policy::DEFAULT_SESSION_KEY;
use beamline_contract::record::BreakerOverrides;

const STICKY_KEYS: &[&str] = &["enabled", "session_key", "ttl", "ttl_seconds"];

/// `None` when there is none, or it is switched off; what is switched off is checked all the same.
pub(super) fn sticky(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Option<Sticky> {
    let raw = object.take("sticky")?;
    let mut sticky = Object::read(raw, object.at("sticky"), mistakes)?;
    let is_empty = sticky.keys().is_empty();
    let enabled = sticky.flag("enabled", mistakes).unwrap_or(!is_empty);
    let session_key = sticky.text("session_key", mistakes);
    if session_key
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > MAX_SESSION_KEY)
    {
        mistakes.add(
            sticky.at("session_key"),
            format!("must be 1 to {MAX_SESSION_KEY} bytes long"),
        );
    }
    let is_twice = sticky.has("ttl") && sticky.has("ttl_seconds");
    let ttl = sticky
        .take("ttl")
        .and_then(|raw| read_ttl(raw, &sticky.at("ttl"), mistakes));
    let seconds = sticky.whole("ttl_seconds", SESSION_SECONDS, mistakes);
    // Older documents hold both.
    let are_equal = ttl.is_some() && ttl == seconds.map(Duration::from_secs);
    if is_twice && !are_equal {
        mistakes.add(
            sticky.at("ttl_seconds"),
            "is the older name of ttl, which is given as well; keep one of them",
        );
    }
    sticky.finish(STICKY_KEYS, mistakes);
    let session_key = session_key.unwrap_or_else(|| DEFAULT_SESSION_KEY.to_owned());
    let ttl = ttl
        .or(seconds.map(Duration::from_secs))
        .unwrap_or(Sticky::DEFAULT_TTL);
    enabled.then_some(Sticky { session_key, ttl })
}

fn read_ttl(raw: &RawValue, pointer: &str, mistakes: &mut Mistakes) -> Option<Duration> {
    let text = serde_json::from_str::<String>(raw.get()).ok();
    let digits = text.as_deref().unwrap_or(raw.get());
    if digits.bytes().all(|byte| byte.is_ascii_digit()) && (1..=9).contains(&digits.len()) {
        mistakes.add(
            pointer,
            format!("must have a unit: write \"{digits}s\" for {digits} seconds"),
        );
        return None;
    }
    let ttl = text.and_then(|text| humantime::parse_duration(&text).ok());
    if let Some(ttl) = ttl.filter(|ttl| Sticky::TTL.contains(ttl)) {
        return Some(ttl);
    }
    let problem = match ttl {
        Some(_) => format!(
            "must be from {} to {}",
            humantime::format_duration(*Sticky::TTL.start()),
            humantime::format_duration(*Sticky::TTL.end())
        ),
        None => "must be a duration with a unit, for example \"10m\" or \"1h 30m\"".to_owned(),
    };
    mistakes.add(pointer, format!("{problem}, is {}", shorten(raw.get())));
    None
}

pub(super) fn circuit_breaker(
    object: &mut Object<'_>,
    mistakes: &mut Mistakes,
) -> BreakerOverrides {
    let Some(raw) = object.take("circuit_breaker") else {
        return BreakerOverrides::default();
    };
    let breaker = Object::read(raw, object.at("circuit_breaker"), mistakes);
    breaker
        .map(|breaker| breaker::read_policy(breaker, mistakes))
        .unwrap_or_default()
}

/// Keys of older documents that are kept, and do nothing here.
const WITHOUT_EFFECT: [(&str, &str); 2] = [
    (
        "defaults",
        "is kept and has no effect; put what a provider needs into its config, and what callers may change under config.defaults",
    ),
    (
        "escalate_on",
        "is kept and has no effect; write what happens after a failure in fallbacks",
    ),
];

pub(super) fn without_effect(object: &mut Object<'_>, mistakes: &mut Mistakes) {
    for (key, message) in WITHOUT_EFFECT {
        let pointer = object.at(key);
        if object.take_any(key).is_some() {
            mistakes.warn(pointer, message);
        }
    }
}
