//! Groups the processors of a stage by what they wait for.

use std::collections::HashMap;

use crate::policy::Processor;

/// Groups processors into waves: all of one wave may run at the same time, and a wave starts when
/// the one before it is done. `None` when the dependencies go in a circle. Each wave lists its
/// entries by their position in the policy.
pub fn waves(processors: &[Processor]) -> Option<Vec<Vec<usize>>> {
    let positions: HashMap<&str, usize> = processors
        .iter()
        .enumerate()
        .map(|(i, p)| (p.id.as_str(), i))
        .collect();
    let mut levels: Vec<usize> = vec![0; processors.len()];
    // Without a circle the longest chain has one level for each entry, so that many rounds settle
    // everything; entries in their usual order need one round, and another that sees no change.
    for _ in 0..=processors.len() {
        if !raise(processors, &positions, &mut levels) {
            let count = levels.iter().max().map_or(0, |top| top + 1);
            let members = |wave| {
                (0..levels.len())
                    .filter(|i| levels.get(*i) == Some(&wave))
                    .collect()
            };
            return Some((0..count).map(members).collect());
        }
    }
    None
}

/// Puts every entry one level above what must finish before it; false when all were there already.
fn raise(processors: &[Processor], positions: &HashMap<&str, usize>, levels: &mut [usize]) -> bool {
    let mut changed = false;
    let mut all_before = 0;
    for (index, processor) in processors.iter().enumerate() {
        let after = |name: &String| {
            positions
                .get(name.as_str())
                .and_then(|i| levels.get(*i))
                .map(|level| level + 1)
        };
        let level = match &processor.depends_on {
            Some(names) => names.iter().filter_map(after).max().unwrap_or(0),
            None => all_before,
        };
        all_before = all_before.max(level + 1);
        if let Some(known) = levels.get_mut(index).filter(|known| **known != level) {
            *known = level;
            changed = true;
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use beamline_contract::fields::Fields;
    use beamline_contract::policy::Mode;

    fn entry(id: &str, depends_on: Option<&[&str]>) -> Processor {
        let depends_on = depends_on.map(|names| names.iter().map(ToString::to_string).collect());
        Processor {
            id: id.into(),
            mode: Mode::Optional,
            config: Fields::default(),
            depends_on,
            terms: Default::default(),
        }
    }

    #[test]
    fn entries_run_in_order_unless_they_say_otherwise() {
        assert_eq!(waves(&[]), Some(vec![]));
        assert_eq!(
            waves(&[entry("a", None), entry("b", None)]),
            Some(vec![vec![0], vec![1]])
        );
        assert_eq!(
            waves(&[
                entry("a", Some(&[])),
                entry("b", Some(&[])),
                entry("c", None)
            ]),
            Some(vec![vec![0, 1], vec![2]])
        );
        let list = [
            entry("a", None),
            entry("b", Some(&["a"])),
            entry("c", Some(&["a"])),
            entry("d", Some(&["b", "c"])),
        ];
        assert_eq!(waves(&list), Some(vec![vec![0], vec![1, 2], vec![3]]));
        assert_eq!(waves(&[entry("a", Some(&["a"]))]), None);
    }
}
