//! The TOML file as a layer: flat keys with the line and the column of each.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use beamline_domain::position::{Lines, Position};
use config::{Value, ValueKind};
use toml::de::{DeInteger, DeTable, DeValue};

use super::content::read_limited;
use super::layer::Layer;
use super::mistakes::Mistakes;
use super::origin::Origin;

/// More than any configuration needs; it keeps `--config /dev/zero` from filling the memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// Whoever made mistakes of the grammar in more places mends these first.
const MAX_ROUNDS: usize = 20;

/// A configuration file that was read as far as possible.
///
/// The `config` crate could read one too, but it stops at the first mistake and forgets the lines.
pub(super) struct ConfigFile {
    pub(super) layer: Layer,
    pub(super) mistakes: Mistakes,
    /// Everybody on this machine can read the file.
    pub(super) world_readable: bool,
    /// As it was named, for the places of mistakes.
    path: String,
}

impl ConfigFile {
    /// Without a path there is no file, and nothing in it.
    pub(super) fn read(path: Option<&Path>) -> Self {
        let mut file = Self {
            layer: Layer::default(),
            mistakes: Mistakes::all(),
            world_readable: false,
            path: path
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
        };
        if let Some(path) = path {
            file.add_file(path);
        }
        file
    }

    fn add_file(&mut self, path: &Path) {
        match read_limited(path, MAX_BYTES) {
            Ok(content) => {
                self.world_readable = content.world_readable;
                self.add_bytes(content.bytes);
            }
            Err(error) => self.mistake(None, format!("cannot be read: {error}")),
        }
    }

    fn add_bytes(&mut self, bytes: Vec<u8>) {
        match String::from_utf8(bytes) {
            Ok(text) => self.add_text(&text),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let bytes = error.as_bytes().get(..valid).unwrap_or_default();
                let start = String::from_utf8_lossy(bytes);
                let message = "this is not valid UTF-8; save the file as UTF-8";
                self.mistake(Some(Position::of_byte(&start, valid)), message.to_owned());
            }
        }
    }

    /// After some mistakes the parser skips much that is in order. So the lines with mistakes are
    /// left out and the rest is parsed again, until nothing new is found.
    fn add_text(&mut self, text: &str) {
        let mut readable = text.trim_start_matches('\u{feff}').to_owned();
        let mut lost = BTreeSet::new();
        for _ in 0..MAX_ROUNDS {
            let newly_lost = self.add_syntax_mistakes(&readable, &lost);
            if newly_lost.is_empty() {
                break;
            }
            readable = without_lines(&readable, &newly_lost);
            lost.extend(newly_lost);
        }
        let (table, _) = DeTable::parse_recoverable(&readable);
        self.add_table("", table.get_ref(), &Lines::of(&readable));
    }

    /// Gives back the lines that nobody can tell the meaning of, beside those that were left out
    /// before.
    fn add_syntax_mistakes(&mut self, text: &str, left_out: &BTreeSet<usize>) -> BTreeSet<usize> {
        let lines = Lines::of(text);
        let mut lost = BTreeSet::new();
        for error in DeTable::parse_recoverable(text).1 {
            let span = error.span().unwrap_or(0..0);
            let position = lines.position(span.start);
            // One slip often breaks several rules of the grammar; the first one says enough.
            if lost.contains(&position.line) || left_out.contains(&position.line) {
                continue;
            }
            lost.extend(lines_lost_at(&lines, position.line));
            // What breaks before a line that was left out breaks because of that, such as a list
            // that is not closed.
            if left_out.first().is_none_or(|first| position.line > *first) {
                // The parser's own rendering would quote the line, which may hold a secret.
                self.mistake(Some(position), syntax_message(error.message(), text, span));
            }
        }
        lost
    }

    fn add_table(&mut self, prefix: &str, table: &DeTable<'_>, lines: &Lines<'_>) {
        for (name, value) in table {
            let position = lines.position(name.span().start);
            let key = join(prefix, name.get_ref());
            if let Some(inner) = value.get_ref().as_table().filter(|inner| !inner.is_empty()) {
                self.add_table(&key, inner, lines);
            } else {
                let origin = self.origin(Some(position));
                self.layer
                    .add(key, kind_of(value.get_ref(), &origin), &origin);
            }
        }
    }

    fn mistake(&mut self, position: Option<Position>, message: String) {
        self.mistakes.add(self.origin(position), message);
    }

    fn origin(&self, position: Option<Position>) -> Origin {
        Origin::File {
            path: self.path.clone(),
            position,
        }
    }
}

fn without_lines(text: &str, lost: &BTreeSet<usize>) -> String {
    let mut kept = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let is_lost = lost.contains(&(index + 1));
        kept.push_str(if is_lost { "\n" } else { line });
    }
    kept
}

/// The lines that nobody can tell the meaning of after a mistake of the grammar: this one, and if
/// it should have opened a section, all that should have been in the section.
fn lines_lost_at(lines: &Lines<'_>, line: usize) -> Range<usize> {
    let is_header = |text: &&str| text.trim_start().starts_with('[');
    let mut lines = lines.from(line).lines();
    let in_section = if lines.next().as_ref().is_some_and(is_header) {
        lines.take_while(|l| !is_header(l)).count()
    } else {
        0
    };
    line..line + 1 + in_section
}

fn syntax_message(message: &str, text: &str, span: Range<usize>) -> String {
    let is_value = text
        .get(..span.start)
        .is_some_and(|before| before.trim_end_matches([' ', '\t']).ends_with('='));
    match text.get(span) {
        // The span of this error is the key alone.
        Some(key) if message == "duplicate key" => format!("duplicate key {key}; keep one of them"),
        Some(value) if is_value && value.starts_with(char::is_alphabetic) => {
            "not valid TOML: a text must be in quotes".to_owned()
        }
        _ => format!("not valid TOML: {message}"),
    }
}

/// A name that needs quotes in TOML keeps them, so that `"nats.url"` is not taken for the key `url`
/// of `nats`.
fn join(prefix: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let name = if bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if prefix.is_empty() {
        name
    } else {
        format!("{prefix}.{name}")
    }
}

/// A date, which no key takes and the `config` crate does not know, is nil.
fn kind_of(value: &DeValue<'_>, origin: &Origin) -> ValueKind {
    match value {
        DeValue::String(text) => ValueKind::from(text.as_ref()),
        DeValue::Integer(number) => whole(number),
        DeValue::Float(number) => ValueKind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(truth) => ValueKind::Boolean(*truth),
        DeValue::Datetime(_) => ValueKind::Nil,
        DeValue::Array(items) => items
            .iter()
            .map(|item| origin.mark(kind_of(item.get_ref(), origin)))
            .collect::<Vec<_>>()
            .into(),
        DeValue::Table(_) => HashMap::<String, Value>::new().into(),
    }
}

/// All that a key takes has at most 64 bits; of what has more than 128 only so much is kept.
fn whole(number: &DeInteger<'_>) -> ValueKind {
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(number) => i64::try_from(number).map_or(ValueKind::I128(number), ValueKind::I64),
        Err(_) => ValueKind::I128(i128::MAX),
    }
}
