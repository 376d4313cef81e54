//! The tables of the page name what the contract has: no field, code or header more, and none less.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use beamline_contract::error::{ErrorCode, IntakeCode};
use beamline_markdown::{Table, code, tables};
use serde_json::Value;

use super::{GUIDE, blocks};

/// Headers that are none of a gateway's.
const OTHERS: [&str; 11] = [
    // Of a call.
    "Router-Attempt",
    // Of the administration.
    "Authorization",
    "Router-Date",
    "Router-Nonce",
    // Between replicas.
    "Router-Fleet",
    // Of an extension's answer.
    "Nats-Service-Error",
    "Nats-Service-Error-Code",
    "retryable",
    "retry_after_ms",
    "retry-after-ms",
    "Retry-After",
];
/// Has a table of its own in docs/routing-policy.md.
const EXPLANATION: &str = "decision.explanation.";

/// By path, the types that a field may have.
type Fields = BTreeMap<String, BTreeSet<String>>;

#[test]
fn every_code_is_in_the_table_once() {
    let words = |known: Vec<&str>| known.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let codes = ErrorCode::WORDS.iter().map(|(word, _)| *word).collect();
    assert_eq!(first_cells(&["code", "HTTP"]), sorted(words(codes)));
    let intake = IntakeCode::WORDS.iter().map(|(word, _)| *word).collect();
    assert_eq!(first_cells(&["`intake_error_code`"]), sorted(words(intake)));
}

#[test]
fn a_code_has_the_status_of_the_other_page() {
    let errors = read("docs/errors.md");
    let statuses = |text: &str| -> BTreeMap<String, String> {
        let rows = rows(tables(text, &["code", "HTTP"]));
        rows.iter()
            .flat_map(|row| code(&row[0]).into_iter().map(|word| (word, &row[1])))
            .map(|(word, status)| (word.to_owned(), status.clone()))
            .collect()
    };
    assert_eq!(statuses(GUIDE), statuses(&errors));
}

#[test]
fn every_detail_of_an_answer_is_in_the_table() {
    let known = first_cells(&["detail", "with"]);
    for block in blocks().filter(|block| block.marks[0] == "json") {
        let answer: Value = serde_json::from_str(&block.text).expect("JSON");
        for detail in answer["error"]["details"].as_object().into_iter().flatten() {
            assert!(
                known.contains(detail.0),
                "line {}: {}",
                block.line,
                detail.0
            );
        }
    }
}

#[test]
fn the_libraries_are_those_that_the_programs_run_with() {
    let libraries: Vec<String> = rows(tables(GUIDE, &["language", "library"]))
        .iter()
        .map(|row| row[1].replace('`', ""))
        .collect();
    let python = read("tests/api_guide/python/requirements.txt");
    let package = read("tests/api_guide/typescript/package.json");
    let package: Value = serde_json::from_str(&package).expect("JSON");
    let typescript = package["dependencies"].as_object().into_iter().flatten();
    let pins: Vec<String> = python
        .lines()
        .map(|line| line.replace("==", " "))
        .chain(typescript.map(|(name, version)| format!("{name} {}", version.as_str().unwrap())))
        .collect();
    assert_eq!(pins.len(), 2);
    for pin in pins {
        // The page names no more than the minor version.
        let is_told = libraries
            .iter()
            .any(|told| pin.starts_with(&format!("{told}.")));
        assert!(is_told, "{pin} is none of {libraries:?}");
    }
}

#[test]
fn every_header_is_a_gateways_or_somebody_elses() {
    let source = read("contract/src/header.rs");
    let known: Vec<String> = source
        .lines()
        .filter(|line| line.starts_with("pub const "))
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect();
    let others = OTHERS.iter().map(|name| (*name).to_owned());
    let all = first_cells(&["header", "in"]).into_iter().chain(others);
    assert_eq!(sorted(all.collect()), sorted(known));
}

#[test]
fn every_field_of_a_request_is_in_the_table_with_its_limits() {
    let schema = schema("request");
    let mut known = Fields::new();
    walk(&schema, &schema, "", &mut known);
    let required: Vec<&str> = words(&schema["required"]).collect();
    let rows = by_path(&["field", "type", "required"]);
    assert_same_paths(&rows, known.keys().cloned().collect());
    for (path, row) in rows {
        assert_types(&path, &row[1], &known[&path]);
        assert_eq!(
            row[2] == "yes",
            required.contains(&path.as_str()),
            "{path} is required, or it is not"
        );
        let node = node(&schema, &path);
        for limit in ["minLength", "maxLength", "minimum", "maximum"] {
            if let Some(limit) = node[limit].as_u64() {
                let limits: Vec<&str> = row[4].split(' ').collect();
                let limit = limit.to_string();
                assert!(limits.contains(&limit.as_str()), "{path}: {limit}");
            }
        }
    }
}

#[test]
fn every_field_of_an_answer_is_in_the_table_with_where_it_is() {
    let mut known = Fields::new();
    let mut places: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for answer in ["decide", "route", "error"] {
        let schema = schema(&format!("{answer}-answer"));
        let mut fields = Fields::new();
        walk(&schema, &schema, "", &mut fields);
        fields.retain(|path, _| !path.starts_with(EXPLANATION));
        places.insert(answer, fields.keys().cloned().collect());
        for (path, types) in fields {
            known.entry(path).or_default().extend(types);
        }
    }
    let rows = by_path(&["field", "type", "in"]);
    assert_same_paths(&rows, known.keys().cloned().collect());
    for (path, row) in rows {
        assert_types(&path, &row[1], &known[&path]);
        for (answer, fields) in &places {
            // `decide` makes no attempts, though its answer could name some.
            let is_there =
                fields.contains(&path) && !(*answer == "decide" && path.starts_with("attempts"));
            assert_eq!(
                code(&row[2]).contains(answer),
                is_there,
                "{path} in the answer of {answer}"
            );
        }
    }
}

fn assert_same_paths(rows: &BTreeMap<String, Vec<String>>, known: BTreeSet<String>) {
    let told: BTreeSet<String> = rows.keys().cloned().collect();
    assert_eq!(told, known, "table and schema differ");
}

/// A field of any type has none in its schema. Where an absent one is the same as null, the table
/// says when it is absent.
fn assert_types(path: &str, told: &str, known: &BTreeSet<String>) {
    let told: BTreeSet<&str> = told.split(" or ").filter(|word| *word != "any").collect();
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let may_be_absent = known
        .iter()
        .copied()
        .filter(|word| *word != "null")
        .collect();
    assert!(
        told == known || told == may_be_absent,
        "{path} is {known:?}, not {told:?}"
    );
}

/// The code in the first cells of all tables whose header begins so.
fn first_cells(header: &[&str]) -> Vec<String> {
    let rows = rows(tables(GUIDE, header));
    let cells = rows.iter().flat_map(|row| code(&row[0]));
    sorted(cells.map(str::to_owned).collect())
}

fn by_path(header: &[&str]) -> BTreeMap<String, Vec<String>> {
    let mut by_path = BTreeMap::new();
    for Table { line, rows, .. } in tables(GUIDE, header) {
        for row in rows {
            let path = code(&row[0]).concat();
            let again = by_path.insert(path.clone(), row);
            assert_eq!(again, None, "line {line}: {path} is there twice");
        }
    }
    by_path
}

fn rows(tables: Vec<Table>) -> Vec<Vec<String>> {
    tables.into_iter().flat_map(|table| table.rows).collect()
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

/// Goes through everything that a value at `path` may be; items of a list have `[]` behind it.
fn walk(root: &Value, node: &Value, path: &str, fields: &mut Fields) {
    if *node == Value::Bool(false) {
        return;
    }
    if !path.is_empty() && !path.ends_with("[]") {
        let types = fields.entry(path.to_owned()).or_default();
        types.extend(node["type"].as_str().map(str::to_owned));
        types.extend(words(&node["type"]).map(str::to_owned));
    }
    if let Some(name) = node["$ref"].as_str() {
        walk(
            root,
            root.pointer(&name[1..]).expect("it is there"),
            path,
            fields,
        );
    }
    // Alternatives that only say what must be there say nothing about the fields.
    let alternatives = node["anyOf"].as_array().into_iter().flatten();
    for one in alternatives.filter(|one| one.get("required").is_none()) {
        walk(root, one, path, fields);
    }
    if let Some(item) = node.get("items") {
        walk(root, item, &format!("{path}[]"), fields);
    }
    let dot = if path.is_empty() { "" } else { "." };
    for (key, one) in node["properties"].as_object().into_iter().flatten() {
        walk(root, one, &format!("{path}{dot}{key}"), fields);
    }
}

/// The schema of a field of a request.
fn node<'s>(schema: &'s Value, path: &str) -> &'s Value {
    let Some((object, key)) = path.split_once('.') else {
        return &schema["properties"][path];
    };
    let name = match object {
        "message" => "RequestMessage",
        "task" => "RequestTask",
        other => panic!("{other} has no fields"),
    };
    &schema["$defs"][name]["properties"][key]
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn schema(name: &str) -> Value {
    serde_json::from_str(&read(&format!("docs/schemas/{name}.json"))).expect("JSON")
}

fn read(name: &str) -> String {
    let file: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
