//! Signatures of requests (contract section 5): who can read the bus learns nothing that opens it.

use std::fmt;

use beamline_contract::admin::CONFIGURED;
use beamline_domain::keys::KeyParts;
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use super::material::{NoRandomness, random, signing_key};

/// What a signature is made of.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'r> {
    pub subject: &'r str,
    /// RFC 3339.
    pub date: &'r str,
    pub nonce: &'r str,
    pub body: &'r [u8],
}

impl Signed<'_> {
    fn text(&self) -> String {
        let Self {
            subject,
            date,
            nonce,
            body,
        } = self;
        let body = HEXLOWER.encode(&Sha256::digest(body));
        format!("{subject}\n{date}\n{nonce}\n{body}")
    }
}

/// Bytes of a nonce.
const NONCE_BYTES: usize = 16;

/// 128 random bits, for one request.
pub fn nonce() -> Result<String, NoRandomness> {
    Ok(BASE64URL_NOPAD.encode(&random::<NONCE_BYTES>()?))
}

/// Whether it has the form of [`nonce()`].
pub fn is_nonce(text: &str) -> bool {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    bytes.is_ok_and(|bytes| bytes.len() == NONCE_BYTES)
}

/// Signs with a key.
pub struct Signer {
    id: String,
    key: SigningKey,
}

impl Signer {
    /// A key that is no `blr_` key can only be that of the router's configuration.
    pub fn new(key: &str) -> Self {
        Self {
            id: KeyParts::of(key)
                .map_or(CONFIGURED, |parts| parts.id)
                .to_owned(),
            key: signing_key(key),
        }
    }

    /// The header `Authorization` of a request.
    pub fn authorization(&self, signed: &Signed<'_>) -> String {
        let signature = self.key.sign(signed.text().as_bytes());
        let signature = BASE64URL_NOPAD.encode(&signature.to_bytes());
        format!("Beamline-Key {}:{signature}", self.id)
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Signer({})", self.id)
    }
}

/// `public_key` is in hexadecimal, `signature` in base64url.
pub fn is_signature(public_key: &str, signed: &Signed<'_>, signature: &str) -> bool {
    let key = HEXLOWER.decode(public_key.as_bytes()).ok();
    let key = key.and_then(|bytes| VerifyingKey::try_from(bytes.as_slice()).ok());
    let signature = BASE64URL_NOPAD.decode(signature.as_bytes()).ok();
    let signature = signature.and_then(|bytes| Signature::from_slice(&bytes).ok());
    match (key, signature) {
        // Strict: a weak key or a second form of a signature is none.
        (Some(key), Some(signature)) => key
            .verify_strict(signed.text().as_bytes(), &signature)
            .is_ok(),
        _ => false,
    }
}
