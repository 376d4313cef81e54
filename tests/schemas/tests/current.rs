//! What is committed is what the types say.

use std::fs;
use std::path::{Path, PathBuf};

const WRITE: &str = "BEAMLINE_WRITE_SCHEMAS";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schemas")
}

#[test]
fn the_committed_schemas_are_those_of_the_types() {
    let files = beamline_schemas::files();
    let schemas = files
        .iter()
        .map(|file| (format!("{}.json", file.name), file.text()));
    let all: Vec<(String, String)> = schemas
        .chain([("README.md".to_owned(), beamline_schemas::index())])
        .collect();
    if std::env::var_os(WRITE).is_some() {
        write(&all);
    }
    let outdated: Vec<&str> = all
        .iter()
        .filter(|(name, text)| fs::read_to_string(folder().join(name)).ok().as_ref() != Some(text))
        .map(|(name, _)| name.as_str())
        .collect();
    assert!(
        outdated.is_empty(),
        "{outdated:?} of docs/schemas are not current; {WRITE}=1 writes them anew"
    );
    let mut left: Vec<String> = [folder(), folder().join("admin")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| path.strip_prefix(folder()).unwrap().display().to_string())
        .filter(|name| !all.iter().any(|(known, _)| known == name))
        .collect();
    left.sort();
    assert!(
        left.is_empty(),
        "nothing makes {left:?} any more; delete them"
    );
}

fn write(files: &[(String, String)]) {
    for (name, text) in files {
        let path = folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // The contract has the schema of policies in it: what stays the same builds nothing anew.
        if fs::read_to_string(&path).ok().as_ref() != Some(text) {
            fs::write(path, text).unwrap();
        }
    }
}
