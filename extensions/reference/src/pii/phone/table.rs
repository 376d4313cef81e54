//! What numbers there are, by country: lengths, first digits, trunk prefixes, and which are written
//! without one. The file is made from the metadata of Google's libphonenumber; looking a
//! number up costs a few reads of memory, whatever the number is.

use std::sync::{Arc, LazyLock};

const FILE: &str = include_str!("table/regions.txt");
/// ITU-T E.164: the longest number, country code included.
pub(super) const LONGEST: usize = 15;
const PREFIXES: usize = 1000;

/// A set of numbers, each seen as its first three digits.
#[derive(Clone, Debug)]
struct Prefixes([u64; PREFIXES.div_ceil(64)]);

impl Prefixes {
    const EMPTY: Self = Self([0; PREFIXES.div_ceil(64)]);

    fn insert(&mut self, first: usize, last: usize) {
        for prefix in first..=last {
            if let Some(word) = self.0.get_mut(prefix / 64) {
                *word |= 1 << (prefix % 64);
            }
        }
    }

    fn contains(&self, prefix: usize) -> bool {
        self.0
            .get(prefix / 64)
            .is_some_and(|word| word & (1 << (prefix % 64)) != 0)
    }

    fn add(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }
}

/// Numbers by their length.
#[derive(Clone, Debug, Default)]
struct Numbers(Vec<Option<Prefixes>>);

impl Numbers {
    fn contains(&self, digits: &[u8]) -> bool {
        let prefixes = self.of_length(digits.len());
        prefixes
            .is_some_and(|prefixes| prefix(digits).is_some_and(|first| prefixes.contains(first)))
    }

    fn of_length(&self, length: usize) -> Option<&Prefixes> {
        self.0.get(length).and_then(Option::as_ref)
    }

    fn insert(&mut self, length: usize, prefixes: &Prefixes) {
        if self.0.len() <= length {
            self.0.resize(length + 1, None);
        }
        if let Some(known) = self.0.get_mut(length) {
            known.get_or_insert(Prefixes::EMPTY).add(prefixes);
        }
    }

    fn add(&mut self, other: &Self) {
        for (length, prefixes) in other.0.iter().enumerate() {
            if let Some(prefixes) = prefixes {
                self.insert(length, prefixes);
            }
        }
    }
}

fn prefix(digits: &[u8]) -> Option<usize> {
    let first = digits.get(..3)?;
    Some(first.iter().fold(0, |value, digit| {
        value * 10 + usize::from(digit.saturating_sub(b'0'))
    }))
}

#[derive(Clone, Debug)]
struct Region {
    id: &'static str,
    code: usize,
    trunk: Option<&'static str>,
    numbers: Numbers,
    /// Written without trunk prefix within the country.
    bare: Numbers,
}

static REGIONS: LazyLock<Vec<Region>> = LazyLock::new(|| parse(FILE));
static BY_CODE: LazyLock<Vec<Option<Numbers>>> = LazyLock::new(|| {
    let mut by_code: Vec<Option<Numbers>> = vec![None; 1000];
    for region in REGIONS.iter() {
        if let Some(numbers) = by_code.get_mut(region.code) {
            numbers.get_or_insert_default().add(&region.numbers);
        }
    }
    by_code
});
static EVERYWHERE: LazyLock<Arc<National>> =
    LazyLock::new(|| Arc::new(National::of(REGIONS.iter())));

/// Whether these digits are a country code and a number that it has.
pub(super) fn is_international(digits: &[u8]) -> bool {
    by_code(digits).is_some_and(|(numbers, national)| {
        // "+44 020 ..": a trunk prefix that does not belong there.
        let without_trunk = national.strip_prefix(b"0").unwrap_or(national);
        numbers.contains(national) || numbers.contains(without_trunk)
    })
}

/// Whether a country has numbers of this length, if not with these digits.
pub(super) fn is_possible(digits: &[u8]) -> bool {
    by_code(digits).is_some_and(|(numbers, national)| numbers.of_length(national.len()).is_some())
}

/// No country code begins with another one.
fn by_code(digits: &[u8]) -> Option<(&'static Numbers, &[u8])> {
    let mut code = 0;
    digits.iter().take(3).enumerate().find_map(|(at, digit)| {
        code = code * 10 + usize::from(digit.saturating_sub(b'0'));
        let numbers = BY_CODE.get(code)?.as_ref()?;
        Some((numbers, digits.get(at + 1..)?))
    })
}

/// The numbers as they are written within some countries.
#[derive(Debug, Default)]
pub(crate) struct National {
    /// By the trunk prefix with which they begin.
    trunks: Vec<(&'static str, Numbers)>,
    without_trunk: Numbers,
    all: Numbers,
    bare: Numbers,
    pub(super) north_american: bool,
}

impl National {
    pub(crate) fn everywhere() -> Arc<Self> {
        Arc::clone(&EVERYWHERE)
    }

    /// Of the regions with these ISO 3166 codes.
    ///
    /// # Errors
    /// The first code that is none.
    pub(crate) fn of_regions(ids: &[String]) -> Result<Arc<Self>, String> {
        let regions: Vec<&Region> = ids.iter().map(|id| region(id)).collect::<Result<_, _>>()?;
        Ok(Arc::new(Self::of(regions.into_iter())))
    }

    fn of<'a>(regions: impl Iterator<Item = &'a Region>) -> Self {
        let mut national = Self::default();
        for region in regions {
            national.north_american |= region.code == 1;
            national.all.add(&region.numbers);
            national.with_prefix(region.trunk).add(&region.numbers);
            national.bare.add(&region.bare);
        }
        national
    }

    fn with_prefix(&mut self, trunk: Option<&'static str>) -> &mut Numbers {
        let Some(trunk) = trunk else {
            return &mut self.without_trunk;
        };
        let known = self.trunks.iter().position(|(known, _)| *known == trunk);
        let index = known.unwrap_or_else(|| {
            self.trunks.push((trunk, Numbers::default()));
            self.trunks.len() - 1
        });
        match self.trunks.get_mut(index) {
            Some((_, numbers)) => numbers,
            None => &mut self.without_trunk,
        }
    }

    /// Whether the digits are a number with the trunk prefix before it, or one of a country without
    /// trunk prefix whose numbers begin with zero.
    pub(super) fn has_with_trunk(&self, digits: &[u8]) -> bool {
        let stripped = self.trunks.iter().any(|(trunk, numbers)| {
            digits
                .strip_prefix(trunk.as_bytes())
                .is_some_and(|rest| numbers.contains(rest))
        });
        stripped || (digits.first() == Some(&b'0') && self.without_trunk.contains(digits))
    }

    /// Whether the digits are a number that is written without trunk prefix.
    pub(super) fn has_without_trunk(&self, digits: &[u8]) -> bool {
        self.bare.contains(digits)
    }

    /// Whether the digits are a number somewhere, with or without trunk prefix.
    pub(super) fn has(&self, digits: &[u8]) -> bool {
        self.all.contains(digits) || self.has_with_trunk(digits)
    }
}

/// All regions there are.
pub(crate) fn region_ids() -> impl Iterator<Item = &'static str> {
    REGIONS.iter().map(|region| region.id)
}

fn region(id: &str) -> Result<&'static Region, String> {
    let wanted = id.to_ascii_uppercase();
    let found = REGIONS.iter().find(|region| region.id == wanted);
    found.ok_or_else(|| format!("unknown region '{id}': expected ISO 3166 codes such as DE or US"))
}

/// Each region is a line, and its numbers without trunk prefix one that begins with a space.
fn parse(file: &'static str) -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        match (line.strip_prefix(' '), regions.last_mut()) {
            (Some(bare), Some(region)) => region.bare = parse_numbers(bare.split(' ')),
            _ => regions.extend(parse_region(line)),
        }
    }
    regions
}

fn parse_region(line: &'static str) -> Option<Region> {
    let mut words = line.split(' ');
    Some(Region {
        id: words.next()?,
        code: words.next()?.parse().ok()?,
        trunk: words.next().filter(|trunk| *trunk != "-"),
        numbers: parse_numbers(words),
        bare: Numbers::default(),
    })
}

fn parse_numbers<'a>(words: impl Iterator<Item = &'a str>) -> Numbers {
    let mut numbers = Numbers::default();
    for word in words {
        let parts = word.split_once(':');
        if let Some((Ok(length), ranges)) = parts.map(|(length, ranges)| (length.parse(), ranges)) {
            numbers.insert(length, &parse_ranges(ranges));
        }
    }
    numbers
}

fn parse_ranges(ranges: &str) -> Prefixes {
    let mut prefixes = Prefixes::EMPTY;
    for range in ranges.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse()) {
            prefixes.insert(first, last);
        }
    }
    prefixes
}

#[cfg(test)]
mod tests;
