//! Answers each JSON string on standard input with what is found in it, as `[kind, start, end]` in
//! characters; for the benchmark in `benches/pii`.

use std::io::{BufRead, Error, Write, stdin, stdout};

use beamline_reference_extensions::pii::Detector;

fn main() -> Result<(), Error> {
    let detector = Detector::default();
    let mut output = stdout().lock();
    for line in stdin().lock().lines() {
        let text: String = serde_json::from_str(&line?)?;
        let chars = |bytes: usize| text.get(..bytes).unwrap_or_default().chars().count();
        let finds: Vec<(&str, usize, usize)> = detector
            .find(&text)
            .into_iter()
            .map(|find| {
                (
                    find.kind.name(),
                    chars(find.range.start),
                    chars(find.range.end),
                )
            })
            .collect();
        writeln!(output, "{}", serde_json::to_string(&finds)?)?;
    }
    Ok(())
}
