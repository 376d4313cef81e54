//! Every program of the page prints what the page says.

use beamline_test_support::Up;
use serde_json::Value;

use super::alike::{assert_shown, plain};
use super::tools::{Language, Workshop};
use super::{block, blocks, said};

/// What `beamline-router up` starts, and what the page then registers.
async fn world() -> Up {
    let up = Up::start().await;
    set_up(&Workshop::open(None, &up));
    up
}

/// Runs the commands that come before the examples, with the files that they read.
fn set_up(workshop: &Workshop) {
    for block in blocks() {
        if let Some(name) = said(&block, "file") {
            workshop.write(name, &block.text);
        } else if block.marks == ["sh", "setup"] {
            workshop.shell(&block.text);
        }
    }
}

/// Names and sources of the examples in a language.
fn examples(language: &str) -> Vec<(String, String)> {
    let of_language = blocks().filter(|block| block.marks.first().is_some_and(|m| m == language));
    of_language
        .filter_map(|block| Some((said(&block, "example")?.to_owned(), block.text)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_shell_answers_what_the_page_shows() {
    let up = world().await;
    let workshop = Workshop::open(None, &up);
    let examples = examples("sh");
    assert!(examples.len() >= 6, "the page has lost its commands");
    for (name, script) in examples {
        let printed = workshop.shell(&script);
        let answer = blocks().find(|block| said(block, "answer") == Some(&name));
        let answer = answer.unwrap_or_else(|| panic!("no answer is shown to {name}"));
        if answer.marks.starts_with(&["json".to_owned()]) {
            let got: Value = serde_json::from_str(&printed)
                .unwrap_or_else(|error| panic!("{name}: {error}: {printed}"));
            assert_shown(&answer.text, &got, &name);
        } else {
            assert_eq!(sorted(&printed), sorted(&answer.text), "{name}: {printed}");
        }
    }
}

/// Headers come in any order.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(plain).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn every_program_prints_what_the_page_says() {
    let up = world().await;
    // Some of them wait for most of their time.
    std::thread::scope(|scope| {
        for (name, language) in Language::ALL {
            let up = &up;
            scope.spawn(move || run_all(name, language, up));
        }
    });
}

fn run_all(name: &str, language: Language, up: &Up) {
    let workshop = Workshop::open(Some(language), up);
    let programs = examples(name);
    let ending = match language {
        Language::Python => "py",
        Language::TypeScript => "ts",
        Language::Go => "go",
    };
    for (program, source) in &programs {
        workshop.write(&format!("{program}.{ending}"), source);
    }
    let names: Vec<&str> = programs
        .iter()
        .map(|(program, _)| program.as_str())
        .collect();
    assert_eq!(names, ["route", "headers", "own", "client"], "{name}");
    workshop.build(language, &names);
    for program in names {
        let shown = block(&format!("text prints={program}"));
        let printed = workshop.run(language, program);
        let lines = |text: &str| text.lines().map(plain).collect::<Vec<_>>();
        assert_eq!(lines(&printed), lines(&shown.text), "{program} in {name}");
    }
}
