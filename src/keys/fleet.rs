//! Signatures of what replicas say to each other (docs/control.md): with a secret that they share,
//! so that nobody else on the bus is heard as one of them.

use beamline_domain::fleet::FleetKey;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::material::{NoRandomness, random};

/// What a signature is made of: everything that somebody could want to be different.
#[derive(Debug, Clone, Copy)]
pub struct FleetSigned<'m> {
    pub subject: &'m str,
    /// Where the answer is to go; empty where none is wanted.
    pub reply: &'m str,
    /// The name of the question that it answers; empty where it answers none.
    pub question: &'m str,
    /// The id of the key.
    pub key: &'m str,
    /// Who sends it.
    pub replica: &'m str,
    /// Milliseconds since 1970.
    pub sent_at: u64,
    /// Rises with each message of the replica.
    pub sequence: u64,
    pub body: &'m [u8],
}

/// Says what a signature is for, so that one of something else is none here.
const PURPOSE: &str = "beamline-router fleet v1";
const SECRET_BYTES: usize = 32;
const ID_BYTES: usize = 8;

impl FleetSigned<'_> {
    /// By the secret of a key, in base64url; `None` when that is none.
    pub fn signature(&self, secret: &str) -> Option<String> {
        let code = self.code(secret)?.finalize().into_bytes();
        Some(BASE64URL_NOPAD.encode(&code))
    }

    /// Compared in constant time.
    pub fn is_signed(&self, secret: &str, signature: &str) -> bool {
        let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok();
        match (self.code(secret), signature) {
            (Some(code), Some(signature)) => code.verify_slice(&signature).is_ok(),
            _ => false,
        }
    }

    fn code(&self, secret: &str) -> Option<Hmac<Sha256>> {
        let secret = HEXLOWER.decode(secret.as_bytes()).ok();
        let secret = secret.filter(|secret| secret.len() == SECRET_BYTES)?;
        let mut code = Hmac::<Sha256>::new_from_slice(&secret).ok()?;
        code.update(self.text().as_bytes());
        Some(code)
    }

    fn text(&self) -> String {
        let Self {
            subject,
            reply,
            question,
            key,
            replica,
            sent_at,
            sequence,
            body,
        } = self;
        let body = HEXLOWER.encode(&Sha256::digest(body));
        format!(
            "{PURPOSE}\n{subject}\n{reply}\n{question}\n{key}\n{replica}\n{sent_at}\n{sequence}\n{body}"
        )
    }
}

/// The key of this number.
pub fn fleet_key(number: u64, created_at: u64) -> Result<FleetKey, NoRandomness> {
    Ok(FleetKey {
        id: HEXLOWER.encode(&random::<ID_BYTES>()?),
        number,
        secret: HEXLOWER.encode(&random::<SECRET_BYTES>()?),
        created_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    /// That of docs/control.md.
    const EXAMPLE: FleetSigned<'static> = FleetSigned {
        subject: "beamline.router.v1.control.breakers",
        reply: "_INBOX.beamline_router.x",
        question: "",
        key: "5f3a9c01d2e4b687",
        replica: "9f1c03ab77e2",
        sent_at: 1_769_860_800_000,
        sequence: 17,
        body: b"{}",
    };

    #[test]
    fn the_example_of_the_documentation_is_signed_like_that() {
        let signature = EXAMPLE.signature(SECRET).unwrap();
        let page = include_str!("../../docs/control.md");
        assert!(page.contains(&format!(";{signature}")), "{signature}");
        assert!(EXAMPLE.is_signed(SECRET, &signature));
    }

    #[test]
    fn a_signature_is_for_everything_as_it_is() {
        let signature = EXAMPLE.signature(SECRET).unwrap();
        let other = [
            FleetSigned {
                subject: "beamline.router.v1.control.breaker",
                ..EXAMPLE
            },
            FleetSigned {
                reply: "_INBOX.beamline_router.y",
                ..EXAMPLE
            },
            FleetSigned {
                question: "9f1c03ab77e2:16",
                ..EXAMPLE
            },
            FleetSigned {
                key: "another",
                ..EXAMPLE
            },
            FleetSigned {
                replica: "another",
                ..EXAMPLE
            },
            FleetSigned {
                sent_at: 1_769_860_800_001,
                ..EXAMPLE
            },
            FleetSigned {
                sequence: 18,
                ..EXAMPLE
            },
            FleetSigned {
                body: b"",
                ..EXAMPLE
            },
        ];
        for message in other {
            assert!(!message.is_signed(SECRET, &signature), "{message:?}");
        }
        for odd in ["", "!", "AAAA", &signature[1..], &format!("{signature}A")] {
            assert!(!EXAMPLE.is_signed(SECRET, odd), "{odd}");
        }
    }

    #[test]
    fn a_secret_of_another_length_signs_nothing() {
        let long = format!("{SECRET}00");
        for secret in ["", "00", "no hexadecimal", long.as_str()] {
            assert_eq!(EXAMPLE.signature(secret), None, "{secret}");
            assert!(!EXAMPLE.is_signed(secret, ""), "{secret}");
        }
    }

    #[test]
    fn a_new_key_signs() {
        let key = fleet_key(3, 1_000).unwrap();
        assert_eq!((key.number, key.created_at), (3, 1_000));
        assert!(EXAMPLE.signature(&key.secret).is_some());
        assert_ne!(key, fleet_key(3, 1_000).unwrap());
    }
}
