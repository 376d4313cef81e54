//! What a router starts from: what the store holds, or the last good snapshot from disk while the
//! store is away.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use beamline_actors::fail_points;
use beamline_actors::ports::{Store, StoreError};
use beamline_actors::registry::Registry;
use beamline_actors::tree::{Child, Node, NodeKind};
use beamline_domain::snapshot::Content;
use parking_lot::Mutex;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::start_error::StartError;
use crate::config::{Config, DatabaseConfig};
use crate::store;

/// With a copy on disk, a database that is away, locked or slow is not waited for longer than this.
const PATIENCE_WITH_COPY: Duration = Duration::from_secs(3);
const RETRY_EVERY: Duration = Duration::from_millis(500);
/// Once the router serves from its copy.
const RETRY_BEHIND_EVERY: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct FirstSnapshot {
    pub(super) content: Content,
    /// The store said so just now.
    pub(super) fresh: bool,
    /// What is still to be done behind a router that serves from its copy.
    pub(super) behind: Option<Behind>,
}

/// Migrates and reads the database that did not answer in time.
#[derive(Debug)]
pub(super) struct Behind {
    store: Arc<dyn Store>,
    config: DatabaseConfig,
    /// Under way since before the tree.
    begun: Mutex<Option<Reading>>,
}

/// Ends when it is dropped.
type Reading = AbortOnDropHandle<Result<Content, StoreError>>;

/// Why a reading has to be begun again.
#[derive(Debug, thiserror::Error)]
enum NotRead {
    #[error("the database cannot be migrated and read: {0}")]
    Failed(#[from] StoreError),
    #[error("the reading of the database was lost: {0}")]
    Lost(#[from] JoinError),
}

impl Behind {
    /// Its place in the tree.
    pub(super) fn child(self, registry: &Registry) -> Child {
        let behind = Arc::new(self);
        let registry = registry.clone();
        let node = Node::new("first_reading", NodeKind::Worker);
        Child::task_until_done(&node, move || Arc::clone(&behind).read(registry.clone()))
    }

    /// The registry may be asked again before the schema is what it has to be; this says when it
    /// is.
    async fn read(self: Arc<Self>, registry: Registry) -> Result<(), NotRead> {
        let begun = self.begun.lock().take();
        fail_points::reached("first_reading");
        match begun {
            Some(reading) => reading.await??,
            None => until_read(Arc::clone(&self.store), self.config.clone(), None).await?,
        };
        registry.reload();
        Ok(())
    }
}

pub(super) async fn load(
    store: &Arc<dyn Store>,
    config: &Config,
    copy: &Path,
) -> Result<FirstSnapshot, StartError> {
    let patience = config.database.startup_timeout;
    let read = |content| FirstSnapshot {
        content,
        fresh: true,
        behind: None,
    };
    let Some(content) = read_copy(copy) else {
        let reading = until_read(Arc::clone(store), config.database.clone(), Some(patience));
        return reading
            .await
            .map(read)
            .map_err(|error| not_started(config, &error));
    };
    let mut reading = AbortOnDropHandle::new(tokio::spawn(until_read(
        Arc::clone(store),
        config.database.clone(),
        None,
    )));
    let behind = |begun| Behind {
        store: Arc::clone(store),
        config: config.database.clone(),
        begun: Mutex::new(begun),
    };
    let (error, behind) = match timeout(patience.min(PATIENCE_WITH_COPY), &mut reading).await {
        Ok(Ok(Ok(content))) => return Ok(read(content)),
        // An operator may mend also what is no matter of waiting.
        Ok(Ok(Err(error))) => (error.to_string(), behind(None)),
        Ok(Err(lost)) => (lost.to_string(), behind(None)),
        // A migration is not broken off: it goes on behind.
        Err(_elapsed) => (
            "the database could not be read in time".to_owned(),
            behind(Some(reading)),
        ),
    };
    tracing::error!(
        error,
        revision = content.revision,
        "starting from the snapshot on disk"
    );
    Ok(FirstSnapshot {
        content,
        fresh: false,
        behind: Some(behind),
    })
}

/// Tries until it succeeds, fails for good, or a failure comes after `patience`.
async fn until_read(
    store: Arc<dyn Store>,
    config: DatabaseConfig,
    patience: Option<Duration>,
) -> Result<Content, StoreError> {
    let begun = Instant::now();
    loop {
        let error = match migrate_and_load(store.as_ref(), &config).await {
            Err(error @ (StoreError::Unavailable(_) | StoreError::Denied(_))) => error,
            done => return done,
        };
        if patience.is_some_and(|patience| begun.elapsed() + RETRY_EVERY > patience) {
            return Err(error);
        }
        if patience.is_some() || begun.elapsed() < PATIENCE_WITH_COPY {
            tracing::warn!(error = %error, "waiting for the database");
            sleep(RETRY_EVERY).await;
        } else {
            // That the store is away, the registry says by then.
            tracing::debug!(error = %error, "waiting for the database");
            sleep(RETRY_BEHIND_EVERY).await;
        }
    }
}

async fn migrate_and_load(
    store: &dyn Store,
    config: &DatabaseConfig,
) -> Result<Content, StoreError> {
    if config.migrate_on_start {
        for applied in store::migrate(config).await? {
            tracing::info!(
                version = applied.version,
                description = applied.description,
                "migrated the database"
            );
        }
    }
    let content = store.load().await?;
    // Without them replicas do not hear each other, and requests are served all the same.
    let fleet_keys = store.fleet_keys().await.unwrap_or_default();
    Ok(Content {
        fleet_keys,
        ..content
    })
}

fn read_copy(path: &Path) -> Option<Content> {
    let json = std::fs::read(path).ok()?;
    match serde_json::from_slice(&json) {
        Ok(content) => Some(content),
        Err(error) => {
            tracing::warn!(path = %path.display(), error = %error, "the snapshot on disk cannot be read");
            None
        }
    }
}

fn not_started(config: &Config, error: &StoreError) -> StartError {
    let url = config.database.redacted_url();
    if let StoreError::Denied(reason) = error {
        return StartError::Unreachable(format!(
            "The database at {url} refuses: {reason}; there is no snapshot on disk to start from."
        ));
    }
    if !matches!(error, StoreError::Unavailable(_)) {
        return StartError::Failed(format!("The registry cannot be read: {error}."));
    }
    StartError::Unreachable(format!(
        "{error}. Start the database at {url}, correct database.url, or wait longer with database.startup_timeout; there \
         is no snapshot on disk to start from."
    ))
}

#[cfg(test)]
mod tests {
    use beamline_actors::metrics::Metrics;
    use beamline_actors::registry::RegistrySettings;
    use beamline_actors::testing::{MemoryStore, content};
    use beamline_actors::tree::Root;
    use beamline_test_support::until;
    use tempfile::TempDir;

    use super::*;
    use crate::config::{Overrides, load_from};

    fn config() -> Config {
        let overrides = Overrides {
            set: vec![("database.migrate_on_start".into(), "false".into())],
            ..Overrides::default()
        };
        load_from(&overrides, []).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_cannot_be_read_is_read_again_behind_the_router() {
        let memory = MemoryStore::new(content(&[], &[]));
        memory.set_unreadable(true);
        let store = Arc::clone(&memory) as Arc<dyn Store>;
        let directory = TempDir::new().unwrap();
        let copy = directory.path().join("copy");
        let kept = serde_json::to_vec(&content(&[], &[])).unwrap();
        std::fs::write(&copy, kept).unwrap();
        let first = load(&store, &config(), &copy).await.unwrap();
        let settings = RegistrySettings {
            poll_interval: Duration::from_secs(5),
            disk_copy: None,
        };
        let served = Some((first.content, first.fresh));
        let registry = Registry::new(store, settings, Metrics::default(), served);
        let child = first.behind.expect("a reading behind").child(&registry);
        let node = Arc::clone(child.node());
        let _root = Root::start(Node::root(), vec![child], Metrics::default())
            .await
            .unwrap();
        until("it fails again and again", || node.view().restarts > 1).await;
        let said = node.view().last_exit.unwrap();
        assert!(said.contains("of another age"), "{said}");
        memory.set_unreadable(false);
        until("it has done its work", || {
            node.view().last_exit.as_deref() == Some("done")
        })
        .await;
    }
}
