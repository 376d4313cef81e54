//! Conditions on a request: what the routing rules of a version and `when` of a fallback rule have
//! in common.
//!
//! Every condition must hold. A list means "one of", a scalar means "equals" (contract section 3).

use std::fmt;

use serde_json::value::RawValue;

use crate::document::{Mistakes, kind_of};
use beamline_contract::fields::Fields;

/// What conditions are compared with. The router's own words win over a context key of the same
/// name, so that a caller cannot claim to be another tenant.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    pub tenant_id: &'a str,
    pub policy_id: &'a str,
    pub environment: &'a str,
    pub message_type: &'a str,
    pub context: &'a Fields,
}

/// The value of one key.
#[derive(Debug, Clone, Copy)]
pub enum Fact<'a> {
    Text(&'a str),
    Json(&'a RawValue),
}

impl<'a> Facts<'a> {
    /// `tenant` and `tenant_id` are the same, and so are `policy` and `policy_id`; everything that
    /// the router does not know itself is a context key.
    pub fn get(&self, key: &str) -> Option<Fact<'a>> {
        match key {
            "tenant" | "tenant_id" => Some(Fact::Text(self.tenant_id)),
            "policy" | "policy_id" => Some(Fact::Text(self.policy_id)),
            "environment" => Some(Fact::Text(self.environment)),
            "message_type" => Some(Fact::Text(self.message_type)),
            key => self.context.get(key).map(Fact::Json),
        }
    }

    /// The value of a context key as a plain text, for sessions and hashes; `None` when it is no
    /// scalar or empty.
    pub fn plain(&self, key: &str) -> Option<String> {
        let text = match self.get(key)? {
            Fact::Text(text) => text.to_owned(),
            Fact::Json(raw) => match raw.get().as_bytes().first() {
                Some(b'"') => serde_json::from_str(raw.get()).ok()?,
                Some(b'{' | b'[' | b'n') | None => return None,
                Some(_) => raw.get().to_owned(),
            },
        };
        (!text.is_empty()).then_some(text)
    }
}

/// Conditions that must all hold; none at all hold always.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conditions(Vec<Condition>);

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    key: String,
    one_of: Vec<Scalar>,
    /// Whether it was written as a list.
    list: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Scalar {
    Text(String),
    /// As it was written, and what it comes to: `1.0` equals `1`.
    Number(Box<str>, f64),
    Flag(bool),
    Null,
}

impl Conditions {
    /// Takes one more condition as somebody wrote it.
    pub fn read(&mut self, key: String, raw: &RawValue, pointer: &str, mistakes: &mut Mistakes) {
        self.read_or_never(key, raw, pointer, mistakes);
        if self.0.pop_if(|last| last.one_of.is_empty()).is_some() {
            mistakes.add(pointer, "is an empty list, so it could never be met");
        }
    }

    /// The same where an empty list is meant: it is met by nobody.
    pub fn read_or_never(
        &mut self,
        key: String,
        raw: &RawValue,
        pointer: &str,
        mistakes: &mut Mistakes,
    ) {
        let list = raw.get().starts_with('[');
        let values: Vec<&RawValue> = if list {
            serde_json::from_str(raw.get()).unwrap_or_default()
        } else {
            Vec::from([raw])
        };
        let mut one_of = Vec::with_capacity(values.len());
        for value in values {
            match Scalar::read(value) {
                Some(scalar) => one_of.push(scalar),
                None => {
                    let message = format!(
                        "must be a string, a number, true, false or a list of them, is {}",
                        kind_of(value)
                    );
                    return mistakes.add(pointer, message);
                }
            }
        }
        self.0.push(Condition { key, one_of, list });
    }

    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.0.iter().all(|condition| {
            facts
                .get(&condition.key)
                .is_some_and(|fact| condition.one_of.iter().any(|scalar| scalar.equals(fact)))
        })
    }

    /// The same without the other tenants that they name: what one tenant may be told of conditions
    /// that its request met.
    #[must_use]
    pub fn visible_to(&self, tenant_id: &str) -> Self {
        let own = |condition: &Condition| {
            let is_tenant = matches!(condition.key.as_str(), "tenant" | "tenant_id");
            let may_know = |scalar: &&Scalar| !is_tenant || scalar.equals(Fact::Text(tenant_id));
            Condition {
                one_of: condition.one_of.iter().filter(may_know).cloned().collect(),
                ..condition.clone()
            }
        };
        Self(self.0.iter().map(own).collect())
    }

    /// Whether no request can meet them.
    pub fn never(&self) -> bool {
        self.0.iter().any(|condition| condition.one_of.is_empty())
    }

    /// Whether both are met by the same requests, whatever the order and the spelling.
    pub fn mean_the_same(&self, other: &Self) -> bool {
        let all_of = |some: &Self, others: &Self| {
            let is_there = |one: &Condition| others.0.iter().any(|two| one.means_the_same(two));
            some.0.iter().all(is_there)
        };
        all_of(self, other) && all_of(other, self)
    }

    /// The keys in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|condition| condition.key.as_str())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The conditions as JSON, as they go into a document.
    pub fn to_fields(&self) -> Fields {
        let raw = |condition: &Condition| {
            let words: Vec<String> = condition.one_of.iter().map(ToString::to_string).collect();
            let json = if condition.list {
                format!("[{}]", words.join(","))
            } else {
                words.concat()
            };
            RawValue::from_string(json)
                .ok()
                .map(|raw| (condition.key.clone(), raw))
        };
        self.0.iter().filter_map(raw).collect()
    }
}

/// For an explanation: `tenant = "acme", tier = one of "gold", "silver"`.
impl fmt::Display for Conditions {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, condition) in self.0.iter().enumerate() {
            let words: Vec<String> = condition.one_of.iter().map(ToString::to_string).collect();
            let comma = if index > 0 { ", " } else { "" };
            let many = match words.len() {
                0 => "nothing",
                1 => "",
                _ => "one of ",
            };
            write!(out, "{comma}{} = {many}{}", condition.key, words.join(", "))?;
        }
        Ok(())
    }
}

impl Condition {
    fn means_the_same(&self, other: &Self) -> bool {
        let all_of = |some: &[Scalar], others: &[Scalar]| {
            let is_there = |one: &Scalar| others.iter().any(|two| one.is_same(two));
            some.iter().all(is_there)
        };
        one_name(&self.key) == one_name(&other.key)
            && all_of(&self.one_of, &other.one_of)
            && all_of(&other.one_of, &self.one_of)
    }
}

/// The router's own words have two spellings.
fn one_name(key: &str) -> &str {
    match key {
        "tenant" => "tenant_id",
        "policy" => "policy_id",
        key => key,
    }
}

impl Scalar {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Number(written, one), Self::Number(as_well, two)) => {
                written == as_well || one.total_cmp(two).is_eq()
            }
            (Self::Text(_) | Self::Number(..) | Self::Flag(_) | Self::Null, _) => self == other,
        }
    }

    fn read(raw: &RawValue) -> Option<Self> {
        let json = raw.get();
        match json.as_bytes().first()? {
            b'"' => serde_json::from_str(json).ok().map(Self::Text),
            b't' | b'f' => serde_json::from_str(json).ok().map(Self::Flag),
            b'n' => Some(Self::Null),
            b'{' | b'[' => None,
            _ => serde_json::from_str(json)
                .ok()
                .map(|number| Self::Number(json.into(), number)),
        }
    }

    fn equals(&self, fact: Fact<'_>) -> bool {
        match (self, fact) {
            (Self::Text(text), Fact::Text(fact)) => text == fact,
            (Self::Number(..) | Self::Flag(_) | Self::Null, Fact::Text(_)) => false,
            (Self::Text(text), Fact::Json(raw)) => equals_text(text, raw.get()),
            (Self::Flag(flag), Fact::Json(raw)) => {
                raw.get() == if *flag { "true" } else { "false" }
            }
            (Self::Null, Fact::Json(raw)) => raw.get() == "null",
            // Compared as written first: beyond 2^53 two numbers may come to the same f64.
            (Self::Number(written, number), Fact::Json(raw)) => {
                let is_short = |json: &str| json.len() <= 15;
                **written == *raw.get()
                    || (is_short(written) && is_short(raw.get()))
                        && serde_json::from_str::<f64>(raw.get())
                            .is_ok_and(|other| other.total_cmp(number).is_eq())
            }
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => out.write_str(&serde_json::to_string(text).unwrap_or_default()),
            Self::Number(written, _) => out.write_str(written),
            Self::Flag(flag) => write!(out, "{flag}"),
            Self::Null => out.write_str("null"),
        }
    }
}

/// Whether a JSON value is this text, without unescaping where there is nothing to unescape.
fn equals_text(text: &str, json: &str) -> bool {
    match json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    {
        Some(inner) if !inner.contains('\\') => inner == text,
        Some(_) => serde_json::from_str::<String>(json).is_ok_and(|other| other == text),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(json: &str) -> Result<Conditions, String> {
        let mut mistakes = Mistakes::default();
        let mut conditions = Conditions::default();
        for (key, raw) in Fields::parse(json).unwrap().iter() {
            conditions.read(key.to_owned(), raw, &format!("/{key}"), &mut mistakes);
        }
        mistakes
            .into_result(Some(conditions))
            .map_err(|mistakes| mistakes[0].to_string())
    }

    fn hold(json: &str) -> bool {
        let context = Fields::parse(
            r#"{"tier": "gold", "seats": 5, "beta": true, "gone": null, "tenant": "spoofed", "uni": "\u00e4", "deep": {}}"#,
        )
        .unwrap();
        let facts = Facts {
            tenant_id: "acme",
            policy_id: "default",
            environment: "prod",
            message_type: "chat",
            context: &context,
        };
        conditions(json).unwrap().matches(&facts)
    }

    #[test]
    fn every_condition_must_hold() {
        for json in [
            "{}",
            r#"{"tenant": "acme"}"#,
            r#"{"tenant_id": ["other", "acme"], "environment": "prod", "policy": "default", "message_type": "chat"}"#,
            r#"{"tier": "gold", "seats": 5.0, "beta": true, "gone": null, "uni": "ä"}"#,
        ] {
            assert!(hold(json), "{json}");
        }
        for json in [
            r#"{"tenant": "spoofed"}"#,
            r#"{"tenant": "acme", "tier": "silver"}"#,
            r#"{"seats": "5"}"#,
            r#"{"seats": 6}"#,
            r#"{"beta": "true"}"#,
            r#"{"missing": null}"#,
            r#"{"deep": "x"}"#,
        ] {
            assert!(!hold(json), "{json}");
        }
    }

    #[test]
    fn what_could_never_be_met_is_refused() {
        assert_eq!(
            conditions(r#"{"tier": []}"#).unwrap_err(),
            "/tier: is an empty list, so it could never be met"
        );
        let nested = conditions(r#"{"tier": [{"a": 1}]}"#).unwrap_err();
        assert!(
            nested.starts_with("/tier: must be a string, a number, true, false or a list of them"),
            "{nested}"
        );
    }

    #[test]
    fn an_empty_list_is_met_by_nobody_where_it_may_be_written() {
        let mut mistakes = Mistakes::default();
        let mut never = Conditions::default();
        let empty: &RawValue = serde_json::from_str("[]").unwrap();
        never.read_or_never("tenant_id".to_owned(), empty, "/tenant_id", &mut mistakes);
        let context = Fields::default();
        let facts = Facts {
            tenant_id: "acme",
            policy_id: "default",
            environment: "prod",
            message_type: "chat",
            context: &context,
        };
        assert!(mistakes.is_empty() && never.never() && !never.matches(&facts));
        assert_eq!(never.to_string(), "tenant_id = nothing");
    }

    #[test]
    fn the_same_conditions_are_known_in_any_spelling() {
        let same = |a: &str, b: &str| {
            conditions(a)
                .unwrap()
                .mean_the_same(&conditions(b).unwrap())
        };
        for (a, b) in [
            ("{}", "{}"),
            (
                r#"{"tenant": "a", "n": 1}"#,
                r#"{"n": 1.0, "tenant_id": ["a"]}"#,
            ),
            (r#"{"tier": ["x", "y"]}"#, r#"{"tier": ["y", "x", "y"]}"#),
        ] {
            assert!(same(a, b) && same(b, a), "{a} {b}");
        }
        for (a, b) in [
            ("{}", r#"{"tier": "x"}"#),
            (r#"{"tier": "x"}"#, r#"{"tier": ["x", "y"]}"#),
            (r#"{"n": 1}"#, r#"{"n": "1"}"#),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
    }

    #[test]
    fn they_are_shown_and_written_as_they_were_meant() {
        let json = r#"{"seats":5.0,"tier":["gold","silver"]}"#;
        let all = conditions(json).unwrap();
        assert_eq!(
            all.to_string(),
            r#"seats = 5.0, tier = one of "gold", "silver""#
        );
        assert_eq!(all.to_fields().to_json(), json);
    }
}
