//! Makes the table of regions from the metadata of Google's libphonenumber, as the crate
//! `phonenumber` carries it, and holds the file against it.
//! `UPDATE_PHONE_TABLE=1 cargo nextest run -p beamline-reference-extensions the_table` writes it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use phonenumber::metadata::{DATABASE, Descriptors, Metadata};
use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};

use super::*;

const PREFIX_DIGITS: usize = 3;

#[test]
fn the_table_is_what_the_library_knows() {
    let made = generate();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src/pii/phone/table/regions.txt"
    );
    if std::env::var_os("UPDATE_PHONE_TABLE").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        made == kept,
        "run this test with UPDATE_PHONE_TABLE=1 and commit the file"
    );
}

#[test]
fn countries() {
    for (digits, valid, possible) in [
        ("14155550132", true, true),
        ("15555550132", false, true),
        ("4915112345678", true, true),
        ("442079460958", true, true),
        ("4402079460958", true, false),
        ("999123456789", false, false),
        ("1", false, false),
    ] {
        assert_eq!(is_international(digits.as_bytes()), valid, "{digits}");
        assert_eq!(is_possible(digits.as_bytes()), possible, "{digits}");
    }
}

#[test]
fn regions_narrow() {
    let everywhere = National::everywhere();
    let spain = National::of_regions(&["es".to_owned()]).unwrap();
    assert!(everywhere.has_with_trunk(b"07700900123"));
    assert!(!spain.has_with_trunk(b"07700900123"));
    assert!(spain.has_without_trunk(b"612345678"));
    assert!(!spain.has_without_trunk(b"112345678"));
    assert!(everywhere.north_american && !spain.north_american);
    assert!(
        National::of_regions(&["XX".to_owned()])
            .unwrap_err()
            .contains("'XX'")
    );
}

/// The whole file.
fn generate() -> String {
    let mut regions: Vec<&Metadata> = DATABASE.iter().collect();
    regions.sort_by_key(|region| (region.id().to_owned(), region.country_code()));
    let mut file = String::from(
        "# Made from the metadata of libphonenumber by a test; see `table/tests.rs`. Each region has its\n\
         # country code and trunk prefix, then its valid numbers: length, first three digits.\n\
         # A line that begins with a space is a form without trunk prefix: digits in each group.\n",
    );
    for region in regions {
        write_region(&mut file, region);
    }
    file
}

fn write_region(file: &mut String, region: &Metadata) {
    let valid = Pattern::whole(&valid_patterns(region.descriptors()));
    let trunk = region.national_prefix().unwrap_or("-");
    let _ = write!(file, "{} {} {trunk}", region.id(), region.country_code());
    let mut by_length: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for prefix in 0..10_usize.pow(PREFIX_DIGITS as u32) {
        for length in valid.lengths_after(prefix) {
            by_length.entry(length).or_default().insert(prefix);
        }
    }
    for (length, prefixes) in &by_length {
        let _ = write!(file, " {length}:{}", ranges(prefixes));
    }
    file.push('\n');
    let bare = written_without_trunk(region, &by_length);
    for (length, prefixes) in &bare {
        let _ = write!(file, " {length}:{}", ranges(prefixes));
    }
    if !bare.is_empty() {
        file.push('\n');
    }
}

/// What `is_valid` of the library accepts: any kind of number that people have.
fn valid_patterns(kinds: &Descriptors) -> String {
    let patterns: Vec<&str> = [
        kinds.fixed_line(),
        kinds.mobile(),
        kinds.toll_free(),
        kinds.premium_rate(),
        kinds.shared_cost(),
        kinds.personal_number(),
        kinds.voip(),
        kinds.pager(),
        kinds.uan(),
    ]
    .into_iter()
    .flatten()
    .map(|kind| kind.national_number().as_str())
    .collect();
    patterns.join("|")
}

/// The numbers that the region's formats show without trunk prefix.
fn written_without_trunk(
    region: &Metadata,
    valid: &BTreeMap<usize, BTreeSet<usize>>,
) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut written: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for format in region.formats() {
        let with_trunk = format
            .national_prefix()
            .is_some_and(|rule| rule.contains("$NP"));
        if with_trunk && !format.is_national_prefix_optional() || !format.format().starts_with("$1")
        {
            continue;
        }
        let leading = format
            .leading_digits()
            .last()
            .map(|digits| Pattern::prefix(digits.as_str()));
        for groups in group_lengths(format.pattern().as_str()) {
            let length: usize = groups.iter().sum();
            let Some(prefixes) = valid.get(&length).filter(|_| groups.len() > 1) else {
                continue;
            };
            let fitting = prefixes.iter().filter(|prefix| {
                leading
                    .as_ref()
                    .is_none_or(|leading| leading.may_begin(**prefix))
            });
            written.entry(length).or_default().extend(fitting);
        }
    }
    written.retain(|_, prefixes| !prefixes.is_empty());
    written
}

/// `(\d{3})(\d{2,3})` is `[3, 2]` and `[3, 3]`.
fn group_lengths(pattern: &str) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for group in pattern.split(')').filter(|group| !group.is_empty()) {
        let sizes: Vec<usize> = match (group.find('{'), group.find('}')) {
            (Some(open), Some(close)) => {
                let mut ends = group[open + 1..close]
                    .split(',')
                    .map(|end| end.parse().unwrap());
                let first: usize = ends.next().unwrap();
                (first..=ends.next().unwrap_or(first)).collect()
            }
            _ => vec![1],
        };
        all = all
            .iter()
            .flat_map(|groups: &Vec<usize>| {
                sizes.iter().map(|size| {
                    let mut groups = groups.clone();
                    groups.push(*size);
                    groups
                })
            })
            .collect();
    }
    all
}

fn ranges(prefixes: &BTreeSet<usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for prefix in prefixes {
        match ranges.last_mut() {
            Some(range) if range.1 + 1 == *prefix => range.1 = *prefix,
            _ => ranges.push((*prefix, *prefix)),
        }
    }
    let written: Vec<String> = ranges
        .iter()
        .map(|(first, last)| match first == last {
            true => format!("{first:03}"),
            false => format!("{first:03}-{last:03}"),
        })
        .collect();
    written.join(",")
}

struct Pattern(dense::DFA<Vec<u32>>);

impl Pattern {
    fn whole(pattern: &str) -> Self {
        Self::build(&format!("(?x)^(?:{pattern})$"))
    }

    fn prefix(pattern: &str) -> Self {
        Self::build(&format!("(?x)^(?:{pattern})[0-9]*$"))
    }

    fn build(pattern: &str) -> Self {
        let pattern = pattern.replace("\\d", "[0-9]");
        let config = dense::Config::new().match_kind(MatchKind::All);
        Self(
            dense::Builder::new()
                .configure(config)
                .build(&pattern)
                .unwrap(),
        )
    }

    fn after(&self, prefix: usize) -> StateID {
        let mut state = self
            .0
            .start_state(&start::Config::new().anchored(Anchored::Yes))
            .unwrap();
        for byte in format!("{prefix:03}").bytes() {
            state = self.0.next_state(state, byte);
        }
        state
    }

    fn may_begin(&self, prefix: usize) -> bool {
        !self.0.is_dead_state(self.after(prefix))
    }

    /// How long the numbers are that begin so.
    fn lengths_after(&self, prefix: usize) -> Vec<usize> {
        let mut known = HashMap::new();
        let lengths = self.accepting(self.after(prefix), LONGEST - PREFIX_DIGITS, &mut known);
        (0..=LONGEST - PREFIX_DIGITS)
            .filter(|length| lengths & (1 << length) != 0)
            .map(|length| length + PREFIX_DIGITS)
            .collect()
    }

    /// One bit for each number of further digits after which the pattern matches.
    fn accepting(
        &self,
        state: StateID,
        depth: usize,
        known: &mut HashMap<(StateID, usize), u32>,
    ) -> u32 {
        if self.0.is_dead_state(state) {
            return 0;
        }
        if let Some(lengths) = known.get(&(state, depth)) {
            return *lengths;
        }
        let mut lengths = u32::from(self.0.is_match_state(self.0.next_eoi_state(state)));
        if depth > 0 {
            for digit in b'0'..=b'9' {
                lengths |= self.accepting(self.0.next_state(state, digit), depth - 1, known) << 1;
            }
        }
        known.insert((state, depth), lengths);
        lengths
    }
}
