//! JSON payloads, what is masked in them, and how.

use super::*;

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

#[test]
fn arguments_of_tool_calls_stay_json() {
    let arguments = r#"{"card": 4111111111111111, "note": "Ruf an:\n0171 2345678", "n": 1.50}"#;
    let payload = serde_json::json!({"function": {"name": "pay", "arguments": arguments}});
    for style in [Style::Label, Style::Partial, Style::Stars] {
        let masked = mask_payload(&payload.to_string(), style).unwrap();
        assert_eq!(
            masked.counts,
            Counts::from([(Kind::Card, 1), (Kind::Phone, 1)])
        );
        let outer: serde_json::Value = serde_json::from_str(&masked.json).unwrap();
        let inner = outer["function"]["arguments"].as_str().unwrap();
        let values: serde_json::Value = serde_json::from_str(inner).unwrap();
        assert!(values["card"].is_string(), "{inner}");
        assert!(inner.ends_with(r#""n": 1.50}"#), "{inner}");
    }
    let masked = mask_payload(&payload.to_string(), Style::Label).unwrap();
    let outer: serde_json::Value = serde_json::from_str(&masked.json).unwrap();
    assert_eq!(
        outer["function"]["arguments"],
        r#"{"card": "[CARD]", "note": "Ruf an:\n[PHONE]", "n": 1.50}"#
    );
}

#[test]
fn json_among_text_stays_json() {
    for (text, expected) in [
        (
            "```json\n{\"card\": 4111111111111111}\n```",
            "```json\n{\"card\": \"[CARD]\"}\n```",
        ),
        (
            r#"args: {\"card\": 4111111111111111, \"n\": 1}"#,
            r#"args: {\"card\": \"[CARD]\", \"n\": 1}"#,
        ),
        (
            r#"card "x": 4111111111111111 and"#,
            r#"card "x": [CARD] and"#,
        ),
    ] {
        assert_eq!(mask_text(text, Style::Label).unwrap().0, expected);
    }
    let partial = mask_text(r"card:\n4111 1111 1111\n1111", Style::Partial).unwrap();
    assert_eq!(partial.0, r"card:\n**** **** ****\n1111");
}

#[test]
fn keys_speak_and_are_left_as_they_are() {
    for (json, expected) in [
        (r#"{"phone": "4155550132"}"#, r#"{"phone": "[PHONE]"}"#),
        (r#"{"phone": 4155550132}"#, r#"{"phone": "[PHONE]"}"#),
        (
            r#"{"mobiles": ["13812345678"]}"#,
            r#"{"mobiles": ["[PHONE]"]}"#,
        ),
        (r#"{"ssn": 123456789}"#, r#"{"ssn": "[SSN]"}"#),
        (
            r#"{"0171 2345678": "4111 1111 1111 1111"}"#,
            r#"{"0171 2345678": "[CARD]"}"#,
        ),
    ] {
        assert_eq!(
            mask_payload(json, Style::Label).unwrap().json,
            expected,
            "{json}"
        );
    }
    for json in [
        r#"{"order_id": "4155550132", "id": 4111111111111111, "user_id": "4111111111111111"}"#,
        r#"{"jane@example.com": 1, "4111111111111111": true}"#,
        r#"{"count": 4155550132}"#,
    ] {
        assert_eq!(mask_payload(json, Style::Label), None, "{json}");
    }
}

#[test]
fn each_piece_can_be_kept_for_later() {
    let mut kept = Vec::new();
    let masked = Detector::default().mask_payload(
        r#"{"text": "jane@example.com, 4111 1111 1111 1111"}"#,
        |piece| {
            kept.push((piece.kind, piece.original.to_owned(), piece.range.clone()));
            format!("[{}_{}]", piece.kind.name(), kept.len())
        },
    );
    assert_eq!(masked.unwrap().json, r#"{"text": "[email_1], [card_2]"}"#);
    assert_eq!(
        kept,
        [
            (Kind::Email, "jane@example.com".to_owned(), 0..16),
            (Kind::Card, "4111 1111 1111 1111".to_owned(), 18..37),
        ]
    );
}
