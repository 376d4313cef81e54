//! No task and no thread beside the supervision tree: who may start one, and why it is nobody's
//! secret.

use std::fs;
use std::path::Path;

use beamline_structure::workspace::{repository, sources};

const FOLDERS: [&str; 3] = ["actors/src", "bus/src", "src"];

/// Tasks of a `TaskTracker` or a `JoinSet` have an owner by their type.
const STARTS: [&str; 5] = [
    "tokio::spawn(",
    "runtime.spawn(",
    "OwnedTask::spawn(",
    "thread::spawn(",
    "thread::Builder::new(",
];

/// Each with what it starts.
const ALLOWED: [(&str, &str); 19] = [
    (
        "actors/src/tree/task.rs",
        "the task that ends with its owner",
    ),
    ("actors/src/tree/guarded_task.rs", "the task of a node"),
    ("actors/src/tree/thread.rs", "the thread of such a task"),
    (
        "actors/src/tree/start.rs",
        "hears that an actor has started, and ends",
    ),
    (
        "actors/src/tree/address.rs",
        "sends one message later, and ends",
    ),
    ("actors/src/tree/supervisor.rs", "the limit of one stop"),
    (
        "actors/src/pipelines.rs",
        "serves the queue; its end is that of the actor",
    ),
    (
        "actors/src/pipeline.rs",
        "one step of a request, and its deadline",
    ),
    (
        "actors/src/registry.rs",
        "one look, two timers whose end is that of the actor, and the end of one snapshot",
    ),
    (
        "actors/src/sessions/shared.rs",
        "one renewal, which the node shows in flight",
    ),
    (
        "bus/src/outbox.rs",
        "hands over what was gathered in one moment, and ends",
    ),
    (
        "src/edge/nats/intake.rs",
        "readers whose end is that of the actor",
    ),
    (
        "src/edge/nats/admin.rs",
        "a reader whose end is that of the actor",
    ),
    (
        "src/edge/nats/control.rs",
        "two tasks whose end is that of the actor",
    ),
    (
        "src/router/first_snapshot.rs",
        "a reading that begins before there is a tree, and is taken over by a node",
    ),
    (
        "src/edge/http/front.rs",
        "a request among those of the bus, which its connection waits for",
    ),
    (
        "src/edge/http/starting.rs",
        "answers probes before there is a tree, and ends when there is one",
    ),
    (
        "src/cli/console.rs",
        "speaks to the terminal of a command; no router has it",
    ),
    (
        "src/up/process.rs",
        "a program that `up` starts beside its router",
    ),
];

#[test]
fn nothing_starts_a_task_or_a_thread_but_what_is_known_to() {
    let known: Vec<&str> = ALLOWED.iter().map(|(file, _)| *file).collect();
    let strangers: Vec<String> = starting_files()
        .into_iter()
        .filter(|file| !known.contains(&file.as_str()))
        .collect();
    assert!(
        strangers.is_empty(),
        "{strangers:?}: what goes on for as long as the router does is a node of the tree (`Child::task`)"
    );
}

#[test]
fn what_is_known_to_start_a_task_does() {
    let starting = starting_files();
    for (file, what) in ALLOWED {
        assert!(
            starting.iter().any(|found| found == file),
            "{file} starts nothing any more: {what}"
        );
    }
}

fn starting_files() -> Vec<String> {
    let root = repository();
    let folders = FOLDERS.iter().map(|folder| root.join(folder));
    let files = folders.flat_map(|folder| sources(&folder).expect("a folder"));
    let starting = files.filter(|file| starts_something(file));
    starting
        .filter_map(|file| Some(file.strip_prefix(&root).ok()?.to_owned()))
        .filter(|name| !is_of_tests(name))
        .map(|name| name.display().to_string())
        .collect()
}

/// `tests.rs`, `testing.rs`, and what is below folders of these names.
fn is_of_tests(file: &Path) -> bool {
    let names = file.iter().filter_map(|name| name.to_str());
    names
        .map(|name| name.trim_end_matches(".rs"))
        .any(|name| name == "tests" || name == "testing")
}

/// Before the tests that a file ends with.
fn starts_something(file: &Path) -> bool {
    let text = fs::read_to_string(file).expect("a source");
    let code = text.split("#[cfg(test)]\nmod tests {").next();
    let code = code.unwrap_or_default();
    STARTS.iter().any(|start| code.contains(start))
}
