use std::collections::HashSet;

use beamline_domain::keys::KeyParts;
use secrecy::ExposeSecret;

use super::*;

const SIGNED: Signed<'_> = Signed {
    subject: "beamline.router.v1.admin.put_policy",
    date: "2026-01-31T12:00:00Z",
    nonce: "AAAAAAAAAAAAAAAAAAAAAA",
    body: b"{}",
};

#[test]
fn every_key_is_another_one_and_its_id_stands_in_it() {
    let mut seen = HashSet::new();
    for _ in 0..100 {
        let new = NewKey::admin("a_b").unwrap();
        let key = new.key.expose_secret();
        let parts = KeyParts::of(key).unwrap();
        assert!(key.starts_with("blr_a_b_"), "{key}");
        assert_eq!((parts.id, parts.id.len()), (new.id.as_str(), ID_LENGTH));
        assert_eq!(new.hash, hash(key));
        assert_eq!(new.public_key, Some(public_key(key)));
        assert!(seen.insert(key.to_owned()) && seen.insert(new.id.clone()));
    }
}

#[test]
fn a_key_of_the_edge_reads_as_clients_expect_it() {
    let letters: HashSet<char> = (0..50)
        .flat_map(|_| {
            let new = NewKey::edge().unwrap();
            let key = new.key.expose_secret().to_owned();
            let random = key.strip_prefix("sk-bl-").expect("its start").to_owned();
            assert!(random.len() == 22 && random.chars().all(|c| c.is_ascii_alphanumeric()));
            assert_eq!((new.hash, new.public_key), (hash(&key), None));
            random.chars().collect::<Vec<_>>()
        })
        .collect();
    assert!(letters.len() > 55, "all letters come up: {letters:?}");
}

/// Worked out by other code than ours, for whoever writes a client in another language: these hold
/// for all versions.
#[test]
fn a_signature_follows_from_key_and_request() {
    let key = "blr_dev_abcd0123_0123456789abcdefghijklmnopqrstuv0123456789abcdefghij";
    assert_eq!(
        hash(key),
        "4201640425b5d691111b164a8f08ee406db2c0dd42ae1413ee3c19cb5641f71a"
    );
    assert_eq!(
        public_key(key),
        "b86695640775415c84f2f855f9fc8441e6b436644e6d0de01d3962607187a6e3"
    );
    assert_eq!(
        Signer::new(key).authorization(&SIGNED),
        "Beamline-Key abcd0123:I-EJ4spdumpLSSzn8LFyYKrgI_5tVgtYqmPfZ7o-dR83qAZaBTrBXslZWCoi8DKuwixPQpYW6R7bnBLY6Sk0AQ"
    );
}

#[test]
fn a_signature_holds_for_nothing_but_what_was_signed() {
    let new = NewKey::admin("dev").unwrap();
    let public = new.public_key.unwrap();
    let authorization = Signer::new(new.key.expose_secret()).authorization(&SIGNED);
    let start = format!("Beamline-Key {}:", new.id);
    let signature = authorization.strip_prefix(&start).expect("its id");
    assert!(is_signature(&public, &SIGNED, signature));
    let others = [
        Signed {
            subject: "beamline.router.v1.admin.delete_policy",
            ..SIGNED
        },
        Signed {
            date: "2026-01-31T12:00:01Z",
            ..SIGNED
        },
        Signed {
            nonce: "AAAAAAAAAAAAAAAAAAAAAQ",
            ..SIGNED
        },
        Signed {
            body: b"{} ",
            ..SIGNED
        },
    ];
    for other in others {
        assert!(!is_signature(&public, &other, signature), "{other:?}");
    }
    let other_key = NewKey::admin("dev").unwrap().public_key.unwrap();
    assert!(!is_signature(&other_key, &SIGNED, signature));
    for nonsense in ["", "AAAA", &"A".repeat(86), "ä"] {
        assert!(!is_signature(&public, &SIGNED, nonsense), "{nonsense}");
        assert!(!is_signature(nonsense, &SIGNED, signature), "{nonsense}");
    }
}

#[test]
fn a_nonce_has_128_bits() {
    let one = nonce().unwrap();
    assert!(is_nonce(&one) && one != nonce().unwrap());
    for other in ["", "AAAA", "AAAAAAAAAAAAAAAAAAAAAA==", &"A".repeat(23)] {
        assert!(!is_nonce(other), "{other}");
    }
}

#[test]
fn a_key_that_somebody_thought_up_is_that_of_the_configuration() {
    let authorization = Signer::new("a-key-of-enough-length").authorization(&SIGNED);
    let signature = authorization
        .strip_prefix("Beamline-Key config:")
        .expect("the id");
    assert!(is_signature(
        &public_key("a-key-of-enough-length"),
        &SIGNED,
        signature
    ));
}
