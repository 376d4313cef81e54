//! Every answer of a router in a test fits its schema in docs/schemas, and so does every request
//! that it takes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use jsonschema::Validator;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// `operation` is what comes after `beamline.router.v1.`.
pub(crate) fn check(operation: &str, sent: &[u8], answer: &Value) {
    // Some answers of the administration have no `ok`; a refusal always says that it is one.
    let is_good = answer["ok"] != false;
    let (request, wanted) = match operation.strip_prefix("admin.") {
        Some(name) => (
            format!("admin/{name}.request"),
            format!("admin/{name}.answer"),
        ),
        None => ("request".to_owned(), format!("{operation}-answer")),
    };
    let refused = if operation.starts_with("admin.") {
        "admin/refusal"
    } else {
        "error-answer"
    };
    fits(if is_good { &wanted } else { refused }, answer);
    if !is_good {
        return;
    }
    // An administrator may send nothing where there is nothing to say, and headers may say what a
    // request leaves out.
    if let Some(sent) = std::str::from_utf8(sent).ok().and_then(read) {
        fits(&request, &sent);
    }
}

/// A document with every number in it: one that is too large for a `Value` becomes the largest that
/// there is, because a schema asks no more of it than that it is a number.
pub(crate) fn read(json: &str) -> Option<Value> {
    if let Ok(value) = serde_json::from_str(json) {
        return Some(value);
    }
    if let Ok(entries) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) {
        let entries = entries.into_iter();
        return entries
            .map(|(key, raw)| Some((key, read(raw.get())?)))
            .collect();
    }
    if let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json) {
        return items.into_iter().map(|raw| read(raw.get())).collect();
    }
    let number = serde_json::from_str::<&RawValue>(json).ok();
    number.map(|_| json!(f64::MAX))
}

fn fits(name: &str, document: &Value) {
    let Some(validator) = validator(name) else {
        return;
    };
    if let Err(error) = validator.validate(document) {
        panic!(
            "{} does not fit {name}: {error}\n{document}",
            error.instance_path()
        );
    }
}

/// None for an operation that there is not.
fn validator(name: &str) -> Option<Validator> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas");
    let text = fs::read_to_string(folder.join(format!("{name}.json"))).ok()?;
    let schema = serde_json::from_str(&text).expect("a schema");
    Some(jsonschema::draft202012::new(&schema).expect("a schema of draft 2020-12"))
}
