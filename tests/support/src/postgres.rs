//! A database of the test's own on the PostgreSQL server that all tests share.

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use super::{LIMIT, eventually};

const SERVER: &str = "BEAMLINE_TEST_POSTGRES_URL";
const USUAL_SERVER: &str = "postgres://postgres@127.0.0.1:5432/postgres";

#[derive(Debug)]
pub struct PostgresDatabase {
    server: PgConnectOptions,
    name: String,
}

impl PostgresDatabase {
    pub async fn create() -> Self {
        let url = std::env::var(SERVER).unwrap_or_else(|_| USUAL_SERVER.to_owned());
        let server: PgConnectOptions = url.parse().expect("an address of a PostgreSQL server");
        let name = format!("beamline_test_{:016x}", fastrand::u64(..));
        // Made first, so that the database is dropped whatever happens from here on.
        let database = Self { server, name };
        administer(&database.server, format!("CREATE DATABASE {}", database.name)).await.unwrap_or_else(|error| {
            panic!("no database can be made: {error}. Start PostgreSQL, name one in {SERVER}, or use `make test`.")
        });
        database
    }

    /// The address for the router.
    pub fn url(&self) -> String {
        self.server
            .clone()
            .database(&self.name)
            .to_url_lossy()
            .to_string()
    }

    /// The same database behind a proxy.
    pub fn url_through(&self, port: u16) -> String {
        let options = self
            .server
            .clone()
            .database(&self.name)
            .host("127.0.0.1")
            .port(port);
        options.to_url_lossy().to_string()
    }

    /// For a proxy.
    pub fn address(&self) -> String {
        format!("{}:{}", self.server.get_host(), self.server.get_port())
    }

    /// A connection past the router, to look and to meddle.
    pub async fn connect(&self) -> PgConnection {
        self.server
            .clone()
            .database(&self.name)
            .connect()
            .await
            .expect("the database answers")
    }

    /// From now on every change of the registry takes so long to commit.
    pub async fn slow_commits(&self, seconds: f64) {
        let sql = format!(
            "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; \
             END $$; CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON extension_audit_log DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION dawdle()"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut self.connect().await)
            .await
            .expect("a trigger");
    }

    /// Returns when somebody commits.
    pub async fn until_committing(&self) {
        let mut connection = self.connect().await;
        let sql = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query = 'COMMIT'";
        eventually(LIMIT, "somebody commits", async || {
            let found: Option<i32> = sqlx::query_scalar(sql)
                .fetch_optional(&mut connection)
                .await
                .expect("an answer");
            found
        })
        .await;
    }
}

impl Drop for PostgresDatabase {
    /// In a thread with a runtime of its own, because that of the test may be ending.
    fn drop(&mut self) {
        let server = self.server.clone();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(administer(&server, drop))
        });
        let outcome = dropping.join();
        if !std::thread::panicking() {
            outcome
                .expect("no panic")
                .expect("the database can be dropped");
        }
    }
}

async fn administer(server: &PgConnectOptions, statement: String) -> sqlx::Result<()> {
    let mut connection = server.connect().await?;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await?;
    connection.close().await
}
