//! The modules of all crates, as their files declare them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::declarations::{Declarations, Use};

/// A crate and the folder of its sources, below the root of the repository.
#[derive(Debug, Clone, Copy)]
pub struct Crate {
    /// As other crates write it: `beamline_domain`.
    pub name: &'static str,
    /// `domain/src`
    pub folder: &'static str,
    /// `lib.rs`, or `main.rs` of a program.
    pub root: &'static str,
}

/// Every module of some crates.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(crate) modules: Vec<Module>,
    /// The root module of each crate, by its name.
    pub(crate) roots: BTreeMap<String, usize>,
}

/// One module: a file, or a part of one in braces.
#[derive(Debug)]
pub(crate) struct Module {
    /// Below the root of the repository, with `/` between its parts.
    pub(crate) file: String,
    pub(crate) root: usize,
    pub(crate) parent: Option<usize>,
    pub(crate) children: BTreeMap<String, usize>,
    pub(crate) defined: BTreeSet<String>,
    pub(crate) uses: Vec<Use>,
    pub(crate) paths: BTreeSet<Vec<String>>,
    pub(crate) has_code: bool,
}

/// Where the text of a file comes from: the disk, or a test.
type Source<'s> = &'s dyn Fn(&str) -> io::Result<String>;

impl Workspace {
    /// Reads the sources below `root`.
    ///
    /// # Errors
    /// When a file that a module names cannot be read, or is no Rust.
    pub fn read(root: &Path, crates: &[Crate]) -> io::Result<Self> {
        Self::from_source(crates, &|file| fs::read_to_string(root.join(file)))
    }

    /// The same with the text of each file at hand.
    ///
    /// # Errors
    /// When a file that a module names is not among them, or is no Rust.
    pub fn of(crates: &[Crate], files: &[(&str, &str)]) -> io::Result<Self> {
        Self::from_source(crates, &|wanted| {
            let found = files.iter().find(|(file, _)| *file == wanted);
            found
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn from_source(crates: &[Crate], source: Source<'_>) -> io::Result<Self> {
        let mut workspace = Self::default();
        for Crate { name, folder, root } in crates {
            let file = format!("{folder}/{root}");
            let declarations = parse(&file, source)?;
            let index = workspace.add(&file, None, &declarations);
            workspace.roots.insert((*name).to_owned(), index);
            workspace.add_children(index, Path::new(folder), declarations, source)?;
        }
        Ok(workspace)
    }

    fn add(&mut self, file: &str, parent: Option<usize>, declarations: &Declarations) -> usize {
        let index = self.modules.len();
        let root = parent
            .and_then(|parent| self.modules.get(parent))
            .map_or(index, |parent| parent.root);
        self.modules.push(Module {
            file: file.to_owned(),
            root,
            parent,
            children: BTreeMap::new(),
            defined: declarations.defined.clone(),
            uses: Vec::new(),
            paths: declarations.paths.clone(),
            has_code: declarations.has_code,
        });
        if let Some(root) = self.modules.get_mut(root) {
            root.defined.extend(declarations.exported_macros.clone());
        }
        index
    }

    /// `folder` is where the files of the module's own modules are.
    fn add_children(
        &mut self,
        parent: usize,
        folder: &Path,
        declarations: Declarations,
        source: Source<'_>,
    ) -> io::Result<()> {
        let file = self.modules.get(parent).map(|module| module.file.clone());
        let mut children = BTreeMap::new();
        for name in declarations.files {
            let path = folder.join(format!("{name}.rs"));
            let inner = parse(&text(&path), source)?;
            let child = self.add(&text(&path), Some(parent), &inner);
            self.add_children(child, &folder.join(&name), inner, source)?;
            children.insert(name, child);
        }
        for (name, inner) in declarations.inline {
            let child = self.add(file.as_deref().unwrap_or_default(), Some(parent), &inner);
            self.add_children(child, &folder.join(&name), inner, source)?;
            children.insert(name, child);
        }
        if let Some(module) = self.modules.get_mut(parent) {
            module.children = children;
            module.uses = declarations.uses;
        }
        Ok(())
    }
}

fn parse(file: &str, source: Source<'_>) -> io::Result<Declarations> {
    let text =
        source(file).map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))?;
    let parsed = syn::parse_file(&text)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, format!("{file}: {error}")))?;
    Ok(Declarations::of(&parsed))
}

fn text(path: &Path) -> String {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// Where all sources are, those of tests among them.
pub const SOURCE_FOLDERS: [&str; 9] = [
    "actors",
    "benches",
    "bus",
    "chaos",
    "contract",
    "domain",
    "extensions",
    "src",
    "tests",
];

/// All sources below a folder, in the order of their names.
///
/// # Errors
/// When a folder cannot be read.
pub fn sources(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The root of the repository, where the tests of this crate run.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
