//! From a path in the code to the file that defines what it names.

use std::collections::BTreeSet;

use crate::graph::Imports;
use crate::workspace::{Module, Workspace};

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found<'w> {
    Module(usize),
    /// A name, and the file that defines it.
    Name(&'w str),
}

/// The lookups on the way to a name: one that comes again goes in a circle.
type Visited = BTreeSet<(usize, String)>;

impl Workspace {
    /// Which file imports from which.
    pub fn imports(&self) -> Imports {
        let mut imports = Imports::default();
        for (index, module) in self.modules.iter().enumerate() {
            if !module.has_code && !self.has_code(&module.file) {
                continue;
            }
            for item in &module.uses {
                match self.resolve(index, &item.path) {
                    Some(Found::Name(file)) => imports.add(&module.file, file, last(&item.path)),
                    Some(Found::Module(from)) if item.name.is_none() => {
                        self.import_all(module, from, &mut imports);
                    }
                    Some(Found::Module(_)) | None => {}
                }
            }
            for path in &module.paths {
                if let Some(Found::Name(file)) = self.resolve(index, path) {
                    imports.add(&module.file, file, last(path));
                }
            }
        }
        imports
    }

    /// Paths that begin in a crate of the workspace and lead nowhere: what the reading has missed.
    pub fn unresolved(&self) -> Vec<String> {
        let mut unresolved = Vec::new();
        for (index, module) in self.modules.iter().enumerate() {
            let used = module.uses.iter().map(|item| &item.path);
            for path in used.chain(&module.paths) {
                let begins_here = path.first().is_some_and(|first| {
                    matches!(first.as_str(), "crate" | "super") || self.roots.contains_key(first)
                });
                if begins_here && self.resolve(index, path).is_none() {
                    unresolved.push(format!("{}: {}", module.file, path.join("::")));
                }
            }
        }
        unresolved
    }

    fn has_code(&self, file: &str) -> bool {
        self.modules
            .iter()
            .any(|module| module.file == file && module.has_code)
    }

    /// `use module::*`
    fn import_all(&self, module: &Module, from: usize, imports: &mut Imports) {
        let Some(source) = self.modules.get(from) else {
            return;
        };
        if source.has_code {
            imports.add(&module.file, &source.file, "*");
        }
        for item in &source.uses {
            if let Some(Found::Name(file)) = self.resolve(from, &item.path) {
                imports.add(&module.file, file, last(&item.path));
            }
        }
    }

    fn resolve<'w>(&'w self, module: usize, path: &[String]) -> Option<Found<'w>> {
        self.follow(module, path, &mut Visited::new())
    }

    fn follow<'w>(
        &'w self,
        module: usize,
        path: &[String],
        visited: &mut Visited,
    ) -> Option<Found<'w>> {
        let (first, rest) = path.split_first()?;
        let mut here = self.start(module, first, visited)?;
        for name in rest {
            here = match here {
                Found::Module(module) if name == "super" => {
                    Found::Module(self.modules.get(module)?.parent?)
                }
                Found::Module(module) => self.look_up(module, name, visited)?,
                // A variant or an associated item: the file is known.
                Found::Name(_) => return Some(here),
            };
        }
        Some(here)
    }

    fn start<'w>(&'w self, module: usize, first: &str, visited: &mut Visited) -> Option<Found<'w>> {
        let here = self.modules.get(module)?;
        match first {
            "crate" => Some(Found::Module(here.root)),
            "self" => Some(Found::Module(module)),
            "super" => here.parent.map(Found::Module),
            _ => self
                .look_up(module, first, visited)
                .or_else(|| self.roots.get(first).copied().map(Found::Module)),
        }
    }

    fn look_up<'w>(
        &'w self,
        module: usize,
        name: &str,
        visited: &mut Visited,
    ) -> Option<Found<'w>> {
        let here = self.modules.get(module)?;
        if let Some(child) = here.children.get(name) {
            return Some(Found::Module(*child));
        }
        if here.defined.contains(name) {
            return Some(Found::Name(&here.file));
        }
        if !visited.insert((module, name.to_owned())) {
            return None;
        }
        let named = here
            .uses
            .iter()
            .filter(|item| item.name.as_deref() == Some(name));
        let found = named
            .filter_map(|item| self.follow(module, &item.path, visited))
            .next();
        found.or_else(|| self.look_up_in_globs(module, name, visited))
    }

    fn look_up_in_globs<'w>(
        &'w self,
        module: usize,
        name: &str,
        visited: &mut Visited,
    ) -> Option<Found<'w>> {
        let here = self.modules.get(module)?;
        for glob in here.uses.iter().filter(|item| item.name.is_none()) {
            if let Some(Found::Module(from)) = self.follow(module, &glob.path, visited)
                && let Some(found) = self.look_up(from, name, visited)
            {
                return Some(found);
            }
        }
        None
    }
}

fn last(path: &[String]) -> &str {
    path.last().map_or("", String::as_str)
}
