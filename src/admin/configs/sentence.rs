//! What a validator finds wrong with a config, as people are told it.

use std::collections::BTreeSet;

use beamline_domain::document::pointer::child;
use beamline_domain::document::shorten;
use beamline_domain::suggest::closest;
use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::types::JsonType;
use serde_json::Value;

/// A mistake in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slip {
    /// In the config.
    pub(super) pointer: String,
    pub(super) message: String,
    /// The config as a whole lacks something, or does not fit together: another key may mend it.
    pub(super) is_of_whole: bool,
}

/// The error: the schema itself fails on this config.
pub(super) fn slips_of(error: &ValidationError<'_>, schema: &Value) -> Result<Vec<Slip>, String> {
    let place = error.instance_path().as_str();
    let one = |message: String| {
        vec![Slip {
            pointer: place.to_owned(),
            message,
            is_of_whole: place.is_empty(),
        }]
    };
    let is = || shown(error.instance());
    Ok(match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unknown_keys(unexpected, place, beside(error, schema))
        }
        ValidationErrorKind::Required { property } => vec![Slip {
            pointer: child(place, property.as_str().unwrap_or_default()),
            message: "is required".to_owned(),
            is_of_whole: place.is_empty(),
        }],
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            return alternatives(error, context, schema);
        }
        ValidationErrorKind::PropertyNames { error: inner } => {
            let key = inner.instance().as_str().unwrap_or_default();
            vec![Slip {
                pointer: child(place, key),
                message: "is a key that is not allowed".to_owned(),
                is_of_whole: false,
            }]
        }
        ValidationErrorKind::Type { kind } => {
            let is = kind_of(error.instance());
            one(format!("must be {}, is {is}", types(kind).join(" or ")))
        }
        ValidationErrorKind::Enum { options } => {
            one(format!("must be one of {}, is {}", words(options), is()))
        }
        ValidationErrorKind::Constant { expected_value } => {
            one(format!("must be {}, is {}", word(expected_value), is()))
        }
        ValidationErrorKind::Minimum { limit } => {
            one(format!("must be {} or more, is {}", shown(limit), is()))
        }
        ValidationErrorKind::Maximum { limit } => {
            one(format!("must be {} or less, is {}", shown(limit), is()))
        }
        ValidationErrorKind::ExclusiveMinimum { limit } => {
            one(format!("must be more than {}, is {}", shown(limit), is()))
        }
        ValidationErrorKind::ExclusiveMaximum { limit } => {
            one(format!("must be less than {}, is {}", shown(limit), is()))
        }
        ValidationErrorKind::MultipleOf { multiple_of } => {
            one(format!("must be a multiple of {multiple_of}, is {}", is()))
        }
        ValidationErrorKind::MinLength { limit } => one(format!(
            "must have at least {limit} characters, is {}",
            is()
        )),
        ValidationErrorKind::MaxLength { limit } => {
            one(format!("must have at most {limit} characters, is {}", is()))
        }
        ValidationErrorKind::MinItems { limit } => {
            one(format!("must have at least {limit} entries"))
        }
        ValidationErrorKind::MaxItems { limit } => {
            one(format!("must have at most {limit} entries"))
        }
        ValidationErrorKind::AdditionalItems { limit } => {
            one(format!("must have at most {limit} entries"))
        }
        ValidationErrorKind::MinProperties { limit } => {
            one(format!("must have at least {limit} keys"))
        }
        ValidationErrorKind::MaxProperties { limit } => {
            one(format!("must have at most {limit} keys"))
        }
        ValidationErrorKind::Pattern { pattern } => {
            one(pattern_sentence(pattern, beside(error, schema), &is()))
        }
        ValidationErrorKind::Format { format } => {
            one(format!("must be a {}, is {}", shorten(format), is()))
        }
        ValidationErrorKind::UniqueItems => one("must have no entry twice".to_owned()),
        ValidationErrorKind::Contains => {
            one("lacks an entry of the kind that is required".to_owned())
        }
        ValidationErrorKind::UnevaluatedItems { .. } => {
            one("has entries that are not allowed".to_owned())
        }
        ValidationErrorKind::FalseSchema => one("is not allowed".to_owned()),
        ValidationErrorKind::Not { .. } => one(format!("must be something else than {}", is())),
        ValidationErrorKind::OneOfMultipleValid { .. } => {
            one("fits several of the forms of which it must have one".to_owned())
        }
        ValidationErrorKind::ContentEncoding { .. }
        | ValidationErrorKind::ContentMediaType { .. }
        | ValidationErrorKind::FromUtf8 { .. } => one("is not encoded as it must be".to_owned()),
        ValidationErrorKind::Custom { .. }
        | ValidationErrorKind::BacktrackLimitExceeded { .. }
        | ValidationErrorKind::RegexEngineFailure { .. }
        | ValidationErrorKind::Referencing(_) => {
            return Err("cannot be held against this config".to_owned());
        }
    })
}

fn unknown_keys(unexpected: &[String], place: &str, around: &Value) -> Vec<Slip> {
    let properties = around.get("properties").and_then(Value::as_object);
    let known: Vec<&str> = properties
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let slip = |key: &String| Slip {
        pointer: child(place, key),
        message: match meant(key, &known) {
            Some(near) => format!("is not a known key; did you mean {near}?"),
            None if known.is_empty() => "is not a known key".to_owned(),
            None => format!("is not a known key; known are {}", listed(&known)),
        },
        is_of_whole: false,
    };
    unexpected.iter().take(MOST_WORDS).map(slip).collect()
}

/// Long words would take long, and are no slips.
fn meant<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let is_word = |word: &&str| word.len() <= LONGEST_WORD;
    let known: Vec<&str> = known.iter().copied().filter(is_word).collect();
    is_word(&key).then(|| closest(key, &known)).flatten()
}

/// What is told of none of several alternatives.
fn alternatives(
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    schema: &Value,
) -> Result<Vec<Slip>, String> {
    let place = error.instance_path();
    let is_choice = |error: &ValidationError<'_>| {
        error.instance_path() == place && !choices(error.kind()).is_empty()
    };
    let is = shown(error.instance());
    if context.iter().all(|errors| errors.iter().all(is_choice)) {
        let mut told = BTreeSet::new();
        let all = context.iter().flatten().flat_map(|one| choices(one.kind()));
        let all: Vec<String> = all.filter(|choice| told.insert(choice.clone())).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        return Ok(vec![Slip {
            pointer: place.as_str().to_owned(),
            message: format!("must be one of {}, is {is}", listed(&all)),
            is_of_whole: place.as_str().is_empty(),
        }]);
    }
    // The one that was meant is of the right type, if it is the only one.
    let is_meant = |errors: &&Vec<ValidationError<'static>>| !errors.iter().any(is_choice);
    let mut meant = context.iter().filter(is_meant);
    if let (Some(errors), None) = (meant.next(), meant.next()) {
        let slips: Result<Vec<_>, _> = errors.iter().map(|one| slips_of(one, schema)).collect();
        return slips.map(|slips| slips.into_iter().flatten().collect());
    }
    Ok(vec![Slip {
        pointer: place.as_str().to_owned(),
        message: format!("fits none of the {} forms that are allowed", context.len()),
        is_of_whole: place.as_str().is_empty(),
    }])
}

/// What a value could be instead, where that is all that the error says.
fn choices(kind: &ValidationErrorKind) -> Vec<String> {
    if let ValidationErrorKind::Enum { options } = kind {
        let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
        options.iter().map(word).collect()
    } else if let ValidationErrorKind::Constant { expected_value } = kind {
        vec![word(expected_value)]
    } else if let ValidationErrorKind::Type { kind } = kind {
        types(kind).into_iter().map(str::to_owned).collect()
    } else {
        Vec::new()
    }
}

/// The keywords among which the one stands that was not met.
fn beside<'s>(error: &ValidationError<'_>, schema: &'s Value) -> &'s Value {
    let path = error.schema_path().as_str();
    let around = path.rsplit_once('/').map_or("", |(around, _)| around);
    schema.pointer(around).unwrap_or(&Value::Null)
}

/// A pattern says little to people: the words of the schema's author come before it.
fn pattern_sentence(pattern: &str, around: &Value, is: &str) -> String {
    match around.get("description").and_then(Value::as_str) {
        Some(words) => format!("must be \"{}\", is {is}", shorten(words)),
        None => format!("must match {}, is {is}", shorten(pattern)),
    }
}

fn types(kind: &TypeKind) -> Vec<&'static str> {
    match kind {
        TypeKind::Single(one) => vec![type_name(*one)],
        TypeKind::Multiple(set) => set.iter().map(type_name).collect(),
    }
}

fn type_name(name: JsonType) -> &'static str {
    match name {
        JsonType::Array => "a list",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Null => "null",
        JsonType::Number => "a number",
        JsonType::Object => "an object",
        JsonType::String => "a string",
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn shown(value: &Value) -> String {
    shorten(&value.to_string())
}

/// A word that is allowed, without its quotes.
fn word(value: &Value) -> String {
    match value {
        Value::String(text) => shorten(text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            shown(value)
        }
    }
}

fn words(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let all: Vec<String> = options.iter().map(word).collect();
    listed(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Nobody reads more.
const MOST_WORDS: usize = 20;
const LONGEST_WORD: usize = 64;

fn listed(words: &[&str]) -> String {
    let first: Vec<String> = words
        .iter()
        .take(MOST_WORDS)
        .map(|word| shorten(word))
        .collect();
    let more = words.len().saturating_sub(MOST_WORDS);
    if more == 0 {
        return first.join(", ");
    }
    format!("{} and {more} more", first.join(", "))
}
