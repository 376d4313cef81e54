//! Logging in, with what the files hold at that moment: a password that is replaced while a router
//! runs must not leave it outside at its next connection.

use std::path::Path;

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::spawn_blocking;

use crate::config::NatsConfig;

/// With what the configuration says; its files are read at each connection.
pub(super) fn options(nats: &NatsConfig) -> ConnectOptions {
    let nats = nats.clone();
    ConnectOptions::with_auth_callback(move |nonce| {
        let nats = nats.clone();
        async move {
            let reading = spawn_blocking(move || auth(&nats, &nonce));
            reading
                .await
                .map_err(AuthError::new)?
                .map_err(AuthError::new)
        }
    })
}

fn auth(nats: &NatsConfig, nonce: &[u8]) -> Result<Auth, String> {
    let mut auth = Auth::new();
    if let (Some(user), Some(password)) = (&nats.user, &nats.password) {
        auth.username = Some(user.clone());
        auth.password = Some(password.now()?.expose_secret().to_owned());
    }
    if let Some(token) = &nats.token {
        auth.token = Some(token.now()?.expose_secret().to_owned());
    }
    if let Some(file) = &nats.creds_file {
        let credentials = Credentials::read(file)?;
        auth.signature = Some(credentials.sign(nonce)?);
        auth.jwt = Some(credentials.jwt);
    }
    Ok(auth)
}

/// What a credentials file of `nsc` holds.
struct Credentials {
    jwt: String,
    seed: SecretString,
}

impl Credentials {
    fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            format!("nats.creds_file {} cannot be read: {error}", file.display())
        })?;
        let part = |name| block(&text, name).map(str::to_owned);
        match (part("JWT"), part("SEED")) {
            (Some(jwt), Some(seed)) => Ok(Self {
                jwt,
                seed: seed.into(),
            }),
            (None, _) | (_, None) => Err(format!(
                "nats.creds_file {} holds no JWT with its seed, as `nsc` writes them",
                file.display()
            )),
        }
    }

    fn sign(&self, nonce: &[u8]) -> Result<Vec<u8>, String> {
        let key = KeyPair::from_seed(self.seed.expose_secret());
        let signed = key.and_then(|key| key.sign(nonce));
        // The error does not repeat the seed.
        signed.map_err(|error| format!("the seed in nats.creds_file cannot sign: {error}"))
    }
}

/// The line below the one that begins a part, such as `-----BEGIN NATS USER JWT-----`.
fn block<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut lines = text.lines().map(str::trim);
    let begins =
        |line: &str| line.starts_with("---") && line.contains("BEGIN") && line.contains(name);
    lines.find(|line| begins(line))?;
    lines
        .find(|line| !line.is_empty())
        .filter(|line| !line.starts_with("---"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "-----BEGIN NATS USER JWT-----\r\neyJ.abc\r\n------END NATS USER JWT------\r\n\r\n\
        *** IMPORTANT ***\r\n-----BEGIN USER NKEY SEED-----\r\nSUAB\r\n------END USER NKEY SEED------\r\n";

    #[test]
    fn a_credentials_file_holds_two_parts() {
        assert_eq!(block(CREDENTIALS, "JWT"), Some("eyJ.abc"));
        assert_eq!(block(CREDENTIALS, "SEED"), Some("SUAB"));
        for none in [
            "",
            "-----BEGIN NATS USER JWT-----",
            "-----BEGIN NATS USER JWT-----\n------END",
        ] {
            assert_eq!(block(none, "JWT"), None, "{none}");
        }
    }
}
