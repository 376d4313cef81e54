//! Finds out what was meant by a key that does not exist.

use super::layers::{Found, Layers, Origin, Raw, SECTION, printable, variable_of};

/// The mistakes for all values whose key is not among the known ones.
pub(super) fn unknown_keys(layers: &Layers, known: &[&str]) -> Vec<Found> {
    let is_known = |key: &str, raw: &Raw| {
        known.contains(&key) || (matches!(raw, Raw::Other(SECTION)) && is_section(key, known))
    };
    let unknown = layers
        .all()
        .filter(|(key, given)| !is_known(key, &given.raw));
    unknown
        .map(|(key, given)| mistake(key, &given.origin, known))
        .collect()
}

/// Warnings for variables such as `BEAMLINE_NATS_URL`, which are easily written for `BEAMLINE__NATS__URL`. They are no
/// mistakes, because a platform may set variables of that form for its own ends.
pub(super) fn lookalikes(layers: &Layers, known: &[&str]) -> Vec<String> {
    let meant = |name: &String| {
        let variable = known
            .iter()
            .map(|key| variable_of(key))
            .find(|variable| variable.replace("__", "_") == *name)?;
        Some(format!("{name} is not read; did you mean {variable}?"))
    };
    layers.lookalikes.iter().filter_map(meant).collect()
}

/// The word that is at most a slip or two away.
pub(super) fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = if word.len() < 4 {
        1
    } else {
        2.max(word.len() / 6)
    };
    let measured = candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate));
    measured
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, found)| found)
}

fn mistake(key: &str, origin: &Origin, known: &[&str]) -> Found {
    let message = if is_section(key, known) {
        format!(
            "{key} is a section and takes no value; give one to its keys, such as {}",
            first_of(key, known)
        )
    } else if let Origin::Environment(variable) = origin {
        let normal = variable.to_ascii_lowercase().replace("__", ".");
        let meant = meant(normal.strip_prefix("beamline.").unwrap_or(&normal), known);
        let advice = meant.map_or_else(
            || REMOVE.to_owned(),
            |key| format!("did you mean {}?", variable_of(key)),
        );
        format!("unknown variable; {advice}")
    } else {
        let advice = meant(key, known)
            .map_or_else(|| REMOVE.to_owned(), |key| format!("did you mean {key}?"));
        format!("unknown key {}; {advice}", printable(key))
    };
    Found {
        origin: origin.clone(),
        key: Some(key.to_owned()),
        message,
    }
}

const REMOVE: &str = "remove it";

/// A key that is spelled almost so, or one of the same name in another section.
fn meant<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let name = key.rsplit('.').next();
    closest(key, known).or_else(|| {
        known
            .iter()
            .copied()
            .find(|candidate| candidate.rsplit('.').next() == name)
    })
}

fn is_section(key: &str, known: &[&str]) -> bool {
    known.iter().any(|candidate| {
        candidate
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

fn first_of<'a>(section: &str, known: &[&'a str]) -> &'a str {
    known
        .iter()
        .copied()
        .find(|key| key.starts_with(section))
        .unwrap_or_default()
}

/// How many letters must be added, removed or replaced to turn one word into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (index, removed) in from.chars().enumerate() {
        let (mut diagonal, mut left) = (index, index + 1);
        let mut next = vec![left];
        for (added, above) in to.chars().zip(row.iter().skip(1)) {
            let cost = if removed == added {
                diagonal
            } else {
                1 + diagonal.min(left).min(*above)
            };
            (diagonal, left) = (*above, cost);
            next.push(cost);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
