//! Text from outside made fit for a terminal, and small amounts written the way people read them.
//!
//! Ids, reasons and error messages come from other processes: an escape sequence in one of them
//! must never reach a terminal, where it could move the cursor, recolour the table or hide a line.

use std::time::Duration;

use beamline_contract::escape;

/// One line: every character that is not plainly visible becomes its escape (`\n`, `\u{1b}`).
pub(in crate::cli) fn plain(text: &str) -> String {
    escape::line(text)
}

/// One line, or a dash where nothing is known.
pub(in crate::cli) fn or_dash(text: Option<&str>) -> String {
    plain(text.filter(|text| !text.is_empty()).unwrap_or("-"))
}

/// Several lines: line breaks and tabs stay, everything else as in [`plain`].
pub(in crate::cli) fn plain_block(text: &str) -> String {
    escape::block(text)
}

/// At most `limit` characters of one line; the last one is `…` when something was cut.
pub(in crate::cli) fn shortened(text: &str, limit: usize) -> String {
    let text = plain(text);
    if text.chars().count() <= limit {
        return text;
    }
    text.chars()
        .take(limit.saturating_sub(1))
        .chain(['…'])
        .collect()
}

/// The two largest units: `3d 4h`, `2h 03m`, `5m 07s`, `8s`, `250ms`.
pub(in crate::cli) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let minutes = seconds / 60;
    let hours = minutes / 60;
    let days = hours / 24;
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m {:02}s", seconds % 60),
        () if seconds > 0 => format!("{seconds}s"),
        () => format!("{milliseconds}ms"),
    }
}

/// A latency with one digit after the point: `12.3 ms`, or seconds from one second on.
pub(in crate::cli) fn latency(milliseconds: f64) -> String {
    if milliseconds >= 1000.0 {
        format!("{:.2} s", milliseconds / 1000.0)
    } else {
        format!("{milliseconds:.1} ms")
    }
}

/// A limit that somebody typed, for a sentence: `5s`, `1m 30s`.
pub(in crate::cli) fn limit(limit: Duration) -> String {
    humantime::format_duration(limit).to_string()
}

/// A rate between 0 and 1 as a percentage with one digit after the point.
pub(in crate::cli) fn percentage(rate: f64) -> String {
    format!("{:.1}%", rate * 100.0)
}

/// `1 mistake`, `2 mistakes`.
pub(in crate::cli) fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// The lines of a text, broken between words, and inside those that are too long.
pub(in crate::cli) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        if let Some(last) = lines
            .last_mut()
            .filter(|last| last.chars().count() + 1 + rest.len() <= width)
        {
            last.push(' ');
            last.extend(rest);
            continue;
        }
        while rest.len() > width {
            let tail = rest.split_off(width);
            lines.push(rest.into_iter().collect());
            rest = tail;
        }
        lines.push(rest.into_iter().collect());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_line_breaks_become_visible() {
        assert_eq!(
            plain("a\u{1b}[31mred\r\nb\u{9b}c\u{202e}d"),
            "a\\u{1b}[31mred\\r\\nb\\u{9b}c\\u{202e}d"
        );
        assert_eq!(plain("Grüße, 世界"), "Grüße, 世界");
    }

    #[test]
    fn a_block_keeps_its_lines() {
        assert_eq!(
            plain_block("one\r\ntwo\n\tthree\u{7}"),
            "one\ntwo\n\tthree\\u{7}"
        );
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        assert_eq!(shortened("abcdef", 6), "abcdef");
        assert_eq!(shortened("abcdefg", 6), "abcde…");
    }

    #[test]
    fn durations_show_two_units() {
        let shown: Vec<_> = [0, 250, 8_000, 307_000, 7_380_000, 273_600_000]
            .into_iter()
            .map(duration)
            .collect();
        assert_eq!(shown, ["0ms", "250ms", "8s", "5m 07s", "2h 03m", "3d 4h"]);
    }

    #[test]
    fn latencies_change_to_seconds() {
        assert_eq!(latency(12.34), "12.3 ms");
        assert_eq!(latency(1234.0), "1.23 s");
    }
}
