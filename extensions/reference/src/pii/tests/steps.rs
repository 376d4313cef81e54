//! The time is linear in the length of a text, whatever is in it.

use super::super::steps::steps_of;
use super::*;

/// Texts that make careless scanners quadratic.
const HOSTILE: &[&str] = &[
    "(",
    "+",
    "0 ",
    "1",
    "1 ",
    "12 ",
    "a@",
    "@",
    "a@b.",
    "DE89 ",
    "DE89",
    "DE 89 ",
    "4111 ",
    "4111\n",
    "4111",
    "123-",
    "a.",
    "(1",
    "+1(",
    "1)",
    ")1(",
    "\u{a0}1",
    "00 1 ",
    "0171 ",
    "4\u{200b}1",
    "\\n1",
    "\\\\",
    "\\u0031",
    "tel ",
    "tel 1 ",
    "order card tel id 4155550132 ",
    "4155550132 ",
    "4929123412341234 ",
    "+49 30 123456 ",
    "x12 ",
    "{\"a\":",
    "[",
    "\"",
    "+1\n-1\n",
    "user@host.example:1 ",
    "://a:",
    "://a:b@c.de ",
    "٤",
];

#[test]
fn twice_the_text_takes_twice_the_steps() {
    let detector = Detector::default();
    for unit in HOSTILE {
        let once = unit.repeat(2_000);
        let twice = unit.repeat(4_000);
        let steps = |text: &str| {
            steps_of(|| {
                let _ = detector.find(text);
            })
        };
        let few = steps(&once);
        let many = steps(&twice);
        assert!(
            many <= few * 2 + few / 10 + 2_000,
            "{unit:?}: {few} steps, then {many}"
        );
        assert!(
            few <= once.len() * 80,
            "{unit:?}: {few} steps for {} bytes",
            once.len()
        );
    }
}

#[test]
fn masking_a_payload_is_linear_too() {
    let detector = Detector::default();
    let mask = |json: &str| {
        let _ = detector.mask_payload(json, |piece| Style::Label.replacement(piece));
    };
    for unit in HOSTILE {
        let payload = |count: usize| serde_json::json!([unit.repeat(count)]).to_string();
        let once = payload(1_000);
        let twice = payload(2_000);
        let few = steps_of(|| mask(&once));
        let many = steps_of(|| mask(&twice));
        assert!(
            many <= few * 2 + few / 10 + 2_000,
            "{unit:?}: {few} steps, then {many}"
        );
    }
}

/// JSON that is quoted again and again is looked into a few times only.
#[test]
fn nesting_has_an_end() {
    let mut json = serde_json::json!("tel 0171 2345678").to_string();
    for depth in 0..12 {
        let found = Detector::default().inspect_payload(&json, 1).counts;
        assert_eq!(found, Counts::from([(Kind::Phone, 1)]), "{depth}");
        json = serde_json::json!([json]).to_string();
    }
}
