//! A database of its own for each test, gone when the test is, also after a panic. It uses nothing
//! of this crate, so that tests of the whole router include this file as it is.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// Where tests find a Postgres in which they may create databases.
const SERVER: &str = "BEAMLINE_TEST_POSTGRES_URL";
const DEFAULT_SERVER: &str = "postgres://postgres@127.0.0.1:5432/postgres";
const LIMIT: Duration = Duration::from_secs(10);

/// An empty database; migrating it is up to the test.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    url: String,
    place: Place,
}

#[derive(Debug)]
enum Place {
    Postgres { name: String },
    Sqlite { directory: tempfile::TempDir },
}

impl TestDatabase {
    pub(crate) async fn postgres() -> Self {
        let name = format!(
            "beamline_test_{}_{:016x}",
            std::process::id(),
            fastrand::u64(..)
        );
        execute(format!("CREATE DATABASE {name}")).await;
        let mut url = server().to_url_lossy();
        url.set_path(&name);
        // Options that sqlx writes and the configuration does not know.
        url.set_query(None);
        Self {
            url: url.to_string(),
            place: Place::Postgres { name },
        }
    }

    #[expect(clippy::unused_async, reason = "made the same way as the other one")]
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory for the database");
        let url = format!("sqlite://{}/state/registry.db", directory.path().display());
        Self {
            url,
            place: Place::Sqlite { directory },
        }
    }

    /// For `database.url`.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres { .. })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        match &self.place {
            Place::Sqlite { directory } => drop(std::fs::remove_dir_all(directory.path())),
            Place::Postgres { name } => {
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                // A test may be in the middle of its own runtime, so this needs another one.
                let dropping = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build();
                    runtime
                        .expect("a runtime to clean up in")
                        .block_on(execute(sql));
                });
                if dropping.join().is_err() && !std::thread::panicking() {
                    panic!("a test database was left behind");
                }
            }
        }
    }
}

/// Runs one statement on the server.
async fn execute(sql: String) {
    let work = async {
        let mut connection = PgConnection::connect_with(&server()).await?;
        connection.execute(AssertSqlSafe(sql)).await?;
        connection.close().await
    };
    let outcome = tokio::time::timeout(LIMIT, work)
        .await
        .expect("Postgres answers in time");
    outcome.unwrap_or_else(|error| {
        panic!("these tests need a Postgres; name one in {SERVER}: {error}")
    });
}

fn server() -> PgConnectOptions {
    let url = std::env::var(SERVER).unwrap_or_else(|_| DEFAULT_SERVER.to_owned());
    url.parse()
        .expect("BEAMLINE_TEST_POSTGRES_URL is an address")
}
