//! No circle of imports between files of `domain`, and none between the folders of any crate.

use beamline_structure::graph::Imports;
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

pub(crate) fn imports() -> Imports {
    let workspace = Workspace::read(&repository(), &CRATES).expect("the sources of the workspace");
    assert_eq!(
        workspace.unresolved(),
        [""; 0],
        "these paths lead nowhere, so that imports may be missing here"
    );
    workspace.imports()
}

fn assert_no_circles(imports: &Imports) {
    let circles = imports.circles();
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

#[test]
fn no_files_of_the_domain_import_each_other_in_a_circle() {
    assert_no_circles(&imports().within("domain/src"));
}

#[test]
fn no_folders_import_each_other_in_a_circle() {
    assert_no_circles(&imports().by_module(&FOLDERS));
}
