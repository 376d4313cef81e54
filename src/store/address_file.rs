//! The file of `database.url_file`: a password may be replaced in it while the router runs, so it
//! is read again whenever a connection fails.

use std::mem::discriminant;
use std::sync::Arc;

use parking_lot::Mutex;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::spawn_blocking;

use super::backend::Backend;
use super::error::OpenError;
use crate::config::DatabaseConfig;

/// And what was last read from it.
#[derive(Debug, Clone)]
pub(super) struct AddressFile {
    config: Arc<DatabaseConfig>,
    last: Arc<Mutex<SecretString>>,
}

impl AddressFile {
    pub(super) fn new(config: &DatabaseConfig) -> Self {
        Self {
            config: Arc::new(config.clone()),
            last: Arc::new(Mutex::new(config.url.clone())),
        }
    }

    /// For somebody else, who has heard of no change yet.
    pub(super) fn afresh(&self) -> Self {
        Self::new(&self.config)
    }

    /// How to connect now, if that is not how it was. A file that says something else than an
    /// address of the same database changes nothing.
    pub(super) async fn changed(&self) -> Option<Backend> {
        self.config.url_file.as_ref()?;
        let url = read(&self.config).await?;
        if url.expose_secret() == self.last.lock().expose_secret() {
            return None;
        }
        let before = Backend::new(&self.config).ok()?;
        let now = Backend::of(url.expose_secret());
        let now = now
            .ok()
            .filter(|now| discriminant(&now.kind) == discriminant(&before.kind));
        if now.is_some() {
            tracing::info!("database.url_file holds another address: connecting with that");
        } else {
            tracing::warn!(
                "database.url_file holds an address of another kind of database; start again to use that"
            );
        }
        *self.last.lock() = url;
        now
    }
}

/// For who connects but once.
pub(super) async fn backend_now(config: &DatabaseConfig) -> Result<Backend, OpenError> {
    let now = match &config.url_file {
        Some(_) => read(config).await,
        None => None,
    };
    match now {
        Some(url) => Backend::of(url.expose_secret()),
        None => Backend::new(config),
    }
}

/// A file that cannot be read just now, or holds half an address, is read again the next time.
async fn read(config: &DatabaseConfig) -> Option<SecretString> {
    let config = config.clone();
    match spawn_blocking(move || config.url_now()).await.ok()? {
        Ok(url) => Some(url),
        Err(problem) => {
            tracing::warn!(problem, "going on with the last address of the database");
            None
        }
    }
}
