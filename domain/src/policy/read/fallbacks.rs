//! Fallback rules: the canonical `fallbacks`, then the older `fallback`.

use serde_json::value::RawValue;

use super::conditions::{self, is_empty_list};
use super::listed::{Listed, check_id, read_id};
use crate::document::pointer::{Part, Place};
use crate::document::{Mistakes, Object, items, kind_of, shorten};
use crate::policy::{Backoff, Fallback, Provider, When};
use beamline_contract::limits::{BACKOFF_BASE_MS, BACKOFF_MAX_MS, MAX_RULES, RULE_RETRIES};
use beamline_contract::policy::{Status, Strategy};

const RULE_KEYS: &[&str] = &["when", "retry", "backoff", "to"];
const BACKOFF_KEYS: &[&str] = &["strategy", "base_ms", "max_ms", "jitter"];
const OLDER_KEYS: &[&str] = &["provider", "conditions"];

const OLDER_EXAMPLE: &str = "the name of a provider or an object like {\"provider\": \"mock_provider\", \"conditions\": [\"timeout\"]}";

pub(super) fn read(
    object: &mut Object<'_>,
    providers: &[Provider],
    mistakes: &mut Mistakes,
) -> Listed<Fallback> {
    let mut rules = Listed::default();
    let last = if object.has("fallback") {
        "fallback"
    } else {
        "fallbacks"
    };
    for (pointer, raw) in object.items("fallbacks", mistakes) {
        if let Some(item) = Object::read(raw, pointer, mistakes) {
            read_rule(item, &mut rules, mistakes);
        }
    }
    if let Some(raw) = object.take("fallback") {
        let pointer = object.at("fallback");
        let is_list = raw.get().starts_with('[');
        let listed = if is_list {
            items(raw, &pointer, mistakes)
        } else {
            vec![(pointer, raw)]
        };
        for (pointer, raw) in listed {
            read_older(raw, pointer, &mut rules, mistakes);
        }
    }
    if rules.items.len() > MAX_RULES {
        mistakes.add(
            object.at(last),
            format!(
                "makes {} fallback rules; at most {MAX_RULES} are allowed",
                rules.items.len()
            ),
        );
    }
    refuse_the_only_provider(&rules, providers, mistakes);
    rules
}

/// A rule that leads from a provider to itself leads nowhere.
fn refuse_the_only_provider(
    rules: &Listed<Fallback>,
    providers: &[Provider],
    mistakes: &mut Mistakes,
) {
    let [only] = providers else { return };
    let mut told: Option<&str> = None;
    for (rule, place) in rules.items.iter().zip(&rules.places) {
        // Several rules can come from one place of the older form.
        if rule.to.as_deref() == Some(only.name.as_str()) && told != Some(place) {
            let message = format!(
                "{} is the only provider, so the fallback leads nowhere; name another one",
                only.name
            );
            mistakes.add(place, message);
            told = Some(place);
        }
    }
}

fn read_rule(mut item: Object<'_>, rules: &mut Listed<Fallback>, mistakes: &mut Mistakes) {
    let when = item
        .take("when")
        .and_then(|raw| read_when(raw, item.at("when"), mistakes))
        .unwrap_or_default();
    let names_retry = item.has("retry");
    let place = item.at("to");
    let retry = item
        .whole("retry", RULE_RETRIES, mistakes)
        .and_then(|retry| u32::try_from(retry).ok());
    let backoff = read_backoff(&mut item, mistakes);
    let names_target = item.has("to");
    let to = if names_target {
        read_id(&mut item, "to", mistakes)
    } else {
        None
    };
    let retries = names_retry && retry != Some(0);
    if !names_target && !retries {
        mistakes.add(
            item.pointer(),
            "does nothing; give it retry above 0, or to with the provider that takes over",
        );
    }
    item.take("to");
    item.finish(RULE_KEYS, mistakes);
    rules.push(
        Fallback {
            when,
            retry,
            backoff,
            to,
        },
        place,
    );
}

fn read_when(raw: &RawValue, pointer: String, mistakes: &mut Mistakes) -> Option<When> {
    let mut object = Object::read(raw, pointer, mistakes)?;
    let mut when = When::default();
    if let Some(raw) = object.take("status") {
        let pointer = object.at("status");
        let is_list = raw.get().starts_with('[');
        let words = if is_list {
            items(raw, &pointer, mistakes)
        } else {
            vec![(pointer.clone(), raw)]
        };
        if is_empty_list(raw) {
            mistakes.add(
                pointer,
                "is an empty list, so it could never be met; leave it out for any failure",
            );
        }
        for (pointer, raw) in words {
            add_status(&mut when.status, raw, &pointer, mistakes);
        }
    }
    when.providers = read_providers(&mut object, mistakes);
    // A status of null is none.
    object.take_any("status");
    for key in object.keys() {
        refuse_reserved(&key, &object, mistakes);
    }
    when.conditions = conditions::read(object, mistakes);
    Some(when)
}

/// `provider`, one or several.
fn read_providers(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Vec<String> {
    let pointer = object.at("provider");
    let Some(raw) = object.take("provider") else {
        return Vec::new();
    };
    let listed = if raw.get().starts_with('[') {
        items(raw, &pointer, mistakes)
    } else {
        vec![(pointer.clone(), raw)]
    };
    if is_empty_list(raw) {
        let message = "is an empty list, so it could never be met; leave it out for any provider";
        mistakes.add(&pointer, message);
    }
    let mut providers = Vec::new();
    for (pointer, raw) in listed {
        match serde_json::from_str::<String>(raw.get()) {
            Ok(name) => providers.extend(check_id(name, &pointer, mistakes)),
            Err(_) => mistakes.add(
                pointer,
                format!("must be the name of a provider, is {}", kind_of(raw)),
            ),
        }
    }
    providers
}

/// What somebody writes who means `status` or `provider`.
const MEANT_STATUS: [&str; 9] = [
    "class",
    "code",
    "error",
    "error_code",
    "error_type",
    "errors",
    "http_status",
    "reason",
    "status_code",
];
const MEANT_PROVIDER: [&str; 3] = ["provider_id", "provider_name", "providers"];

/// A slip in a word of ours would be a condition that no request meets.
fn refuse_reserved(key: &str, object: &Object<'_>, mistakes: &mut Mistakes) {
    let plain = key.to_lowercase().replace('-', "_");
    let is_near = |word: &str| plain == word || strsim::damerau_levenshtein(&plain, word) <= 1;
    let meant = if MEANT_STATUS.contains(&plain.as_str()) || is_near("status") {
        "status"
    } else if MEANT_PROVIDER.contains(&plain.as_str()) || is_near("provider") {
        "provider"
    } else {
        return;
    };
    let message = format!(
        "is no condition on a request, so the rule would never be used; did you mean {meant}?"
    );
    mistakes.add_in_new(Place::new(object.at(key), Part::Key), message);
}

/// One status as a word or a number; a repeated one says nothing new.
fn add_status(statuses: &mut Vec<Status>, raw: &RawValue, pointer: &str, mistakes: &mut Mistakes) {
    let word = serde_json::from_str::<String>(raw.get()).unwrap_or_else(|_| raw.get().to_owned());
    match Status::parse(&word) {
        Some(status) if !statuses.contains(&status) => statuses.push(status),
        Some(_) => {}
        None => {
            let words = Status::WORDS.map(|(word, _)| word).join(", ");
            let shown = shorten(raw.get());
            mistakes.add(
                pointer,
                format!("must be one of {words} or a code from 100 to 999, is {shown}"),
            );
        }
    }
}

fn read_backoff(item: &mut Object<'_>, mistakes: &mut Mistakes) -> Backoff {
    let default = Backoff::default();
    let Some(raw) = item.take("backoff") else {
        return default;
    };
    let Some(mut object) = Object::read(raw, item.at("backoff"), mistakes) else {
        return default;
    };
    let strategy = object
        .choice("strategy", Strategy::WORDS, mistakes)
        .unwrap_or(default.strategy);
    let base = object.milliseconds("base_ms", BACKOFF_BASE_MS, mistakes);
    let max = object.milliseconds("max_ms", BACKOFF_MAX_MS, mistakes);
    let jitter = object.flag("jitter", mistakes).unwrap_or(default.jitter);
    if let (Some(base), Some(max)) = (base, max)
        && max < base
    {
        let message = format!(
            "must be base_ms or more, which is {}, is {}",
            base.as_millis(),
            max.as_millis()
        );
        mistakes.add(object.at("max_ms"), message);
    }
    object.finish(BACKOFF_KEYS, mistakes);
    // A limit that was not written follows the one that was.
    let base_or_default = base.unwrap_or_else(|| default.base.min(max.unwrap_or(default.base)));
    let max = max.unwrap_or_else(|| default.max.max(base_or_default));
    Backoff {
        strategy,
        base: base_or_default,
        max,
        jitter,
    }
}

/// A name, or `{"provider", "conditions"}`; the conditions can make several rules.
fn read_older(
    raw: &RawValue,
    pointer: String,
    rules: &mut Listed<Fallback>,
    mistakes: &mut Mistakes,
) {
    match raw.get().as_bytes().first() {
        Some(b'"') => {
            let name = serde_json::from_str::<String>(raw.get()).unwrap_or_default();
            if let Some(name) = check_id(name, &pointer, mistakes) {
                rules.push(to(When::default(), name), pointer);
            }
        }
        Some(b'{') => {
            let Some(mut object) = Object::read(raw, pointer, mistakes) else {
                return;
            };
            let place = object.at("provider");
            let provider = read_id(&mut object, "provider", mistakes);
            let whens = read_conditions(&mut object, mistakes);
            object.finish(OLDER_KEYS, mistakes);
            let Some(provider) = provider else { return };
            for when in whens {
                rules.push(to(when, provider.clone()), place.clone());
            }
        }
        _ => mistakes.add(
            pointer,
            format!("must be {OLDER_EXAMPLE}, is {}", kind_of(raw)),
        ),
    }
}

/// All words together are one rule, at the place of the first; each object is a rule of its own.
/// Nothing is any failure.
fn read_conditions(object: &mut Object<'_>, mistakes: &mut Mistakes) -> Vec<When> {
    let mut whens: Vec<When> = Vec::new();
    let mut words: Option<usize> = None;
    let listed = object.items("conditions", mistakes);
    for (pointer, raw) in listed {
        if raw.get().starts_with('{') {
            whens.extend(read_when(raw, pointer, mistakes));
            continue;
        }
        let index = *words.get_or_insert(whens.len());
        if index == whens.len() {
            whens.push(When::default());
        }
        if let Some(when) = whens.get_mut(index) {
            add_status(&mut when.status, raw, &pointer, mistakes);
        }
    }
    if whens.is_empty() {
        vec![When::default()]
    } else {
        whens
    }
}

fn to(when: When, provider: String) -> Fallback {
    Fallback {
        when,
        retry: None,
        backoff: Backoff::default(),
        to: Some(provider),
    }
}
