//! The few fields of a body that the door goes by, found without reading the rest: texts are passed
//! over in steps, what is nested is only counted, and nothing is kept or copied.
//!
//! It does not check the body. What is wrong with that is found when the request is parsed; until
//! then it only has to be clear whose it is.

/// Values of the outermost object, as they are written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Glance<'a> {
    pub(super) tenant_id: Option<&'a [u8]>,
    pub(super) timeout_ms: Option<&'a [u8]>,
    pub(super) context: Option<&'a [u8]>,
}

/// The longest of the names, were each of its letters escaped, and its quotes.
const LONGEST_NAME: usize = 6 * "timeout_ms".len() + 2;

impl<'a> Glance<'a> {
    /// Empty where the body is no object, ends too early, or has one of the fields twice.
    pub(super) fn at(body: &'a [u8]) -> Self {
        let mut glance = Self::default();
        match glance.read(body) {
            Some(()) => glance,
            None => Self::default(),
        }
    }

    fn read(&mut self, body: &'a [u8]) -> Option<()> {
        let mut members = members(body)?;
        while let Some((key, value)) = members.next_member()? {
            let field = match &*name(key)? {
                b"tenant_id" => &mut self.tenant_id,
                b"timeout_ms" => &mut self.timeout_ms,
                b"context" => &mut self.context,
                _ => continue,
            };
            if field.replace(value).is_some() {
                return None;
            }
        }
        Some(())
    }

    /// The value of one key of an object; `None` when there is none, or two.
    pub(super) fn member(object: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
        let mut members = members(object)?;
        let mut found = None;
        while let Some((key, value)) = members.next_member()? {
            if *name(key)? == *wanted.as_bytes() && found.replace(value).is_some() {
                return None;
            }
        }
        found
    }
}

/// What is left of an object.
struct Members<'a>(&'a [u8]);

fn members(object: &[u8]) -> Option<Members<'_>> {
    let object = trimmed(object).strip_prefix(b"{")?;
    Some(Members(trimmed(object)))
}

impl<'a> Members<'a> {
    /// The next key, in its quotes, and its value; `None` inside at the end of the object, outside
    /// where it is broken.
    #[expect(clippy::option_option, reason = "the end of an object is no mistake")]
    fn next_member(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        if self.0.starts_with(b"}") {
            return Some(None);
        }
        let key = self.take(text_end(self.0)?)?;
        self.0 = trimmed(trimmed(self.0).strip_prefix(b":")?);
        let value = self.take(value_end(self.0)?)?;
        self.0 = trimmed(self.0);
        match self.0.strip_prefix(b",") {
            Some(rest) => self.0 = trimmed(rest),
            None if self.0.starts_with(b"}") => {}
            None => return None,
        }
        Some(Some((key, value)))
    }

    fn take(&mut self, end: usize) -> Option<&'a [u8]> {
        let taken = self.0.get(..end)?;
        self.0 = self.0.get(end..)?;
        Some(taken)
    }
}

/// A key without its quotes, its escapes resolved; what is too long for any of the names stays as
/// it is.
fn name(key: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    if key.len() <= LONGEST_NAME && key.contains(&b'\\') {
        let text: String = serde_json::from_slice(key).ok()?;
        return Some(text.into_bytes().into());
    }
    Some(key.get(1..key.len().checked_sub(1)?)?.into())
}

fn trimmed(json: &[u8]) -> &[u8] {
    let start = json.iter().position(|byte| !is_space(*byte));
    start
        .and_then(|start| json.get(start..))
        .unwrap_or_default()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where the value ends that these bytes begin with.
fn value_end(json: &[u8]) -> Option<usize> {
    match json.first()? {
        b'"' => text_end(json),
        b'{' | b'[' => nested_end(json),
        _ => json
            .iter()
            .position(|byte| is_space(*byte) || matches!(byte, b',' | b'}' | b']'))
            .filter(|end| *end > 0),
    }
}

/// However deep it is, it is only counted.
fn nested_end(json: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = 0;
    loop {
        let rest = json.get(at..)?;
        let step = rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'{' | b'[' | b'}' | b']'))?;
        let rest = rest.get(step..)?;
        at += step;
        match rest.first()? {
            b'"' => at += text_end(rest)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            _ => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
    }
}

/// So many bytes of a text are looked at in one step.
const STEP: usize = 32;

/// Where the text ends, quote included, that these bytes begin with.
fn text_end(json: &[u8]) -> Option<usize> {
    json.strip_prefix(b"\"")?;
    let mut at = 1;
    loop {
        let rest = json.get(at..)?;
        let (steps, _) = rest.as_chunks::<STEP>();
        // Without an early end inside a step, so that the compiler makes one comparison of it.
        let plain = steps.iter().take_while(|step| {
            !step
                .iter()
                .fold(false, |found, byte| found | is_mark(*byte))
        });
        at += plain.count() * STEP;
        at += json.get(at..)?.iter().position(|byte| is_mark(*byte))?;
        match json.get(at)? {
            b'"' => return Some(at + 1),
            // Whatever it escapes is no end.
            _ => at += 2,
        }
    }
}

fn is_mark(byte: u8) -> bool {
    byte == b'"' || byte == b'\\'
}

#[cfg(test)]
mod tests;
