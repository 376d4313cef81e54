//! What holds for all texts.

use proptest::prelude::*;

use super::*;

fn luhn_digit(digits: &str) -> char {
    (b'0'..=b'9')
        .map(char::from)
        .find(|digit| luhn_valid(&format!("{digits}{digit}")))
        .unwrap()
}

/// Written from the standard's words, not from the code under test.
fn luhn_valid(number: &str) -> bool {
    let digits: Vec<u32> = number
        .chars()
        .rev()
        .filter_map(|c| c.to_digit(10))
        .collect();
    let odd: u32 = digits.iter().step_by(2).sum();
    let even: u32 = digits
        .iter()
        .skip(1)
        .step_by(2)
        .map(|d| (d * 2) / 10 + (d * 2) % 10)
        .sum();
    (odd + even).is_multiple_of(10)
}

fn card() -> impl Strategy<Value = String> {
    let issuers = prop_oneof![
        Just(("4", 16)),
        Just(("51", 16)),
        Just(("2221", 16)),
        Just(("34", 15)),
        Just(("6011", 16))
    ];
    (
        issuers,
        "[0-9]{15}",
        prop_oneof![Just(""), Just(" "), Just("-")],
    )
        .prop_map(|((prefix, length), random, separator)| {
            let digits = format!("{prefix}{random}")[..length - 1].to_owned();
            let digits = format!("{digits}{}", luhn_digit(&digits));
            let groups: &[usize] = if length == 15 { &[4, 10] } else { &[4, 8, 12] };
            let mut grouped = digits.clone();
            for at in groups.iter().rev() {
                grouped.insert_str(*at, separator);
            }
            grouped
        })
}

fn iban() -> impl Strategy<Value = String> {
    let accounts = prop_oneof![
        "[0-9]{18}".prop_map(|account| ("DE", account)),
        "[A-Z]{4}[0-9]{14}".prop_map(|account| ("GB", account)),
        "[A-Z]{4}[0-9]{10}".prop_map(|account| ("NL", account)),
        "[0-9]{11}".prop_map(|account| ("NO", account)),
    ];
    (accounts, any::<bool>()).prop_map(|((country, account), spaced)| {
        let iban = with_check_digits(country, &account);
        let groups: Vec<&str> = iban
            .as_bytes()
            .chunks(4)
            .filter_map(|group| std::str::from_utf8(group).ok())
            .collect();
        if spaced { groups.join(" ") } else { iban }
    })
}

/// Text made of the pieces that detectors look at, which random characters rarely give.
fn tricky_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        card(),
        iban(),
        "[0-9]{1,6}",
        "[ +().@/#*_-]{1,2}",
        "[a-z]{1,4}",
        Just("jane@example.com".to_owned()),
        Just("+1 415 555 0132".to_owned()),
        Just("020 7946 0958".to_owned()),
        Just("123-45-6789".to_owned()),
        Just("DE89".to_owned()),
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn style() -> impl Strategy<Value = Style> {
    prop_oneof![Just(Style::Label), Just(Style::Partial), Just(Style::Stars)]
}

proptest! {
    #[test]
    fn valid_cards_are_always_found(
        card in card(),
        before in prop::sample::select(vec!["", "pay ", "with card ", "mit", "и ", "卡号"]),
        after in "[.,;!] ?[a-z ]{0,8}",
    ) {
        let text = format!("{before} {card}{after}");
        prop_assert_eq!(found(&text), [(Kind::Card, card.as_str())]);
    }

    #[test]
    fn valid_ibans_are_always_found(iban in iban(), after in "[.,;!] ?[a-z ]{0,8}") {
        let text = format!("to {iban}{after}");
        prop_assert_eq!(found(&text), [(Kind::Iban, iban.as_str())]);
    }

    #[test]
    fn random_text_never_panics(text in any::<String>()) {
        let _ = Detector::default().find(&text);
    }

    #[test]
    fn finds_are_ordered_and_apart(text in tricky_text()) {
        let finds = Detector::default().find(&text);
        prop_assert!(finds.is_sorted_by(|a, b| a.range.end <= b.range.start));
        for find in finds {
            prop_assert!(text.get(find.range).is_some());
        }
    }

    #[test]
    fn masked_text_has_no_finds(text in tricky_text(), style in style()) {
        if let Some((masked, _)) = mask_text(&text, style) {
            prop_assert_eq!(found(&masked), []);
            prop_assert_eq!(mask_text(&masked, style), None);
        }
    }

    #[test]
    fn masking_a_payload_keeps_it_json(
        text in tricky_text(),
        key in "[x-z\"\\\\]{0,4}",
        style in style(),
    ) {
        let value = serde_json::json!({ key: [text, 4_111_111_111_111_111_u64] });
        let masked = mask_payload(&value.to_string(), style).unwrap();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&masked.json).is_ok());
        prop_assert_eq!(mask_payload(&masked.json, style), None);
    }

    #[test]
    fn valid_json_stays_valid_json(
        value in json_value(),
        quoted in 0..3_usize,
        style in style(),
    ) {
        let value = serde_json::json!([value]);
        let mut json = value.to_string();
        for _ in 0..quoted {
            json = serde_json::Value::String(json).to_string();
        }
        let Some(masked) = mask_payload(&json, style) else {
            return Ok(());
        };
        let mut inner = masked.json;
        for _ in 0..quoted {
            inner = serde_json::from_str::<String>(&inner).unwrap();
        }
        let after: serde_json::Value = serde_json::from_str(&inner).unwrap();
        prop_assert!(same_keys(&value, &after), "{value} became {after}");
    }

    #[test]
    fn no_six_digits_of_a_card_are_left(
        card in card(),
        separator in prop::sample::select(vec!["", " ", "-", ".", "/", "  ", "\n"]),
        before in prop::sample::select(vec!["", "card ", "卡号", "\"", "a,"]),
        style in style(),
    ) {
        let plain: String = card.chars().filter(char::is_ascii_digit).collect();
        let at = plain.len() - 4;
        let written = format!("{}{separator}{}", &plain[..at], &plain[at..]);
        let written = if separator.is_empty() || separator == "\n" { plain.clone() } else { written };
        let text = format!("card: {before}{written}");
        let (masked, _) = mask_text(&text, style).unwrap();
        let left: String = masked.chars().filter(char::is_ascii_digit).collect();
        prop_assert!(left.len() < 6, "{masked}");
    }
}

/// Documents with personal data in strings, numbers and keys.
fn json_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        tricky_text().prop_map(serde_json::Value::from),
        Just(serde_json::json!(4_111_111_111_111_111_u64)),
        any::<f64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            prop::collection::hash_map(tricky_text(), inner, 0..4)
                .prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
}

fn same_keys(before: &serde_json::Value, after: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            before.len() == after.len()
                && before
                    .iter()
                    .all(|(key, value)| after.get(key).is_some_and(|after| same_keys(value, after)))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len()
                && before
                    .iter()
                    .zip(after)
                    .all(|(before, after)| same_keys(before, after))
        }
        _ => true,
    }
}
