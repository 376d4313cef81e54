//! What is found and, as important, what is not.

use proptest::prelude::*;

use super::*;

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

#[test]
fn cards() {
    let whole = [
        "4111111111111111",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111\u{a0}1111\u{a0}1111\u{a0}1111",
        "4222222222222",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "30569309025904",
        "3056 930902 5904",
        "3530111333300000",
        "6200000000000005",
        "6304000000000000",
    ];
    for card in whole {
        for text in [
            card.to_owned(),
            format!("card {card}."),
            format!("({card}),"),
            format!("no:{card};cvc"),
            format!("a,{card},b"),
        ] {
            assert_eq!(found(&text), [(Kind::Card, card)], "{text:?}");
        }
    }
    finds(
        Kind::Card,
        &[
            ("4111 1111 1111 1111 12/27 123", "4111 1111 1111 1111"),
            ("12 4111 1111 1111 1111", "4111 1111 1111 1111"),
            ("Karte „4111-1111-1111-1111“", "4111-1111-1111-1111"),
        ],
    );
}

#[test]
fn no_cards() {
    finds_nothing(&[
        "4111111111111112",
        "4111 1111 1111 1112",
        "1234567890123456",
        "0000000000000000",
        "order 9999999999999995",
        "411111111111",
        "41111111111111111111111111",
        "id4111111111111111",
        "4111111111111111f",
        "0.4111111111111111",
        "4111111111111111.25",
        "41 11 11 11 11 11 11 11",
        "4-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1",
        "1700000000000",
        "550e8400-e29b-41d4-a716-446655440000",
        "4111 1111 1111",
    ]);
}

#[test]
fn emails() {
    finds(
        Kind::Email,
        &[
            ("jane@example.com", "jane@example.com"),
            (
                "Write to <jane.doe+tag@mail.example.co.uk>!",
                "jane.doe+tag@mail.example.co.uk",
            ),
            ("mailto:j_d%x@example-1.org.", "j_d%x@example-1.org"),
            ("email='jane@example.com'", "jane@example.com"),
            ("jörg@münchen.de", "jörg@münchen.de"),
            ("a@xn--bcher-kva.example", "a@xn--bcher-kva.example"),
            ("...jane@example.com...", "jane@example.com"),
            (
                "4111111111111111@example.com",
                "4111111111111111@example.com",
            ),
            ("x@y@example.com", "y@example.com"),
        ],
    );
    assert_eq!(found("a@b.de,c@d.fr").len(), 2);
}

#[test]
fn no_emails() {
    finds_nothing(&[
        "@handle",
        "user@localhost",
        "user@",
        "@example.com",
        "a @ b.com",
        "react@18.2.0",
        "logo@2x.png",
        "jane.@example.com",
        "jane@-example.com",
        "jane@example..com",
        "jane@example.c",
        "@types/node",
        "5 apples @ 3.50",
    ]);
}

#[test]
fn phones() {
    let whole = [
        "+14155550132",
        "+1 415 555 0132",
        "+1 (415) 555-0132",
        "+1-415-555-0132",
        "+44 20 7946 0958",
        "+44 (0)20 7946 0958",
        "+49 30 123456",
        "+49 (30) 123456",
        "+33 1 23 45 67 89",
        "+33.1.23.45.67.89",
        "+91 98765 43210",
        "+8613812345678",
        "0049 30 123456",
        "(415) 555-0132",
        "(415)555-0132",
        "415-555-0132",
        "415.555.0132",
        "415 555 0132",
        "1-800-555-0199",
        "1 (800) 555-0199",
        "020 7946 0958",
        "(020) 7946 0958",
        "07700 900123",
        "0151 12345678",
        "030/1234567",
        "030-1234567",
        "01 23 45 67 89",
        "06.12.34.56.78",
    ];
    for phone in whole {
        for text in [
            phone.to_owned(),
            format!("call {phone}."),
            format!("tel:{phone}, or"),
            format!("\"{phone}\""),
        ] {
            assert_eq!(found(&text), [(Kind::Phone, phone)], "{text:?}");
        }
    }
}

#[test]
fn no_phones() {
    finds_nothing(&[
        // order, invoice and part numbers
        "order 20240012345",
        "order 2024-0012345",
        "invoice 123-4567890-1234567",
        "order #415-555-0132",
        "ORD-415-555-0132",
        "0012345678",
        "4155550132",
        "SKU 0123.456",
        "415-555-01321",
        "1415-555-0132",
        "415-555-0132-77",
        // dates and times
        "2024-01-02",
        "2024-01-02 03:04:05",
        "2024-01-02T03:04:05+01:00",
        "01.02.2024",
        "01.02.2024 10:30",
        "01/02/2024 1030",
        "01-02-24 1030",
        "20240102 030405",
        // money, measures, machine addresses, versions
        "1 234 567 890",
        "1,234,567,890.00",
        "192.168.100.200",
        "010.123.045.067",
        "1.20.300.4000",
        "0.123456789",
        "3.14159265358979",
        "-73.985130 40.758896",
        "5 + 12345678",
        "x+12345678901",
        "€0123 4567 890",
        // not a card, and not a phone either
        "4111 0123 4567 8902",
        "5500 0049 3012 3457",
        "+0123456789",
        "+1234567",
        "+1234567890123456",
    ]);
}

#[test]
fn ibans() {
    let whole = [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "de89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "GB82WEST12345698765432",
        "FR14 2004 1010 0505 0001 3M02 606",
        "NL91ABNA0417164300",
        "NO93 8601 1117 947",
        "CH93 0076 2011 6238 5295 7",
        "MT84MALT011000012345MTLCAST001S",
        "DE89-3704-0044-0532-0130-00",
    ];
    for iban in whole {
        for text in [
            iban.to_owned(),
            format!("IBAN: {iban}."),
            format!("({iban}) and more"),
            format!("pay {iban} now 5"),
        ] {
            assert_eq!(found(&text), [(Kind::Iban, iban)], "{text:?}");
        }
    }
}

#[test]
fn no_ibans() {
    finds_nothing(&[
        "DE88370400440532013000",
        "DE88 3704 0044 0532 0130 00",
        "DE8937040044053201300",
        "DE893704004405320130001",
        "XX89370400440532013000",
        "XDE89370400440532013000",
        "no12 of the best people",
        "it60 is a fine number for a house and so on",
    ]);
}

#[test]
fn social_security_numbers() {
    finds(
        Kind::Ssn,
        &[
            ("123-45-6789", "123-45-6789"),
            ("SSN 123 45 6789.", "123 45 6789"),
            ("ssn:899-99-9999,", "899-99-9999"),
            ("2024 123-45-6789", "123-45-6789"),
        ],
    );
    finds_nothing(&[
        "000-45-6789",
        "666-45-6789",
        "900-45-6789",
        "999-45-6789",
        "123-00-6789",
        "123-45-0000",
        "123456789",
        "123-456789",
        "123-45 6789",
        "123-45-67890",
        "1-123-45-6789",
        "123-45-6789-1",
        "a123-45-6789",
        "12 123 45 6789",
    ]);
}

#[test]
fn a_switched_off_kind_is_not_found_as_another() {
    let no_iban = Kinds {
        iban: false,
        ..Kinds::default()
    };
    assert_eq!(
        Detector::new(no_iban).find("DE89 3704 0044 0532 0130 00"),
        []
    );
    let no_card = Kinds {
        card: false,
        ..Kinds::default()
    };
    assert_eq!(Detector::new(no_card).find("4111 1111 1111 1111"), []);
    for kind in Kind::ALL {
        let all = Kinds::default();
        assert!(all.has(kind));
    }
}

#[test]
fn numbers_count_only_as_cards() {
    let inspect = |json| Detector::default().inspect_payload(json, 9).counts;
    assert_eq!(inspect("4111111111111111"), Counts::from([(Kind::Card, 1)]));
    assert_eq!(
        inspect("[4111111111111111, 14155550132, 123456789, 4111111111111112, -4111111111111111]")
            .len(),
        1
    );
    assert!(inspect("4111111111111111.0").is_empty());
}

#[test]
fn styles() {
    let text = "jane@example.com paid with 4111 1111 1111 1111, tel +1 415 555 0132";
    for (style, expected) in [
        (Style::Label, "[EMAIL] paid with [CARD], tel [PHONE]"),
        (
            Style::Partial,
            "****@******e.com paid with **** **** **** 1111, tel +* *** *** 0132",
        ),
        (
            Style::Stars,
            "**************** paid with *******************, tel ***************",
        ),
    ] {
        let (masked, counts) = mask_text(text, style).unwrap();
        assert_eq!(masked, expected);
        assert_eq!(
            counts,
            Counts::from([(Kind::Email, 1), (Kind::Card, 1), (Kind::Phone, 1)])
        );
    }
}

#[test]
fn masking_a_payload_leaves_the_rest_byte_for_byte() {
    let json = concat!(
        r#"{ "b":1.10, "a":["x\u0041", "jane@example.com", 4111111111111111 ], "#,
        r#""jane@example.com" : null}"#
    );
    let masked = mask_payload(json, Style::Label).unwrap();
    assert_eq!(
        masked.json,
        r#"{ "b":1.10, "a":["x\u0041", "[EMAIL]", "[CARD]" ], "jane@example.com" : null}"#
    );
    assert_eq!(
        masked.counts,
        Counts::from([(Kind::Email, 1), (Kind::Card, 1)])
    );
    assert_eq!(
        mask_payload(r#"{"a": "nothing to see"}"#, Style::Label),
        None
    );
}

#[test]
fn escapes_hide_nothing() {
    let json = r#""jane\u0040example.com \ud800 \u0034111111111111111""#;
    assert_eq!(
        Detector::default().inspect_payload(json, 1).counts,
        Counts::from([(Kind::Email, 1), (Kind::Card, 1)])
    );
}

/// Texts that make careless scanners quadratic. A run that takes minutes is the failure; no clock
/// is asked.
#[test]
fn hostile_texts_stay_cheap() {
    for unit in [
        "(", "+", "0 ", "1", "1 ", "a@", "@", "DE89 ", "4111 ", "123-", "a.", "(1", "+1(",
        "\u{a0}1", "00 1 ",
    ] {
        let text = unit.repeat(40_000);
        let _ = Detector::default().find(&text);
    }
}

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
        before in "[a-z ]{0,8}",
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
        key in any::<String>(),
        style in style(),
    ) {
        let value = serde_json::json!({ key: [text, 4_111_111_111_111_111_u64] });
        let masked = mask_payload(&value.to_string(), style).unwrap();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&masked.json).is_ok());
        prop_assert_eq!(mask_payload(&masked.json, style), None);
    }
}
