//! docs/security.md lists every attack that the tests try, and no other.

use std::collections::BTreeSet;
use std::fs;

use beamline_structure::workspace::{repository, sources};

#[test]
fn every_attack_is_listed() {
    let root = repository();
    let folder = root.join("tests/security");
    let mut tried = BTreeSet::new();
    for file in sources(&folder).expect("a folder") {
        let text = fs::read_to_string(&file).expect("a source");
        tried.extend(tests_in(&text));
    }
    let page = fs::read_to_string(root.join("docs/security.md")).expect("a document");
    let (_, list) = page
        .split_once("## Attacks that are tried")
        .expect("a heading");
    let listed: BTreeSet<String> = list
        .lines()
        .filter(|line| line.starts_with("| ["))
        .flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned))
        .collect();
    let missing: Vec<_> = tried.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&tried).collect();
    assert!(
        missing.is_empty(),
        "docs/security.md does not list {missing:#?}"
    );
    assert!(
        gone.is_empty(),
        "docs/security.md lists what is not tried: {gone:#?}"
    );
    assert!(tried.len() > 20, "{}", tried.len());
}

/// The names of the functions that a test attribute stands before.
fn tests_in(source: &str) -> Vec<String> {
    let parts = source.split("#[tokio::test").skip(1);
    let names = parts.filter_map(|part| part.split_once("fn ")?.1.split_once('('));
    names.map(|(name, _)| name.to_owned()).collect()
}
