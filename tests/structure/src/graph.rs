//! Imports between files or folders, and the circles among them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Who imports from whom, and which names.
#[derive(Debug, Clone, Default)]
pub struct Imports(BTreeMap<String, BTreeMap<String, BTreeSet<String>>>);

impl Imports {
    pub(crate) fn add(&mut self, from: &str, to: &str, name: &str) {
        if from == to {
            return;
        }
        let targets = self.0.entry(from.to_owned()).or_default();
        let names = targets.entry(to.to_owned()).or_default();
        names.insert(name.to_owned());
    }

    /// The names that one imports from the other; `None` when there are none.
    pub fn names(&self, from: &str, to: &str) -> Option<&BTreeSet<String>> {
        self.0.get(from)?.get(to)
    }

    /// The names that a file and the folder of its name import from another file and its folder.
    pub fn of_module(&self, from: &str, to: &str) -> impl Iterator<Item = &str> {
        let from = ModuleFiles::of(from);
        let to = ModuleFiles::of(to);
        self.each()
            .filter(move |(source, target, _)| from.has(source) && to.has(target))
            .map(|(.., name)| name)
    }

    /// Only those among the files of one folder.
    #[must_use]
    pub fn within(&self, folder: &str) -> Self {
        let is_inside = |file: &str| file.starts_with(folder);
        let mut inside = Self::default();
        for (from, to, name) in self.each() {
            if is_inside(from) && is_inside(to) {
                inside.add(from, to, name);
            }
        }
        inside
    }

    /// The same between the modules directly below one of the source folders:
    /// `domain/src/policy.rs` and what is in `domain/src/policy/` are one.
    #[must_use]
    pub fn by_module(&self, folders: &[&str]) -> Self {
        let mut modules = Self::default();
        for (from, to, name) in self.each() {
            modules.add(&module_of(from, folders), &module_of(to, folders), name);
        }
        modules
    }

    /// One circle of each group of files that cannot be told apart, as a path with the names that
    /// make it.
    pub fn circles(&self) -> Vec<String> {
        let mut circles = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for start in self.0.keys() {
            if seen.contains(start.as_str()) {
                continue;
            }
            if let Some(circle) = self.shortest_circle(start) {
                seen.extend(self.group_of(start));
                circles.push(self.describe(&circle));
            }
        }
        circles
    }

    fn each(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().flat_map(|(from, targets)| {
            targets.iter().flat_map(move |(to, names)| {
                names
                    .iter()
                    .map(move |name| (from.as_str(), to.as_str(), name.as_str()))
            })
        })
    }

    /// Everything that both leads to `start` and is led to by it.
    fn group_of<'g>(&'g self, start: &'g str) -> Vec<&'g str> {
        let is_member =
            |file: &&str| self.path(start, file).is_some() && self.path(file, start).is_some();
        self.0
            .keys()
            .map(String::as_str)
            .filter(is_member)
            .collect()
    }

    fn shortest_circle<'g>(&'g self, start: &'g str) -> Option<Vec<&'g str>> {
        let targets = self.0.get(start)?.keys();
        let ways_back = targets.filter_map(|next| self.path(next, start));
        let shortest = ways_back.min_by_key(Vec::len)?;
        Some([start].into_iter().chain(shortest).collect())
    }

    /// The shortest way, both ends included.
    fn path<'g>(&'g self, from: &'g str, to: &str) -> Option<Vec<&'g str>> {
        let mut came_from: BTreeMap<&str, Option<&str>> = BTreeMap::from([(from, None)]);
        let mut queue = VecDeque::from([from]);
        while let Some(here) = queue.pop_front() {
            if here == to {
                let steps =
                    std::iter::successors(Some(here), |at| came_from.get(at).copied().flatten());
                let mut path: Vec<&str> = steps.collect();
                path.reverse();
                return Some(path);
            }
            for next in self.0.get(here).into_iter().flat_map(BTreeMap::keys) {
                if !came_from.contains_key(next.as_str()) {
                    came_from.insert(next, Some(here));
                    queue.push_back(next);
                }
            }
        }
        None
    }

    fn describe(&self, circle: &[&str]) -> String {
        let mut line = circle.first().copied().unwrap_or_default().to_owned();
        for (from, to) in circle.iter().zip(circle.iter().skip(1)) {
            let names = self.names(from, to).into_iter().flatten();
            let names: Vec<&str> = names.take(3).map(String::as_str).collect();
            line.push_str(&format!("\n    -> {to} ({})", names.join(", ")));
        }
        line
    }
}

/// A file and the folder of its name.
struct ModuleFiles {
    file: String,
    folder: String,
}

impl ModuleFiles {
    fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            folder: format!("{}/", file.trim_end_matches(".rs")),
        }
    }

    fn has(&self, file: &str) -> bool {
        file == self.file || file.starts_with(&self.folder)
    }
}

fn module_of(file: &str, folders: &[&str]) -> String {
    for folder in folders {
        let Some(rest) = file
            .strip_prefix(folder)
            .and_then(|rest| rest.strip_prefix('/'))
        else {
            continue;
        };
        let first = rest.split('/').next().unwrap_or(rest);
        return format!("{folder}/{}", first.trim_end_matches(".rs"));
    }
    file.to_owned()
}
