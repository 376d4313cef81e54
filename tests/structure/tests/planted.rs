//! A check that finds nothing proves nothing: planted circles must be found, and only they.

use beamline_structure::workspace::{Crate, Workspace};

const RULES: Crate = Crate {
    name: "rules",
    folder: "rules/src",
    root: "lib.rs",
};

fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let workspace = Workspace::of(&[RULES], files).expect("sources");
    assert_eq!(workspace.unresolved(), [""; 0]);
    workspace.imports().circles()
}

#[test]
fn a_parent_and_a_child_that_use_each_other_are_a_circle() {
    let found = circles(&[
        ("rules/src/lib.rs", "pub mod policy;"),
        (
            "rules/src/policy.rs",
            "mod read; pub struct Policy; fn parse() -> Policy { read::read() }",
        ),
        (
            "rules/src/policy/read.rs",
            "use super::Policy; pub(super) fn read() -> Policy { Policy }",
        ),
    ]);
    let want = "rules/src/policy.rs\n    -> rules/src/policy/read.rs (read)\n    -> rules/src/policy.rs (Policy)";
    assert_eq!(found, [want]);
}

#[test]
fn a_file_that_only_re_exports_is_no_part_of_a_circle() {
    let found = circles(&[
        ("rules/src/lib.rs", "pub mod policy;"),
        (
            "rules/src/policy.rs",
            "mod model; mod read; pub use model::Policy; pub use read::read;",
        ),
        ("rules/src/policy/model.rs", "pub struct Policy;"),
        (
            "rules/src/policy/read.rs",
            "use super::Policy; pub fn read() -> Policy { Policy }",
        ),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_re_export_hides_no_circle() {
    let found = circles(&[
        ("rules/src/lib.rs", "pub mod policy; pub mod plan;"),
        ("rules/src/policy.rs", "mod model; pub use model::Policy;"),
        (
            "rules/src/policy/model.rs",
            "pub struct Policy { plan: crate::plan::Plan }",
        ),
        (
            "rules/src/plan.rs",
            "use crate::policy::{self}; pub struct Plan(Box<policy::Policy>);",
        ),
    ]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("-> rules/src/policy/model.rs (Policy)"),
        "{found:?}"
    );
}

#[test]
fn a_circle_of_three_through_a_macro_an_alias_and_a_glob_is_found() {
    let found = circles(&[
        ("rules/src/lib.rs", "mod a; mod b; mod c;"),
        (
            "rules/src/a.rs",
            "use crate::b as other; pub fn a() { println!(\"{}\", other::B) }",
        ),
        ("rules/src/b.rs", "use super::c::*; pub const B: u8 = C;"),
        ("rules/src/c.rs", "pub const C: u8 = { crate::a::a(); 1 };"),
    ]);
    assert_eq!(found.len(), 1);
    for file in ["a.rs", "b.rs", "c.rs"] {
        assert!(found[0].contains(file), "{found:?}");
    }
}

#[test]
fn what_only_tests_import_does_not_count() {
    let found = circles(&[
        ("rules/src/lib.rs", "mod a; mod b;"),
        (
            "rules/src/a.rs",
            "pub struct A; #[cfg(test)] mod tests { use crate::b::B; }
             #[cfg(any(test, feature = \"testing\"))] pub mod testing;
             impl A { #[cfg(test)] fn b() -> crate::b::B { crate::b::B } }",
        ),
        (
            "rules/src/b.rs",
            "use crate::a::A; pub struct B; fn b(_: A) {}",
        ),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn folders_are_compared_as_a_whole() {
    let files = [
        ("rules/src/lib.rs", "mod a; mod b;"),
        ("rules/src/a.rs", "mod one; mod two;"),
        ("rules/src/a/one.rs", "use crate::b::B; fn one(_: B) {}"),
        ("rules/src/a/two.rs", "pub struct Two;"),
        ("rules/src/b.rs", "mod inner; pub use inner::B;"),
        (
            "rules/src/b/inner.rs",
            "pub struct B; pub fn b(_: crate::a::two::Two) {}",
        ),
    ];
    let imports = Workspace::of(&[RULES], &files).expect("sources").imports();
    assert_eq!(imports.circles(), [""; 0], "no circle of files");
    let folders = imports.by_module(&["rules/src"]).circles();
    assert_eq!(folders.len(), 1);
    assert!(
        folders[0].starts_with("rules/src/a\n    -> rules/src/b (B)"),
        "{folders:?}"
    );
}
