//! Measures how long a text of one megabyte takes, whatever is in it, and whether twice the text
//! takes twice as long; for the benchmark in `benches/pii`.

use std::io::{Error, Write, stdout};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use beamline_reference_extensions::pii::{Detector, Style};

const SIZE: usize = 1 << 20;
const ROUNDS: usize = 5;

fn main() -> Result<(), Error> {
    let mut output = stdout().lock();
    writeln!(
        output,
        "{:36} {:>8} {:>8} {:>7}",
        "text of 1 MB", "guard ms", "mask ms", "double"
    )?;
    let mut slowest = Duration::ZERO;
    let mut payloads: Vec<(String, String, String)> = units()
        .into_iter()
        .map(|(name, unit)| (name, payload(&unit, SIZE), payload(&unit, 2 * SIZE)))
        .collect();
    payloads.push(("JSON in JSON".to_owned(), nested(SIZE), nested(2 * SIZE)));
    // An argument measures only the texts whose name holds it.
    let wanted = std::env::args().nth(1).unwrap_or_default();
    payloads.retain(|(name, _, _)| name.contains(&wanted));
    for (name, json, double) in payloads {
        let guard = fastest(|| Detector::default().inspect_payload(&json, 20).counts.len());
        let mask = fastest(|| {
            let masked =
                Detector::default().mask_payload(&json, |piece| Style::Label.replacement(piece));
            masked.map_or(0, |masked| masked.json.len())
        });
        let twice = fastest(|| {
            Detector::default()
                .inspect_payload(&double, 20)
                .counts
                .len()
        });
        slowest = slowest.max(guard).max(mask);
        let ratio = twice.as_secs_f64() / guard.as_secs_f64();
        writeln!(
            output,
            "{name:36} {:8.1} {:8.1} {ratio:7.2}",
            millis(guard),
            millis(mask)
        )?;
    }
    writeln!(output, "slowest: {:.1} ms", millis(slowest))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// A JSON string of about this many bytes.
fn payload(unit: &str, size: usize) -> String {
    let text = unit.repeat(size / unit.len() + 1);
    serde_json::Value::String(text).to_string()
}

/// JSON that is a string in JSON, and so on.
fn nested(size: usize) -> String {
    let unit = "tel 0171 2345678, jane@example.com, and some words that are nobody's. ";
    let mut json = payload(unit, size);
    for _ in 0..4 {
        json = serde_json::json!([json]).to_string();
    }
    json
}

fn fastest(work: impl Fn() -> usize) -> Duration {
    let times = (0..ROUNDS).map(|_| {
        let began = now();
        std::hint::black_box(work());
        now().saturating_sub(began)
    });
    times.min().unwrap_or_default()
}

/// The time that this thread has computed, where the system tells it: a machine that others use as
/// well measures the same then. Else the time of day.
fn now() -> Duration {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let computed = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    computed.map_or_else(|| BEGAN.elapsed(), Duration::from_nanos)
}

/// Ordinary texts, and ones that make careless scanners slow.
fn units() -> Vec<(String, String)> {
    let prose =
        "The quick brown fox jumps over 13 lazy dogs on 2024-01-02 at 10:30, and pays 12.50 EUR. ";
    let plain = [
        prose,
        "我的卡号是4111111111111111谢谢，电话13812345678。",
        "jane@example.com, +1 415 555 0132; 4111 1111 1111 1111\n",
        "tel 0171 2345678 ",
        "4111111111111111 ",
        "4111 1111 1111 1111 ",
        "DE89370400440532013000 ",
        "DE89 3704 0044 0532 0130 00\n",
        "+49 30 123456 ",
        "+4930123456,",
        "(415) 555-0132 ",
        "123-45-6789 ",
        "4929 ",
        "4111",
        "1",
        "1 ",
        "12 ",
        "0 ",
        "0171 ",
        "1234567890123456789012345678901234567890 ",
        "+1",
        "+1(",
        "(",
        "(1",
        "1)",
        ")1(",
        "a@",
        "@",
        "a@b.de",
        "a.",
        "a@b.",
        "DE89",
        "DE89 ",
        "D1",
        "DE 89 ",
        "\u{a0}1",
        "٤١١١ ",
        "４１１１ ",
        "4\u{200b}1",
        "\\n1",
        "\\u0031",
        "\\\\",
        "\"",
        "tel ",
        "order card tel id 4155550132 ",
        "call 4155550132 ",
        "00 1 ",
        "0049 30 ",
        "1.",
        "1-",
        "1/",
        "01.02.",
        "[1,",
        "{\"a\":",
        "{\"phone\": 4155550132}, ",
        "x12 ",
        "u64 = 12 ",
        "@@ -1,2 +1\n",
        "+1\n-1\n",
    ];
    let mut units: Vec<(String, String)> = plain
        .map(|unit| (format!("{unit:?}"), unit.to_owned()))
        .into();
    for (name, unit) in &mut units {
        if name.chars().count() > 36 {
            *name = name.chars().take(36).collect();
        }
        if unit.is_empty() {
            unit.push(' ');
        }
    }
    units
}
