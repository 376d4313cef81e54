//! No circle of imports between files of `domain`, and none between the folders of any crate.

use beamline_structure::graph::{Imports, Known};
use beamline_structure::workspace::{Crate, Workspace, repository};

const CRATES: [Crate; 7] = [
    library("beamline_contract", "contract/src"),
    library("beamline_domain", "domain/src"),
    library("beamline_actors", "actors/src"),
    library("beamline_bus", "bus/src"),
    library("beamline_extension", "extensions/sdk/src"),
    library("beamline_router", "src"),
    Crate {
        name: "beamline-router (program)",
        folder: "src",
        root: "main.rs",
    },
];

const fn library(name: &'static str, folder: &'static str) -> Crate {
    Crate {
        name,
        folder,
        root: "lib.rs",
    }
}

const FOLDERS: [&str; 6] = [
    "contract/src",
    "domain/src",
    "actors/src",
    "bus/src",
    "extensions/sdk/src",
    "src",
];

/// Circles between files of `domain` that are being taken apart.
const KNOWN_FILES: &[Known] = &[
    being_moved("domain/src/policy/places.rs", "domain/src/policy.rs"),
    being_moved("domain/src/policy/read.rs", "domain/src/policy.rs"),
    being_moved("domain/src/policy/read/circles.rs", "domain/src/policy.rs"),
    being_moved(
        "domain/src/policy/read/fallbacks.rs",
        "domain/src/policy.rs",
    ),
    being_moved(
        "domain/src/policy/read/fallbacks.rs",
        "domain/src/policy/read.rs",
    ),
    being_moved(
        "domain/src/policy/read/providers.rs",
        "domain/src/policy.rs",
    ),
    being_moved(
        "domain/src/policy/read/providers.rs",
        "domain/src/policy/read.rs",
    ),
    being_moved("domain/src/policy/read/settings.rs", "domain/src/policy.rs"),
    being_moved("domain/src/policy/read/stages.rs", "domain/src/policy.rs"),
    being_moved(
        "domain/src/policy/read/stages.rs",
        "domain/src/policy/read.rs",
    ),
    being_moved(
        "domain/src/policy/diff/fallbacks.rs",
        "domain/src/policy/diff.rs",
    ),
    being_moved(
        "domain/src/policy/diff/fields.rs",
        "domain/src/policy/diff.rs",
    ),
    being_moved(
        "domain/src/policy/diff/providers.rs",
        "domain/src/policy/diff.rs",
    ),
    being_moved("domain/src/session/cache.rs", "domain/src/session.rs"),
];

/// Circles between folders that are being taken apart.
const KNOWN_FOLDERS: &[Known] = &[];

const fn being_moved(from: &'static str, to: &'static str) -> Known {
    Known {
        from,
        to,
        reason: "being moved",
    }
}

pub(crate) fn imports() -> Imports {
    let workspace = Workspace::read(&repository(), &CRATES).expect("the sources of the workspace");
    assert_eq!(
        workspace.unresolved(),
        [""; 0],
        "these paths lead nowhere, so that imports may be missing here"
    );
    workspace.imports()
}

fn check(imports: &Imports, known: &[Known]) {
    let problems = imports.problems(known);
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn no_files_of_the_domain_import_each_other_in_a_circle() {
    check(&imports().within("domain/src"), KNOWN_FILES);
}

#[test]
fn no_folders_import_each_other_in_a_circle() {
    check(&imports().by_module(&FOLDERS), KNOWN_FOLDERS);
}
