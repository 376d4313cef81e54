//! JSON as a text: whether it is any, how deep it goes, and how a value is called and shown in a
//! sentence.

use beamline_contract::escape;
use beamline_contract::mistake::Mistake;
use serde_json::value::RawValue;

use super::pointer;
use crate::position::Position;

/// What is wrong with a text that is no JSON, and where.
pub fn check_json(json: &str) -> Result<(), (Mistake, Position)> {
    let mistake = |message| Mistake {
        pointer: String::new(),
        message,
    };
    if let Err(problem) = check_depth(json.as_bytes()) {
        return Err((mistake(problem), Position { line: 1, column: 1 }));
    }
    serde_json::from_str::<&RawValue>(json)
        .map(drop)
        .map_err(|error| {
            let text = match json.chars().find(|c| !c.is_ascii_whitespace()) {
                None => "it is empty".to_owned(),
                Some('\u{feff}') => {
                    "it starts with a byte order mark; save it without one".to_owned()
                }
                Some(_) => error.to_string(),
            };
            // The position is said beside it, in characters.
            let what = text
                .rsplit_once(" at line ")
                .map_or(text.as_str(), |(what, _)| what);
            (
                mistake(format!("is not valid JSON: {what}")),
                pointer::position_of_error(json, &error),
            )
        })
}

/// The deepest nesting that is read, as in serde_json itself.
pub const MAX_DEPTH: usize = 128;

/// Refuses JSON nested deeper than [`MAX_DEPTH`] in one pass without recursion: raw values are
/// skipped over by the parser without a limit, so it must be asked here.
pub fn check_depth(json: &[u8]) -> Result<(), String> {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in json {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => depth += 1,
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(format!("is nested deeper than {MAX_DEPTH} levels"));
        }
    }
    Ok(())
}

/// What a value is, in words for a person.
pub fn kind_of(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// A value for a message: at most 64 characters, on one line.
pub fn shorten(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(64) else {
        return escape::line(text);
    };
    let start = text.get(..end).unwrap_or_default();
    escape::line(start) + "..."
}
