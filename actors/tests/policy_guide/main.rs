//! The guide to policies does what it says: every block of JSON in it is run, every table is
//! compared with the code.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod answers;
mod fields;
mod tables;

use beamline_contract::policy::Form;
use beamline_domain::document::Located;
use beamline_domain::policy::Policy;
use beamline_domain::record;
use beamline_markdown::Block;
use serde_json::Value;

const GUIDE: &str = include_str!("../../../docs/routing-policy.md");

#[test]
fn every_block_of_json_is_what_it_is_marked_as() {
    let mut policy = None;
    let mut refused = None;
    let mut counts = [0; 4];
    for block in blocks() {
        let Block { line, marks, text } = &block;
        let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
        match marks.as_slice() {
            ["json", "policy"] => {
                policy = Some(read(&block));
                counts[0] += 1;
            }
            ["json", "policy", "same"] => {
                assert_eq!(
                    policy.as_ref(),
                    Some(&read(&block)),
                    "line {line} means something else"
                );
                let form = Policy::check(text).form;
                assert!(
                    matches!(form, Some(Form::Canonical | Form::Names)),
                    "line {line} is not canonical"
                );
                counts[1] += 1;
            }
            ["json", "policy", "refused"] => refused = Some(mistakes(&block)),
            ["text", "mistakes"] => {
                assert_eq!(
                    refused.take(),
                    Some(text.trim_end().to_owned()),
                    "line {line}"
                );
                counts[2] += 1;
            }
            ["json", "extension"] => {
                record::parse(text, "beamline")
                    .unwrap_or_else(|mistakes| panic!("line {line}: {mistakes:?}"));
                counts[3] += 1;
            }
            ["json", "request" | "settings"] | ["json", "answer", _] => {
                serde_json::from_str::<Value>(text)
                    .unwrap_or_else(|error| panic!("line {line}: {error}"));
            }
            ["text", "waves"] | [] => {}
            other => panic!("line {line}: nothing runs a block that is marked {other:?}"),
        }
        let is_next_to_it = refused.is_none() || marks == ["json", "policy", "refused"];
        assert!(
            is_next_to_it,
            "line {line}: the mistakes of the policy before it are not shown"
        );
    }
    assert!(
        counts.iter().all(|count| *count >= 3),
        "the guide has lost its examples: {counts:?}"
    );
}

fn blocks() -> impl Iterator<Item = Block> {
    beamline_markdown::blocks(GUIDE)
}

fn read(block: &Block) -> Policy {
    Policy::parse(&block.text)
        .unwrap_or_else(|mistakes| panic!("line {}: {mistakes:#?}", block.line))
}

/// As `policy check policy.json` lists them.
fn mistakes(block: &Block) -> String {
    let line = |Located { position, mistake }: Located| {
        format!(
            "policy.json:{}:{}: {mistake}",
            position.line, position.column
        )
    };
    let found = Policy::check(&block.text)
        .result
        .expect_err("a policy that is refused");
    found.into_iter().map(line).collect::<Vec<_>>().join("\n")
}
