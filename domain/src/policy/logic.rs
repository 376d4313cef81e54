//! Conditions in JsonLogic, as far as `when` of an entry has them (contract section 4):
//! comparisons over variables, and `and`, `or` and `!` of them.
//!
//! Own code, because a missing variable makes a comparison false here, which in JsonLogic it does
//! not: `null < 1` is true there.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::conditions::{Fact, Facts};
use crate::document::{Mistakes, shorten};
use crate::suggest::closest;

/// The operators, in the order in which they are told.
const OPERATORS: [&str; 10] = ["==", "!=", "<", "<=", ">", ">=", "in", "and", "or", "!"];
const VAR: &str = "var";
const CONTEXT: &str = "context";
/// What the router itself knows of a request.
const WORDS: [&str; 4] = ["tenant_id", "policy_id", "environment", "message_type"];
/// Expressions in all, and how deep they may be.
const MAX_PARTS: usize = 100;
const MAX_DEPTH: usize = 16;

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Logic(Expression);

#[derive(Debug, Clone, PartialEq)]
enum Expression {
    Compare(Comparison, Operand, Operand),
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    /// A variable or a literal that must be `true`.
    Truth(Operand),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
}

#[derive(Debug, Clone, PartialEq)]
enum Operand {
    /// The way to it, `context.user.tier` for example.
    Variable(Vec<String>),
    Literal(Value),
}

impl Logic {
    /// Whether an object is meant as one: it has one key, and that is an operator.
    pub fn is_meant(raw: &RawValue) -> bool {
        let Ok(Value::Object(object)) = serde_json::from_str(raw.get()) else {
            return false;
        };
        let mut keys = object.keys();
        matches!((keys.next(), keys.next()), (Some(key), None) if is_operator(key))
    }

    pub fn read(raw: &RawValue, pointer: &str, mistakes: &mut Mistakes) -> Option<Self> {
        let value: Value = serde_json::from_str(raw.get()).ok()?;
        let mut reader = Reader { parts: 0, mistakes };
        reader.expression(&value, pointer, 0).map(Self)
    }

    pub fn holds(&self, facts: &Facts<'_>) -> bool {
        self.0.holds(&Variables::of(facts))
    }
}

/// What variables stand for. Each key of the context is read once, however often it is asked for.
struct Variables<'a> {
    facts: &'a Facts<'a>,
    read: RefCell<Vec<(String, Rc<Value>)>>,
}

impl<'a> Variables<'a> {
    fn of(facts: &'a Facts<'a>) -> Self {
        Self {
            facts,
            read: RefCell::default(),
        }
    }

    fn of_context(&self, key: &str) -> Option<Rc<Value>> {
        let mut read = self.read.borrow_mut();
        if let Some((_, value)) = read.iter().find(|(known, _)| known == key) {
            return Some(Rc::clone(value));
        }
        let raw = self.facts.context.get(key)?;
        let value: Rc<Value> = Rc::new(serde_json::from_str(raw.get()).ok()?);
        read.push((key.to_owned(), Rc::clone(&value)));
        Some(value)
    }
}

fn is_operator(key: &str) -> bool {
    OPERATORS.contains(&key) || key == "!!" || key == VAR
}

struct Reader<'m> {
    parts: usize,
    mistakes: &'m mut Mistakes,
}

impl Reader<'_> {
    fn expression(&mut self, value: &Value, at: &str, depth: usize) -> Option<Expression> {
        self.parts += 1;
        if depth > MAX_DEPTH || self.parts > MAX_PARTS {
            self.mistakes.add(
                at,
                format!("is more than {MAX_PARTS} conditions, or {MAX_DEPTH} in each other"),
            );
            return None;
        }
        let Some((operator, arguments)) = only_entry(value) else {
            return self.operand(value, at).map(Expression::Truth);
        };
        if operator == VAR {
            return self.operand(value, at).map(Expression::Truth);
        }
        let at = format!("{at}/{}", operator.replace('~', "~0").replace('/', "~1"));
        let arguments = listed(arguments);
        match operator {
            "and" => self.several(&arguments, &at, depth).map(Expression::All),
            "or" => self.several(&arguments, &at, depth).map(Expression::Any),
            "!" => {
                let [one] = self.exactly::<1>(&arguments, &at)?;
                let inner = self.expression(one, &at, depth + 1)?;
                Some(Expression::Not(Box::new(inner)))
            }
            other => {
                let comparison = self.comparison(other, &at)?;
                let [left, right] = self.exactly::<2>(&arguments, &at)?;
                let left = self.operand(left, &format!("{at}/0"))?;
                let right = self.operand(right, &format!("{at}/1"))?;
                if matches!((&left, &right), (Operand::Literal(_), Operand::Literal(_))) {
                    let message = "compares nothing of the request; write one side as {\"var\": \"context.lang\"}";
                    self.mistakes.add(at, message);
                    return None;
                }
                Some(Expression::Compare(comparison, left, right))
            }
        }
    }

    fn several(&mut self, all: &[&Value], at: &str, depth: usize) -> Option<Vec<Expression>> {
        if all.is_empty() {
            self.mistakes.add(at, "is an empty list of conditions");
            return None;
        }
        let mut read = Vec::with_capacity(all.len());
        for (index, value) in all.iter().enumerate() {
            read.push(self.expression(value, &format!("{at}/{index}"), depth + 1)?);
        }
        Some(read)
    }

    fn exactly<'v, const N: usize>(
        &mut self,
        all: &[&'v Value],
        at: &str,
    ) -> Option<[&'v Value; N]> {
        let exact = <[&Value; N]>::try_from(all).ok();
        if exact.is_none() {
            self.mistakes
                .add(at, format!("must have {N} arguments, has {}", all.len()));
        }
        exact
    }

    fn comparison(&mut self, operator: &str, at: &str) -> Option<Comparison> {
        Some(match operator {
            "==" => Comparison::Equal,
            "!=" => Comparison::Unequal,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            "in" => Comparison::In,
            other => {
                let known = OPERATORS.join(", ");
                let suggestion = closest(other, &OPERATORS)
                    .map_or_else(String::new, |near| format!("; did you mean {near}?"));
                self.mistakes.add(
                    at,
                    format!("{} is none of {known}{suggestion}", shorten(other)),
                );
                return None;
            }
        })
    }

    /// The way to something of the request. Another root would never be there, and a guardrail that
    /// asks for it would never run.
    fn variable(&mut self, path: &str, at: &str) -> Option<Operand> {
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        let is_known = match steps.as_slice() {
            [root] => WORDS.contains(&root.as_str()),
            [root, ..] => root == CONTEXT,
            [] => false,
        };
        if is_known {
            return Some(Operand::Variable(steps));
        }
        let words = WORDS.join(", ");
        let message = format!(
            "{} is nothing of a request; write context.{path}, or one of {words}",
            shorten(path)
        );
        self.mistakes.add(at, message);
        None
    }

    fn operand(&mut self, value: &Value, at: &str) -> Option<Operand> {
        match only_entry(value) {
            Some((VAR, path)) => {
                let path = listed(path);
                match path.as_slice() {
                    [Value::String(path)] if !path.is_empty() => self.variable(path, at),
                    _ => {
                        self.mistakes.add(
                            at,
                            "var must be the way to a value, context.user.tier for example",
                        );
                        None
                    }
                }
            }
            Some((other, _)) => {
                self.mistakes.add(
                    at,
                    format!("must be a value or {{\"var\": ..}}, is {}", shorten(other)),
                );
                None
            }
            None => Some(Operand::Literal(value.clone())),
        }
    }
}

fn only_entry(value: &Value) -> Option<(&str, &Value)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object
        .iter()
        .next()
        .map(|(key, value)| (key.as_str(), value))
}

/// One argument may stand without a list.
fn listed(arguments: &Value) -> Vec<&Value> {
    match arguments.as_array() {
        Some(list) => list.iter().collect(),
        None => vec![arguments],
    }
}

impl Expression {
    fn holds(&self, variables: &Variables<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(variables)),
            Self::Any(all) => all.iter().any(|one| one.holds(variables)),
            Self::Not(inner) => !inner.holds(variables),
            Self::Truth(operand) => {
                operand.with(variables, |value| value == Some(&Value::Bool(true)))
            }
            Self::Compare(comparison, left, right) => left.with(variables, |left| {
                right.with(variables, |right| match (left, right) {
                    (Some(left), Some(right)) => comparison.holds(left, right),
                    _ => false,
                })
            }),
        }
    }
}

impl Operand {
    /// `None` for a variable that is not there, or is null.
    fn with<T>(&self, variables: &Variables<'_>, use_it: impl FnOnce(Option<&Value>) -> T) -> T {
        let path = match self {
            Self::Literal(value) => return use_it(Some(value)),
            Self::Variable(path) => path,
        };
        match path.as_slice() {
            [word] => match variables.facts.get(word) {
                Some(Fact::Text(text)) => use_it(Some(&Value::from(text))),
                Some(Fact::Json(_)) | None => use_it(None),
            },
            [_, key, inner @ ..] => {
                let root = variables.of_context(key);
                let found = root.as_deref().and_then(|root| step_into(root, inner));
                use_it(found.filter(|value| !value.is_null()))
            }
            [] => use_it(None),
        }
    }
}

fn step_into<'v>(root: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(root, |value, step| match value {
        Value::Object(object) => object.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    })
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = || compare(left, right);
        match self {
            Self::Equal => equal(left, right),
            Self::Unequal => !equal(left, right),
            Self::Less => order() == Some(Ordering::Less),
            Self::LessOrEqual => order().is_some_and(Ordering::is_le),
            Self::Greater => order() == Some(Ordering::Greater),
            Self::GreaterOrEqual => order().is_some_and(Ordering::is_ge),
            Self::In => match right {
                Value::Array(items) => items.iter().any(|item| equal(left, item)),
                Value::String(text) => left.as_str().is_some_and(|part| text.contains(part)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
            },
        }
    }
}

fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left.total_cmp(&right).is_eq(),
        _ => left == right,
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use beamline_contract::fields::Fields;

    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    fn holds(json: &str) -> bool {
        let context = Fields::parse(
            r#"{"user": {"tier": "gold", "age": 40, "tags": ["a", "b"]}, "beta": true, "gone": null, "lang": "de"}"#,
        )
        .unwrap();
        let facts = Facts {
            tenant_id: "acme",
            policy_id: "default",
            environment: "prod",
            message_type: "chat",
            context: &context,
        };
        let raw = raw(json);
        assert!(Logic::is_meant(&raw), "{json}");
        let mut mistakes = Mistakes::default();
        let logic = Logic::read(&raw, "/when", &mut mistakes);
        let logic = mistakes.into_result(logic).unwrap();
        logic.holds(&facts)
    }

    #[test]
    fn conditions_hold_as_in_json_logic() {
        for json in [
            r#"{"==": [{"var": "context.user.tier"}, "gold"]}"#,
            r#"{"!=": [{"var": "context.user.tier"}, "silver"]}"#,
            r#"{">=": [{"var": "context.user.age"}, 18]}"#,
            r#"{"<": [18, {"var": "context.user.age"}]}"#,
            r#"{"==": [{"var": "context.user.age"}, 40.0]}"#,
            r#"{"in": [{"var": "context.lang"}, ["de", "en"]]}"#,
            r#"{"in": ["a", {"var": "context.user.tags"}]}"#,
            r#"{"in": ["ol", {"var": "context.user.tier"}]}"#,
            r#"{"and": [{"==": [{"var": "tenant_id"}, "acme"]}, {"var": "context.beta"}]}"#,
            r#"{"or": [{"var": "context.none"}, {"==": [{"var": "message_type"}, "chat"]}]}"#,
            r#"{"!": [{"var": "context.none"}]}"#,
            r#"{"!": {"==": [{"var": "context.user.tier"}, "silver"]}}"#,
            r#"{"==": [{"var": ["context.user.tags.1"]}, "b"]}"#,
            r#"{"var": "context.beta"}"#,
        ] {
            assert!(holds(json), "{json}");
        }
    }

    #[test]
    fn a_missing_variable_makes_a_comparison_false() {
        for json in [
            r#"{"==": [{"var": "context.none"}, null]}"#,
            r#"{"!=": [{"var": "context.none"}, "x"]}"#,
            r#"{"<": [{"var": "context.none"}, 1]}"#,
            r#"{"!=": [{"var": "context.gone"}, 1]}"#,
            r#"{"==": [{"var": "context.user.age"}, "40"]}"#,
            r#"{">": [{"var": "context.user.tier"}, 1]}"#,
            r#"{"in": [{"var": "context.none"}, ["a"]]}"#,
            r#"{"var": "context.lang"}"#,
        ] {
            assert!(!holds(json), "{json}");
        }
    }

    #[test]
    fn what_cannot_be_meant_gets_its_place() {
        for (json, want) in [
            (r#"{"==": [1]}"#, "/when/==: must have 2 arguments, has 1"),
            (
                r#"{"and": []}"#,
                "/when/and: is an empty list of conditions",
            ),
            (
                r#"{"==": [{"var": "user.tier"}, "gold"]}"#,
                "/when/==/0: user.tier is nothing of a request; write context.user.tier, or one of tenant_id, policy_id, environment, message_type",
            ),
            (
                r#"{"in": ["context.lang", ["de"]]}"#,
                "/when/in: compares nothing of the request; write one side as {\"var\": \"context.lang\"}",
            ),
            (
                r#"{"and": [{"===": [1, 2]}]}"#,
                "/when/and/0/===: === is none of ==, !=, <, <=, >, >=, in, and, or, !; did you mean ==?",
            ),
            (
                r#"{"==": [{"var": 7}, 1]}"#,
                "/when/==/0: var must be the way to a value, context.user.tier for example",
            ),
            (
                r#"{"==": [{"+": [1, 2]}, 1]}"#,
                "/when/==/0: must be a value or {\"var\": ..}, is +",
            ),
        ] {
            let mut mistakes = Mistakes::default();
            let logic = Logic::read(&raw(json), "/when", &mut mistakes);
            let told = mistakes.into_result(logic).unwrap_err();
            assert_eq!(told[0].to_string(), want);
        }
        let deep = format!("{}true{}", r#"{"!": "#.repeat(20), "}".repeat(20));
        let mut mistakes = Mistakes::default();
        assert!(Logic::read(&raw(&deep), "/when", &mut mistakes).is_none());
    }
}
