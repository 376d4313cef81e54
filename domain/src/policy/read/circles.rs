//! `depends_on`: every name must be in the same stage, and no entry may wait for itself, however
//! long the way round.

use std::collections::HashMap;

use crate::document::{Mistakes, shorten};
use crate::policy::Processor;

/// `pointers` are the places of `depends_on` of each processor.
pub(super) fn check(
    stage: &str,
    processors: &[Processor],
    pointers: &[String],
    mistakes: &mut Mistakes,
) {
    let positions: HashMap<&str, usize> = processors
        .iter()
        .enumerate()
        .map(|(i, p)| (p.id.as_str(), i))
        .collect();
    let before = mistakes.count();
    for (processor, pointer) in processors.iter().zip(pointers) {
        for (index, name) in processor.depends_on.iter().flatten().enumerate() {
            if !positions.contains_key(name.as_str()) {
                mistakes.add(
                    format!("{pointer}/{index}"),
                    format!("{} is not in {stage}", shorten(name)),
                );
            }
        }
    }
    if mistakes.count() > before {
        return;
    }
    let mut search = Search {
        processors,
        positions,
        state: vec![State::New; processors.len()],
        path: Vec::new(),
    };
    if let Some(circle) = (0..processors.len()).find_map(|start| search.circle_from(start)) {
        let pointer = circle
            .iter()
            .filter(|at| search.has_list(**at))
            .find_map(|at| pointers.get(*at));
        mistakes.add(
            pointer.cloned().unwrap_or_default(),
            search.sentence(&circle),
        );
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    OnPath,
    Done,
}

struct Search<'p> {
    processors: &'p [Processor],
    positions: HashMap<&'p str, usize>,
    state: Vec<State>,
    path: Vec<usize>,
}

impl Search<'_> {
    /// The entries of a circle in order, the first one again at the end. As deep as a stage is
    /// long, at most.
    fn circle_from(&mut self, at: usize) -> Option<Vec<usize>> {
        match self.state.get(at) {
            Some(State::OnPath) => {
                let circle = self
                    .path
                    .iter()
                    .copied()
                    .skip_while(|on_path| *on_path != at);
                return Some(circle.chain([at]).collect());
            }
            Some(State::New) => {}
            Some(State::Done) | None => return None,
        }
        self.set(at, State::OnPath);
        self.path.push(at);
        let found = self
            .waits_for(at)
            .into_iter()
            .find_map(|next| self.circle_from(next));
        self.path.pop();
        self.set(at, State::Done);
        found
    }

    /// Without a list of its own an entry waits for everything before it.
    fn waits_for(&self, at: usize) -> Vec<usize> {
        match self
            .processors
            .get(at)
            .and_then(|processor| processor.depends_on.as_ref())
        {
            Some(names) => names
                .iter()
                .filter_map(|name| self.positions.get(name.as_str()).copied())
                .collect(),
            None => (0..at).collect(),
        }
    }

    fn set(&mut self, at: usize, state: State) {
        if let Some(known) = self.state.get_mut(at) {
            *known = state;
        }
    }

    fn has_list(&self, at: usize) -> bool {
        self.processors
            .get(at)
            .is_some_and(|processor| processor.depends_on.is_some())
    }

    fn sentence(&self, circle: &[usize]) -> String {
        let name = |at: &usize| {
            self.processors
                .get(*at)
                .map_or("", |processor| processor.id.as_str())
        };
        let path: Vec<&str> = circle.iter().map(name).collect();
        let silent = circle.iter().find(|at| !self.has_list(**at)).map(name);
        let because = silent.map_or(String::new(), |id| {
            format!("; {id} has no depends_on, so it waits for everything listed before it")
        });
        format!(
            "goes in a circle, so nothing in it could ever start: {}{because}",
            path.join(" -> ")
        )
    }
}
