//! Logging in, with what the files hold at that moment: a password that is replaced while a process
//! runs must not leave it outside at its next connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_nats::{Auth, AuthError, ConnectOptions};
use nkeys::KeyPair;
use tokio::task::spawn_blocking;

/// How to log in. With nothing in it, nobody logs in.
#[derive(Clone, Default)]
pub struct Login {
    pub user: Option<String>,
    pub password: Option<Held>,
    pub token: Option<Held>,
    /// JWT and key as written by `nsc`.
    pub creds_file: Option<PathBuf>,
}

/// A secret as it is when somebody asks, or why there is none. May block for as long as a file
/// takes.
pub type Held = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

impl Login {
    /// A secret that stays as it is.
    pub fn held(secret: String) -> Held {
        Arc::new(move || Ok(secret.clone()))
    }

    /// Options that log in with what the files hold at each connection.
    pub fn options(self) -> ConnectOptions {
        ConnectOptions::with_auth_callback(move |nonce| {
            let login = self.clone();
            async move {
                let reading = spawn_blocking(move || login.auth(&nonce));
                let auth = reading.await.map_err(AuthError::new)?;
                auth.map_err(AuthError::new)
            }
        })
    }

    fn auth(&self, nonce: &[u8]) -> Result<Auth, String> {
        let now = |held: &Option<Held>| held.as_ref().map(|held| held()).transpose();
        let mut auth = Auth::new();
        auth.username = self.user.clone();
        auth.password = now(&self.password)?;
        auth.token = now(&self.token)?;
        if let Some(file) = &self.creds_file {
            let credentials = Credentials::read(file)?;
            auth.signature = Some(credentials.sign(nonce)?);
            auth.jwt = Some(credentials.jwt);
        }
        Ok(auth)
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("creds_file", &self.creds_file)
            .finish_non_exhaustive()
    }
}

/// What a credentials file of `nsc` holds.
struct Credentials {
    jwt: String,
    seed: String,
}

impl Credentials {
    fn read(file: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            format!(
                "the credentials file {} cannot be read: {error}",
                file.display()
            )
        })?;
        let part = |name| block(&text, name).map(str::to_owned);
        match (part("JWT"), part("SEED")) {
            (Some(jwt), Some(seed)) => Ok(Self { jwt, seed }),
            (None, _) | (_, None) => Err(format!(
                "the credentials file {} holds no JWT with its seed, as `nsc` writes them",
                file.display()
            )),
        }
    }

    fn sign(&self, nonce: &[u8]) -> Result<Vec<u8>, String> {
        let key = KeyPair::from_seed(&self.seed);
        let signed = key.and_then(|key| key.sign(nonce));
        // The error does not repeat the seed.
        signed.map_err(|error| format!("the seed in the credentials file cannot sign: {error}"))
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
