//! Makes logged text harmless: what comes from outside may hold escapes for a terminal, or line
//! breaks that fake a line.
//!
//! tracing-subscriber itself escapes some of them in the message, and none in fields that are
//! logged with `Display`.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use beamline_contract::escape::{self, OneLine};
use tracing::field::Field;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;

/// One field of a line for people.
pub(super) fn field(writer: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() != "message" {
        write!(writer, "{}=", field.name())?;
    }
    write!(Escaping(writer), "{value:?}")
}

struct Escaping<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write!(self.0, "{}", OneLine(text))
    }
}

/// Escapes in lines of JSON what JSON itself does not ask to escape. Strings are the only place
/// where that can stand.
pub(super) struct JsonLines<W> {
    inner: W,
}

impl<W> JsonLines<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for JsonLines<W> {
    type Writer = JsonLines<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonLines {
            inner: self.inner.make_writer(),
        }
    }
}

impl<W: Write> Write for JsonLines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    /// Called once for each line.
    fn write_all(&mut self, line: &[u8]) -> io::Result<()> {
        match std::str::from_utf8(line) {
            Ok(text) if !is_plain(line) => self.inner.write_all(escape_json(text).as_bytes()),
            Ok(_) | Err(_) => self.inner.write_all(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn is_plain(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b'\n' | b' '..=b'~'))
}

fn escape_json(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len() + 16);
    for c in line.chars() {
        if escape::is_unsafe(c) && c != '\n' {
            escaped.push_str(&escape::in_json(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}
