//! What every source file keeps to, and rustfmt does not see to.

use std::fs;
use std::path::Path;

use beamline_structure::workspace::{SOURCE_FOLDERS, repository, sources};
use syn::visit::{self, Visit};
use syn::{Expr, Local, Pat, PatTuple};

const WIDTH: usize = 100;

#[test]
fn comments_are_no_wider_than_code() {
    let mut wide = Vec::new();
    for_each_source(|name, text| {
        for (index, line) in text.lines().enumerate() {
            let is_comment = line.trim_start().starts_with("// ")
                || line.trim_start().starts_with("/// ")
                || line.trim_start().starts_with("//! ");
            // A long link stays whole.
            let can_be_broken = line.trim_start().split(' ').skip(2).count() > 0;
            if is_comment && can_be_broken && line.chars().count() > WIDTH {
                wide.push(format!("{name}:{}", index + 1));
            }
        }
    });
    assert!(wide.is_empty(), "wider than {WIDTH} columns: {wide:#?}");
}

#[test]
fn one_statement_binds_one_value() {
    let mut folded = Vec::new();
    for_each_source(|name, text| {
        let file = syn::parse_file(text).expect("Rust");
        let mut found = Folded::default();
        found.visit_file(&file);
        folded.extend(
            found
                .0
                .iter()
                .map(|names| format!("{name}: let ({names}) = (..)")),
        );
    });
    assert!(
        folded.is_empty(),
        "several values in one `let`; give each a statement of its own: {folded:#?}"
    );
}

#[test]
fn a_folded_statement_is_found() {
    let found = |body: &str| {
        let file = syn::parse_file(&format!("fn f() {{ {body} }}")).expect("Rust");
        let mut found = Folded::default();
        found.visit_file(&file);
        found.0
    };
    assert_eq!(found("let (a, mut b) = (1, g());"), ["a, b"]);
    assert_eq!(found("let (a, b): (u8, u8) = (1, 2);"), ["a, b"]);
    assert!(found("let (a, b) = g(); let c = (1, 2);").is_empty());
    assert!(
        found("let (a, b) = (b, a);").is_empty(),
        "they change places"
    );
    assert!(found("let (mut a, _) = (1, 2);").is_empty());
}

/// The names of each `let` that takes a tuple apart which it has just put together.
#[derive(Default)]
struct Folded(Vec<String>);

impl<'ast> Visit<'ast> for Folded {
    fn visit_local(&mut self, local: &'ast Local) {
        if let (Some(pattern), Some(init)) = (tuple(&local.pat), &local.init)
            && let Expr::Tuple(values) = init.expr.as_ref()
        {
            let names: Vec<String> = pattern.elems.iter().filter_map(name).collect();
            let mut used = Names(names.clone(), false);
            used.visit_expr_tuple(values);
            if names.len() == pattern.elems.len() && !used.1 {
                self.0.push(names.join(", "));
            }
        }
        visit::visit_local(self, local);
    }
}

/// A tuple of names, with its type or without.
fn tuple(pattern: &Pat) -> Option<&PatTuple> {
    if let Pat::Tuple(tuple) = pattern {
        Some(tuple)
    } else if let Pat::Type(typed) = pattern {
        self::tuple(&typed.pat)
    } else {
        None
    }
}

fn name(pattern: &Pat) -> Option<String> {
    if let Pat::Ident(name) = pattern {
        Some(name.ident.to_string())
    } else {
        None
    }
}

/// Whether one of some names is used.
struct Names(Vec<String>, bool);

impl<'ast> Visit<'ast> for Names {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let is_one = path
            .get_ident()
            .is_some_and(|name| self.0.iter().any(|known| name == known));
        self.1 |= is_one;
        visit::visit_path(self, path);
    }
}

fn for_each_source(mut look: impl FnMut(&str, &str)) {
    let root = repository();
    for folder in SOURCE_FOLDERS {
        for file in sources(&root.join(folder)).expect("a folder") {
            let text = fs::read_to_string(&file).expect("a source");
            look(&name_of(&root, &file), &text);
        }
    }
}

fn name_of(root: &Path, file: &Path) -> String {
    file.strip_prefix(root)
        .unwrap_or(file)
        .display()
        .to_string()
}
