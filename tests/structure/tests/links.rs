//! Every link from one document to another leads somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use beamline_structure::workspace::repository;

const DOCUMENTS: [&str; 7] = [
    ".",
    "chaos",
    "docker",
    "docs",
    "docs/decisions",
    "docs/schemas",
    "extensions",
];

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let root = repository();
    let mut broken = Vec::new();
    for document in documents(&root) {
        let text = fs::read_to_string(&document).expect("a document");
        let folder = document.parent().expect("a folder");
        for link in links(&prose(&text)) {
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                document.clone()
            } else {
                folder.join(file)
            };
            let is_right = target.exists() && (heading.is_empty() || has(&target, heading));
            if !is_right {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "these lead nowhere: {broken:#?}");
}

#[test]
fn links_and_headings_are_found() {
    let text =
        "# One `two`, three\n[a](b.md#c) and [d](https://e)\n```sh\n# no [x](y)\n```\n[f](#g)";
    let prose = prose(text);
    assert_eq!(links(&prose), ["b.md#c", "#g"]);
    let headings = headings(&prose);
    assert_eq!(headings, BTreeSet::from(["one-two-three".to_owned()]));
}

fn documents(root: &Path) -> Vec<PathBuf> {
    let folders = DOCUMENTS.iter().map(|folder| root.join(folder));
    let entries = folders.flat_map(|folder| fs::read_dir(folder).expect("a folder"));
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// A text without its blocks of code.
fn prose(text: &str) -> String {
    let parts = text.split("\n```").step_by(2);
    parts.collect::<Vec<_>>().join("\n")
}

/// Where links to other documents and to headings lead.
fn links(prose: &str) -> Vec<String> {
    let targets = prose.split("](").skip(1);
    targets
        .filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()))
        .filter(|target| !target.starts_with("http") && !target.contains(' '))
        .collect()
}

fn has(document: &Path, heading: &str) -> bool {
    let text = fs::read_to_string(document).unwrap_or_default();
    headings(&prose(&text)).contains(heading)
}

/// As a browser finds them: lower case, `-` for blanks, no other signs.
fn headings(prose: &str) -> BTreeSet<String> {
    let lines = prose.lines().filter(|line| line.starts_with('#'));
    lines
        .map(|line| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}
