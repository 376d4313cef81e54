//! What is found and, as important, what is not.

use super::*;

mod forms;
mod payloads;
mod properties;
mod scripts;
mod steps;
mod words;

fn found(text: &str) -> Vec<(Kind, &str)> {
    Detector::default()
        .find(text)
        .into_iter()
        .map(|find| (find.kind, &text[find.range]))
        .collect()
}

fn mask_text(text: &str, style: Style) -> Option<(String, Counts)> {
    Detector::default().mask_text(text, |piece| style.replacement(piece))
}

fn mask_payload(json: &str, style: Style) -> Option<Masked> {
    Detector::default().mask_payload(json, |piece| style.replacement(piece))
}

/// The two check digits of ISO 7064 that make an IBAN of a country and an account.
fn with_check_digits(country: &str, account: &str) -> String {
    let digits = format!("{account}{country}00");
    let rest = digits
        .chars()
        .filter_map(|c| c.to_digit(36))
        .fold(0, |rest, value| {
            (rest * if value < 10 { 10 } else { 100 } + value) % 97
        });
    format!("{country}{:02}{account}", 98 - rest)
}

#[track_caller]
fn finds(kind: Kind, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(found(text), [(kind, *expected)], "{text:?}");
    }
}

#[track_caller]
fn finds_nothing(cases: &[&str]) {
    for text in cases {
        assert_eq!(found(text), [], "{text:?}");
    }
}
