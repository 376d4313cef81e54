//! What the documents say of files is true.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use beamline_structure::workspace::{SOURCE_FOLDERS, repository, sources};

const DOCUMENTS: [&str; 2] = ["docs", "docs/decisions"];

#[test]
fn every_source_that_a_document_names_is_there() {
    let root = repository();
    let files = names_of_sources(&root);
    let mut missing = Vec::new();
    for folder in DOCUMENTS {
        for entry in fs::read_dir(root.join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).expect("a document");
                let unknown = named_sources(&text).filter(|name| !is_one_of(name, &files));
                let document = path.file_name().unwrap_or_default().display();
                missing.extend(unknown.map(|name| format!("{document}: {name}")));
            }
        }
    }
    assert!(missing.is_empty(), "these are not there: {missing:#?}");
}

#[test]
fn a_source_is_told_from_other_code() {
    let names: Vec<&str> = named_sources("`a/b.rs`, `Run::next` and `run()`, c.rs").collect();
    assert_eq!(names, ["a/b.rs"]);
    let files = BTreeSet::from(["src/a/b.rs".to_owned()]);
    assert!(is_one_of("a/b.rs", &files) && is_one_of("src/a/b.rs", &files));
    assert!(!is_one_of("b/a.rs", &files) && !is_one_of("/b.rs", &files));
    assert!(!is_one_of("xb.rs", &files) && is_one_of("b.rs", &files));
}

/// What stands between backticks and ends like a source.
fn named_sources(text: &str) -> impl Iterator<Item = &str> {
    let code = text.split('`').skip(1).step_by(2);
    code.filter(|code| code.ends_with(".rs") && !code.contains(' '))
}

/// The name may leave out folders in front.
fn is_one_of(name: &str, files: &BTreeSet<String>) -> bool {
    let end = format!("/{name}");
    files
        .iter()
        .any(|file| file == name || file.ends_with(&end))
}

fn names_of_sources(root: &Path) -> BTreeSet<String> {
    let folders = SOURCE_FOLDERS.iter().map(|folder| root.join(folder));
    let files = folders.flat_map(|folder| sources(&folder).expect("a folder"));
    files
        .filter_map(|file| Some(file.strip_prefix(root).ok()?.display().to_string()))
        .collect()
}
