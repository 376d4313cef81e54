use clap::Parser;
use serde_json::{Value, json};

use super::*;
use crate::cli::{Cli, Command, policy::PolicyCommand};

fn parsed(arguments: &[&str]) -> ExplainArgs {
    let words = ["beamline-router", "policy", "explain", "acme", "default"]
        .into_iter()
        .chain(arguments.iter().copied());
    let Command::Policy(PolicyCommand::Explain(args)) =
        Cli::try_parse_from(words).expect("valid arguments").command
    else {
        panic!("not an explanation: {arguments:?}")
    };
    *args
}

fn sent(arguments: &[&str]) -> Value {
    serde_json::to_value(parsed(arguments).dry_run().expect("a question")).expect("JSON")
}

#[test]
fn without_a_message_an_empty_one_is_explained() {
    let expected = json!({"tenant_id": "acme", "policy_id": "default", "payload": "", "message_type": "chat",
        "call_extensions": false});
    assert_eq!(sent(&[]), expected);
}

#[test]
fn everything_that_is_given_is_sent() {
    let sent = sent(&[
        "--payload-json",
        "{\"a\":1}",
        "--type",
        "embed",
        "--context",
        "lang=en",
        "--context",
        "vip:=true",
        "--metadata",
        "n:=1",
        "--timeout-ms",
        "200",
        "--call-extensions",
        "--provider-output",
        "[2]",
        "--detail",
        "verbose",
    ]);
    let expected = json!({"tenant_id": "acme", "policy_id": "default", "payload": {"a": 1}, "message_type": "embed",
        "metadata": {"n": 1}, "context": {"lang": "en", "vip": true, "detail_level": "verbose"}, "timeout_ms": 200,
        "call_extensions": true, "provider_output": [2]});
    assert_eq!(sent, expected);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let parse = |more: &[&str]| {
        let words = ["beamline-router", "policy", "explain", "acme", "default"]
            .into_iter()
            .chain(more.iter().copied());
        Cli::try_parse_from(words)
            .map(|_cli| ())
            .map_err(|error| error.exit_code())
    };
    assert_eq!(parse(&["hello", "--payload-json", "1"]), Err(2));
    assert_eq!(parse(&["--provider-output", "1"]), Err(2));
    assert_eq!(parse(&["--detail", "chatty"]), Err(2));
    assert_eq!(parse(&["--timeout-ms", "0"]), Err(2));
    let twice = parsed(&["--file", "-", "--payload-json", "-"])
        .dry_run()
        .expect_err("one standard input");
    assert_eq!(twice.exit_code(), 2);
}

#[test]
fn mistakes_of_an_unsaved_document_have_their_places() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "{\"providers\": [\"a\"],\n \"stepps\": []}").expect("written");
    let path = file.path().to_str().expect("a name");
    let failure = parsed(&["--file", path]).dry_run().expect_err("a mistake");
    let want = format!(
        "error: 1 mistake in {path}:\n{path}:2:2: /stepps: is not a known key; did you mean steps?"
    );
    assert_eq!((failure.sentence(), failure.exit_code()), (want, 1));
}
