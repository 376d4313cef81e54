//! What will run for a request, decided before the first call.

use super::policy::Processor;

/// Groups processors into waves: all of one wave may run at the same time, and a wave starts when the one before it is
/// done. `None` when the dependencies go in a circle. Each wave lists its entries by their position in the policy.
pub fn waves(processors: &[Processor]) -> Option<Vec<Vec<usize>>> {
    let mut levels: Vec<usize> = vec![0; processors.len()];
    // Without a circle the longest chain has one level for each entry, so that many rounds settle everything.
    for _ in 0..=processors.len() {
        let next: Vec<usize> = (0..processors.len()).map(|index| level(processors, &levels, index)).collect();
        if next == levels {
            let count = levels.iter().max().map_or(0, |top| top + 1);
            let members = |wave| (0..levels.len()).filter(|i| levels.get(*i) == Some(&wave)).collect();
            return Some((0..count).map(members).collect());
        }
        levels = next;
    }
    None
}

/// One more than the level of what must finish first.
fn level(processors: &[Processor], levels: &[usize], index: usize) -> usize {
    let Some(processor) = processors.get(index) else { return 0 };
    let after = |name: &String| processors.iter().zip(levels).find(|(p, _)| p.id == *name).map(|(_, l)| l + 1);
    match &processor.depends_on {
        Some(names) => names.iter().filter_map(after).max().unwrap_or(0),
        None => levels.iter().take(index).max().map_or(0, |top| top + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fields::Fields;
    use crate::domain::policy::Mode;

    fn entry(id: &str, depends_on: Option<&[&str]>) -> Processor {
        let depends_on = depends_on.map(|names| names.iter().map(ToString::to_string).collect());
        Processor { id: id.into(), mode: Mode::Optional, config: Fields::default(), depends_on }
    }

    #[test]
    fn entries_run_in_order_unless_they_say_otherwise() {
        assert_eq!(waves(&[]), Some(vec![]));
        assert_eq!(waves(&[entry("a", None), entry("b", None)]), Some(vec![vec![0], vec![1]]));
        assert_eq!(
            waves(&[entry("a", Some(&[])), entry("b", Some(&[])), entry("c", None)]),
            Some(vec![vec![0, 1], vec![2]])
        );
        let list =
            [entry("a", None), entry("b", Some(&["a"])), entry("c", Some(&["a"])), entry("d", Some(&["b", "c"]))];
        assert_eq!(waves(&list), Some(vec![vec![0], vec![1, 2], vec![3]]));
        assert_eq!(waves(&[entry("a", Some(&["a"]))]), None);
    }
}
