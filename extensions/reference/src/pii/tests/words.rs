//! Where form does not decide: words before a number, and what only looks like personal data.

use super::*;

#[test]
fn national_forms_of_many_regions() {
    for phone in [
        // With trunk prefix.
        "020 7946 0958",
        "07700900123",
        "0171/2345678",
        "0171 234 56 78",
        "(0171) 2345678",
        "030 - 1234567",
        "089/12 34 56 78",
        "01 23 45 67 89",
        "01-23-45-67-89",
        "0612345678",
        "0 532 123 45 67",
        "8 (912) 345-67-89",
        "8-800-555-35-35",
        "090-1234-5678",
        "03-1234-5678",
        "010-1234-5678",
        "0812 3456 789",
        "044 668 18 00",
        "06 30 123 4567",
        "050-123-4567",
        "0032 2 555 12 12",
        // Without.
        "612 345 678",
        "612 34 56 78",
        "912 345 678",
        "600-123-456",
        "22 123 45 67",
        "347 123 4567",
        "(11) 98765-4321",
        "11 98765-4321",
        "138 1234 5678",
        "138-1234-5678",
        "98765 43210",
        "55 1234 5678",
        "12 34 56 78",
        "412 34 567",
        "(415) 555-0132",
        "415.555.2671",
        "555-123-4567",
    ] {
        for text in [
            phone.to_owned(),
            format!("({phone})."),
            format!("\"{phone}\""),
        ] {
            let finds = found(&text);
            assert_eq!(finds.len(), 1, "{text:?}: {finds:?}");
            assert_eq!(finds[0].0, Kind::Phone, "{text:?}");
        }
    }
}

#[test]
fn a_word_makes_a_phone_number() {
    finds(
        Kind::Phone,
        &[
            ("call me: 4155550132", "4155550132"),
            ("Tel. 6123 4567", "6123 4567"),
            ("手机 13812345678", "13812345678"),
            ("msisdn=4915112345678", "4915112345678"),
            ("tel:+1-415-555-0132;ext=12", "+1-415-555-0132"),
            ("(415) 555-0132 x1234", "(415) 555-0132 x1234"),
            ("415-555-0132 ext. 12", "415-555-0132 ext. 12"),
            ("+15551234567", "+15551234567"),
            ("10:30:00 0171 2345678 rang", "0171 2345678"),
        ],
    );
    finds(
        Kind::Ssn,
        &[
            ("SSN 123456789", "123456789"),
            ("ssn=123456789;", "123456789"),
        ],
    );
}

#[test]
fn no_phones_in_what_is_dated_timed_or_placed() {
    finds_nothing(&[
        "03.2019 - 05.2021",
        "03/2019 - 05/2021",
        "03.2019–05.2021",
        "2019 - 2021",
        "2019-2021",
        "2019/03 - 2021/05",
        "tel 03.2019 - 05.2021",
        "01.01.2020 - 31.12.2021",
        "08:00 - 17:00",
        "08.00 - 17.00 Uhr",
        "0800-1700",
        "0800 - 1700",
        "09.00-12.30, 13.30-18.00",
        "Mo-Fr 09:00-18:00",
        "52.520008, 13.404954",
        "52.520008 13.404954",
        "-33.868820 151.209290",
        "[13.4049540, 52.5200080]",
        "48°51'24.1\"N 2°21'3\"E",
        "1.234.567,89 EUR",
        "612 345 678 EUR",
        "$ 612 345 678",
        "612 345 678 km",
        "x = 612 345 678 bytes",
    ]);
}

#[test]
fn no_phones_in_orders_and_code() {
    finds_nothing(&[
        "Bestellnummer 0171 2345678",
        "order 415-555-0132",
        "order number: 07700900123",
        "Kundennummer 0844996908",
        "Número de cliente 0844996908",
        "invoice 2024-0012345",
        "order_id=07700900123",
        "{\"orderId\": \"07700900123\"}",
        "ticket 612 345 678",
        "123-4567890-1234567",
        "EAN 4006381333931",
        "0012345678905",
        "/items/0301234567",
        "?id=4155550132",
        "SKU 0123.456",
        "@@ -12,7 +13,9 @@\n-4915112345678\n+4915112345679\n",
        "--- a/x\n+++ b/x\n+4930123456",
        "-12345678\n+12345678901",
        "0123456..1234567 100644",
        "94103-1234",
        "8080 9090",
        "1024 2048",
        "1732800000",
        "1732800000123",
        "192.168.100.200",
        "v10.20.300.4000",
        "0755 0644",
        "let id: u64 = 9876543210;",
        "00001230: 4155 5501 3200",
    ]);
}

#[test]
fn no_emails_in_code() {
    finds_nothing(&[
        "git@github.com:org/repo.git",
        "git clone git@github.com:org/repo.git",
        "ssh deploy@build.example.com",
        "deploy@build.example.com:/srv/app",
        "user@host.example.com:~/file",
        "postgres://app:secret@db.example.com:5432/app",
        "https://user:secret@example.com/path",
        "Message-ID: <123.45@mail.example.com>",
        "@app.route('/x')",
        "a@b.transpose()",
        "weights @ other.data",
        "x@y.com()",
        "actions/checkout@v4.1.0",
        "@types/node@20.1.0",
        "registry/app@sha256:0123",
        "getty@tty1.service",
        "logo@2x.png",
    ]);
    finds(
        Kind::Email,
        &[
            ("mailto:jane@example.com", "jane@example.com"),
            (
                "https://example.com/?to=jane@example.com",
                "jane@example.com",
            ),
            ("git config user.email jane@example.com", "jane@example.com"),
            ("jane@example.com: hello", "jane@example.com"),
        ],
    );
}

#[test]
fn identifiers_are_no_cards() {
    finds_nothing(&[
        "order 4111111111111111",
        "tracking number 4111111111111111",
        "user_id=4111111111111111",
        "{\"request_id\": \"4111111111111111\"}",
        "let id: u64 = 4111111111111111;",
        "serial 4111-1111-1111-1111",
        "4111111111111111, 4111111111111112, 4111111111111113",
        "EAN 4006381333931",
    ]);
    finds(
        Kind::Card,
        &[
            (
                "the card for order 12: 4111111111111111",
                "4111111111111111",
            ),
            ("order 77, card 4111111111111111", "4111111111111111"),
            (
                "user_id=9938838133699990 card=4111111111111111",
                "4111111111111111",
            ),
            ("6304000000000000 (cvc 123)", "6304000000000000"),
        ],
    );
}

/// Random identifiers of sixteen digits, as they come with their names and in lists.
#[test]
fn random_identifiers() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut number = || random.u64(1_000_000_000_000_000..10_000_000_000_000_000);
    let mut named = 0;
    let mut listed = 0;
    for _ in 0..1000 {
        named += found(&format!("order_id: {}", number())).len();
        listed += found(&format!("[{}, {}, {}]", number(), number(), number())).len();
    }
    assert_eq!(named, 0);
    assert!(listed <= 10, "{listed} of 3000");
}
