//! Hashes, public keys and random numbers.

use beamline_domain::keys::KeyParts;
use data_encoding::HEXLOWER;
use ed25519_dalek::SigningKey;
use hkdf::Hkdf;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The operating system gives no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gives no random numbers: {0}")]
pub struct NoRandomness(getrandom::Error);

/// Says what the derived bytes are for, so that a secret may serve for other things too.
const SEED: &[u8] = b"beamline-router key v1: ed25519 seed";
const SEED_BYTES: usize = 32;

/// SHA-256 of a whole key, in hexadecimal.
pub fn hash(key: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(key.as_bytes()))
}

/// Compared in constant time, so that the answer's delay tells nothing.
pub fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Of a key that is no `blr_` key, as somebody may have written it into a configuration, the whole
/// text is the secret.
pub fn public_key(key: &str) -> String {
    HEXLOWER.encode(signing_key(key).verifying_key().as_bytes())
}

pub(super) fn signing_key(key: &str) -> SigningKey {
    let secret = KeyParts::of(key).map_or(key, |parts| parts.secret);
    let mut seed = [0; SEED_BYTES];
    // It fails for more than 255 times as many bytes only.
    let _enough = Hkdf::<Sha256>::new(None, secret.as_bytes()).expand(SEED, &mut seed);
    SigningKey::from_bytes(&seed)
}

pub(super) fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(NoRandomness)?;
    Ok(bytes)
}
