//! The example file and the documentation say what the code does.

use serde_json::Value;

use super::*;

const EXAMPLE: &str = include_str!("../../../beamline.example.toml");
const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

#[test]
fn the_example_is_the_default_configuration() {
    let config = Setup::new(EXAMPLE).load(&[], &[]).unwrap();
    assert_eq!(values(&config), values(&defaults()));
}

#[test]
fn the_example_has_every_key_and_no_other() {
    // A key without a default is written as `#key = ..`, a sentence as `# Sentence`.
    let is_key = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(char::is_alphabetic))
    };
    let all: String = EXAMPLE
        .lines()
        .map(|line| format!("{}\n", if is_key(line) { &line[1..] } else { line }))
        .collect();
    let table: toml::Table = all.parse().unwrap();
    let mut found = Vec::new();
    flatten("", &table, &mut found);
    found.sort();
    let mut expected = keys();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_document_has_every_key_with_its_variable_and_default() {
    let config = defaults();
    for key in keys() {
        let pointer = format!("/{}", key.replace('.', "/"));
        let default = match config.to_json().pointer(&pointer).unwrap() {
            Value::Null => "none".to_owned(),
            Value::String(text) => format!("`{text}`"),
            other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
                format!("`{other}`")
            }
        };
        let row = format!(
            "| `{key}` | `{}` | {default} | ",
            environment::variable_of(&key)
        );
        assert!(
            DOCUMENT.contains(&row),
            "docs/configuration.md has no row that starts with\n{row}"
        );
    }
}

fn keys() -> Vec<String> {
    defaults().to_json()["origins"]
        .as_object()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

fn flatten(prefix: &str, table: &toml::Table, keys: &mut Vec<String>) {
    for (name, value) in table {
        match value.as_table() {
            Some(inner) => flatten(&format!("{prefix}{name}."), inner, keys),
            None => keys.push(format!("{prefix}{name}")),
        }
    }
}

#[test]
fn the_list_of_mistakes_in_the_document_is_what_the_router_says() {
    let setup = Setup::new(
        "[router]\ndefault_timeout = \"soon\"\n# Requests at the same time.\nmax_in_flight = 0\n\n[nats]\n\
         urll = \"nats://a\"\nsubject_prefix = team\n",
    );
    let environment = [
        ("BEAMLINE__HTTP__LISTEN", "here"),
        ("BEAMLINE__NATS_TOKEN", "x"),
    ];
    let mistakes = setup
        .mistakes(&environment, &[("router.environment", "")])
        .join("\n");
    assert!(
        DOCUMENT.contains(&format!("```\n{mistakes}\n```")),
        "docs/configuration.md does not hold\n{mistakes}"
    );
}
