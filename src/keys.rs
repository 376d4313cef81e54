//! What is secret in a key: how it is made, how it is known again, and what it signs. The same for
//! the router, which knows hashes and public keys, and for the command line, which has the key.

use beamline_domain::keys::{ID_LENGTH, written};
use data_encoding::BASE32_DNSSEC;
use secrecy::SecretString;

mod fleet;
mod material;
mod signature;

use material::random;

pub use fleet::{FleetSigned, fleet_key};
pub use material::{NoRandomness, hash, is_same, public_key};
pub use signature::{Signed, Signer, is_nonce, is_signature, nonce};

/// A key just made, and what the store keeps of it.
#[derive(Debug)]
pub struct NewKey {
    pub id: String,
    /// Shown once.
    pub key: SecretString,
    pub hash: String,
    /// Of a key of the administration.
    pub public_key: Option<String>,
}

/// Bytes of a secret; more than anybody can try.
const SECRET_BYTES: usize = 32;
/// Bytes that become an id.
const ID_BYTES: usize = ID_LENGTH * 5 / 8;

const EDGE_START: &str = "sk-bl-";
const EDGE_LENGTH: usize = 22;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A password that every program and every address takes as it is: small letters and digits, a
/// letter first.
pub fn new_password() -> Result<SecretString, NoRandomness> {
    let secret = BASE32_DNSSEC.encode(&random::<SECRET_BYTES>()?);
    Ok(format!("p{secret}").into())
}

impl NewKey {
    /// For the administration; `environment` tells people where it belongs.
    pub fn admin(environment: &str) -> Result<Self, NoRandomness> {
        let id = new_id()?;
        let secret = BASE32_DNSSEC.encode(&random::<SECRET_BYTES>()?);
        let key = written(environment, &id, &secret);
        Ok(Self {
            hash: hash(&key),
            public_key: Some(public_key(&key)),
            key: key.into(),
            id,
        })
    }

    pub fn edge() -> Result<Self, NoRandomness> {
        let mut key = EDGE_START.to_owned();
        while key.len() < EDGE_START.len() + EDGE_LENGTH {
            let random = random::<EDGE_LENGTH>()?;
            // A byte above the last whole round would make some characters likelier than others.
            let letters = random.iter().filter(|byte| **byte < 62 * 4);
            let letters = letters.filter_map(|byte| BASE62.get(usize::from(byte % 62)));
            let missing = EDGE_START.len() + EDGE_LENGTH - key.len();
            key.extend(letters.take(missing).map(|letter| char::from(*letter)));
        }
        Ok(Self {
            id: new_id()?,
            hash: hash(&key),
            public_key: None,
            key: key.into(),
        })
    }
}

fn new_id() -> Result<String, NoRandomness> {
    Ok(BASE32_DNSSEC.encode(&random::<ID_BYTES>()?))
}

#[cfg(test)]
mod tests;
