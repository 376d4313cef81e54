//! The TOML file as a layer: flat keys with the line and the column of each.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::layers::{Layers, Origin, Raw, SECTION};

/// More than any configuration needs; it keeps `--config /dev/zero` from filling the memory.
const MAX_BYTES: u64 = 1024 * 1024;
const EVERYBODY_READS: u32 = 0o004;

pub(super) fn read(path: &Path, layers: &mut Layers) {
    let place = path.display().to_string();
    let whole = Origin::File {
        path: place.clone(),
        position: None,
    };
    let content = match read_limited(path, MAX_BYTES) {
        Ok(content) => content,
        Err(error) => return layers.mistake(whole, None, format!("cannot be read: {error}")),
    };
    if content.world_readable {
        layers.world_readable_file = Some(path.to_owned());
    }
    match String::from_utf8(content.bytes) {
        Ok(text) => read_text(&place, &text, layers),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let start = String::from_utf8_lossy(error.as_bytes().get(..valid).unwrap_or_default())
                .into_owned();
            let origin = Origin::File {
                path: place,
                position: Some(position(&start, valid)),
            };
            layers.mistake(
                origin,
                None,
                "this is not valid UTF-8; save the file as UTF-8".to_owned(),
            );
        }
    }
}

pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Everybody on this machine can read the file.
    pub(super) world_readable: bool,
}

/// Whether everybody on this machine can read the file, which is an error if not even the router can.
pub(super) fn is_world_readable(path: &Path) -> io::Result<bool> {
    let metadata = File::open(path)?.metadata()?;
    if metadata.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Ok(everybody_reads(&metadata))
    }
}

pub(super) fn read_limited(path: &Path, max_bytes: u64) -> io::Result<Content> {
    let file = File::open(path)?;
    let world_readable = everybody_reads(&file.metadata()?);
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {max_bytes} bytes"),
        ));
    }
    Ok(Content {
        bytes,
        world_readable,
    })
}

fn everybody_reads(metadata: &Metadata) -> bool {
    metadata.permissions().mode() & EVERYBODY_READS != 0
}

fn read_text(path: &str, text: &str, layers: &mut Layers) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken_lines = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let at = position(text, span.start);
        // One slip often breaks several rules of the grammar; the first one says enough. The parser's own rendering
        // would quote the line, which may hold a secret.
        if !broken_lines.contains(&at.0) {
            let origin = Origin::File {
                path: path.to_owned(),
                position: Some(at),
            };
            layers.mistake(origin, None, syntax_message(error.message(), text, span));
            broken_lines.extend(lines_lost_at(text, at.0));
        }
    }
    let mut walk = Walk {
        path,
        text,
        broken_lines,
        layers,
    };
    walk.table("", table.get_ref());
}

/// The lines that nobody can tell the meaning of after a mistake of the grammar: this one, and if it should have opened a
/// section, all that should have been in the section.
fn lines_lost_at(text: &str, line: usize) -> Range<usize> {
    let is_header = |text: &&str| text.trim_start().starts_with('[');
    let mut lines = text.lines().skip(line - 1);
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

struct Walk<'a> {
    path: &'a str,
    text: &'a str,
    /// What the parser made of a line that it could not read is a guess, and not worth a second mistake.
    broken_lines: Vec<usize>,
    layers: &'a mut Layers,
}

impl Walk<'_> {
    fn table(&mut self, prefix: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let at = position(self.text, name.span().start);
            let key = join(prefix, name.get_ref());
            if let Some(inner) = value.get_ref().as_table().filter(|inner| !inner.is_empty()) {
                self.table(&key, inner);
            } else if !self.broken_lines.contains(&at.0) {
                let origin = Origin::File {
                    path: self.path.to_owned(),
                    position: Some(at),
                };
                self.layers.add(key, raw(value.get_ref()), origin);
            }
        }
    }
}

/// A name that needs quotes in TOML keeps them, so that `"nats.url"` is not taken for the key `url` of `nats`.
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

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => Raw::Integer(number.to_string()),
        DeValue::Boolean(truth) => Raw::Boolean(*truth),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("a fraction"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other(SECTION),
    }
}

/// Line and column of a byte, both counted from one, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    (line, column)
}
