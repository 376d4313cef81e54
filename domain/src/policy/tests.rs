use std::time::Duration;

use beamline_contract::fields::Fields;
use beamline_contract::policy::{Form, Mode, OnFail, Order, Status, Strategy};

use super::places::Places;
use super::*;
use crate::document::Mistakes;

mod any_bytes;
mod circles;
mod forms;
mod mistakes;
mod same;
mod schema;

fn mistakes_of(json: &str) -> Vec<String> {
    Policy::parse(json)
        .unwrap_err()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn policy(json: &str) -> Policy {
    Policy::parse(json).unwrap_or_else(|mistakes| panic!("{json}: {mistakes:?}"))
}

#[test]
fn the_smallest_policy_has_one_provider() {
    let policy = policy(r#"{"providers": [{"name": "mock_provider"}]}"#);
    assert_eq!(
        (policy.version.as_str(), policy.providers[0].weight),
        ("1.0", 1.0)
    );
}

#[test]
fn defaults_of_mode_and_on_fail() {
    let json = r#"{"pre": [{"id": "a"}], "validators": [{"id": "b"}], "providers": [{"name": "c", "weight": 0.5}]}"#;
    let policy = policy(json);
    assert_eq!(
        (policy.pre[0].mode, policy.validators[0].on_fail),
        (Mode::Optional, OnFail::Block)
    );
    assert_eq!(policy.pipeline_length(), 3);
}
