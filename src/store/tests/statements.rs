//! Every statement of both databases is prepared by the database itself, also those that no other
//! test runs.

use sqlx::{
    Column, Connection, Either, Executor, PgConnection, SqlStr, SqliteConnection, Statement,
};

use super::database::TestDatabase;
use super::fixtures::config;
use crate::store::statements::{
    AuditStatements, ConnectionStatements, ExtensionStatements, FleetKeyStatements,
    HealthStatements, KeyStatements, NonceStatements, ObjectStatements, PartStatements,
    PolicyStatements, RevisionStatements, Statements,
};
use crate::store::{migrate, postgres, sqlite};

type Named = (String, &'static str);

/// What a database says about a statement.
#[derive(Debug, PartialEq, Eq)]
struct Shape {
    name: String,
    parameters: usize,
    columns: Vec<String>,
}

#[tokio::test]
async fn postgres_can_prepare_every_statement() {
    let statements = &postgres::STATEMENTS;
    let mut all = of_registry(statements);
    all.extend(of_connection(&statements.connection));
    shapes_in_postgres(all).await;
}

#[tokio::test]
async fn sqlite_can_prepare_every_statement() {
    let statements = &sqlite::STATEMENTS;
    let mut all = of_registry(statements);
    all.extend(of_connection(&statements.connection));
    shapes_in_sqlite(all).await;
}

#[tokio::test]
async fn both_databases_take_the_same_parameters_and_answer_the_same_columns() {
    let postgres = shapes_in_postgres(of_registry(&postgres::STATEMENTS)).await;
    let mut common = Vec::new();
    for shape in postgres {
        if shape.name != "revision.announce" {
            common.push(shape);
        }
    }
    assert_eq!(
        common,
        shapes_in_sqlite(of_registry(&sqlite::STATEMENTS)).await
    );
}

#[test]
fn an_extension_is_read_alone_as_it_is_read_among_all() {
    for statements in [&postgres::STATEMENTS, &sqlite::STATEMENTS] {
        let pairs = [
            (statements.extensions.all, statements.extensions.one),
            (statements.keys.all, statements.keys.one),
            (statements.versions.all, statements.versions.of_extension),
            (statements.instances.all, statements.instances.of_extension),
        ];
        for (all, one) in pairs {
            let columns_of_all = all.split("FROM").next();
            assert_eq!(columns_of_all, one.split("FROM").next());
        }
    }
}

async fn shapes_in_postgres(statements: Vec<Named>) -> Vec<Shape> {
    let database = TestDatabase::postgres().await;
    migrate(&config(database.url())).await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let mut shapes = Vec::new();
    for (name, sql) in statements {
        let prepared = connection.prepare(SqlStr::from_static(sql)).await;
        shapes.push(shape(name, prepared));
    }
    shapes
}

async fn shapes_in_sqlite(statements: Vec<Named>) -> Vec<Shape> {
    let database = TestDatabase::sqlite().await;
    migrate(&config(database.url())).await.unwrap();
    let mut connection = SqliteConnection::connect(database.url()).await.unwrap();
    let mut shapes = Vec::new();
    for (name, sql) in statements {
        let prepared = connection.prepare(SqlStr::from_static(sql)).await;
        shapes.push(shape(name, prepared));
    }
    shapes
}

fn shape<S: Statement>(name: String, prepared: Result<S, sqlx::Error>) -> Shape {
    let statement = prepared.unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut columns = Vec::new();
    for column in statement.columns() {
        columns.push(column.name().to_owned());
    }
    let parameters = match statement.parameters() {
        Some(Either::Left(types)) => types.len(),
        Some(Either::Right(count)) => count,
        None => 0,
    };
    Shape {
        name,
        parameters,
        columns,
    }
}

/// The fields are named here without `..`, so that a new statement cannot be forgotten.
fn of_registry(statements: &Statements) -> Vec<Named> {
    let Statements {
        connection: _,
        revision,
        audit,
        objects,
        extensions,
        versions,
        instances,
        policies,
        keys,
        nonces,
        fleet_keys,
        health,
        target_health,
    } = statements;
    let mut all = of_revision(revision);
    all.extend(of_audit(audit));
    let ObjectStatements { all: every, one } = objects;
    all.extend(named("objects", &[("all", every), ("one", one)]));
    all.extend(of_extensions(extensions));
    all.extend(of_parts("versions", versions));
    all.extend(of_parts("instances", instances));
    all.extend(of_policies(policies));
    all.extend(of_keys(keys));
    let NonceStatements { insert, forget } = nonces;
    all.extend(named("nonces", &[("insert", insert), ("forget", forget)]));
    let FleetKeyStatements {
        newest,
        insert,
        forget,
    } = fleet_keys;
    let keys = [("newest", newest), ("insert", insert), ("forget", forget)];
    all.extend(named("fleet_keys", &keys));
    all.extend(of_health("health", health));
    all.extend(of_health("target_health", target_health));
    all
}

/// A text of several statements cannot be prepared as one.
fn of_connection(statements: &ConnectionStatements) -> Vec<Named> {
    let ConnectionStatements {
        limit,
        journal,
        limit_migration,
        begin_read,
        extend_read,
        begin_write,
    } = statements;
    let mut texts = vec![*begin_read, *begin_write];
    texts.extend(limit.split(';'));
    texts.extend(limit_migration.split(';'));
    texts.extend(journal);
    texts.extend(extend_read);
    texts.into_iter().map(|sql| (sql.to_owned(), sql)).collect()
}

fn of_revision(statements: &RevisionStatements) -> Vec<Named> {
    let RevisionStatements {
        read,
        next,
        announce,
    } = statements;
    let mut all = named("revision", &[("read", read), ("next", next)]);
    if let Some(announce) = announce {
        all.extend(named("revision", &[("announce", announce)]));
    }
    all
}

fn of_extensions(statements: &ExtensionStatements) -> Vec<Named> {
    let ExtensionStatements {
        all,
        one,
        insert,
        update,
        delete,
    } = statements;
    named(
        "extensions",
        &[
            ("all", all),
            ("one", one),
            ("insert", insert),
            ("update", update),
            ("delete", delete),
        ],
    )
}

fn of_parts(group: &str, statements: &PartStatements) -> Vec<Named> {
    let PartStatements {
        all,
        of_extension,
        insert,
        delete,
    } = statements;
    named(
        group,
        &[
            ("all", all),
            ("of_extension", of_extension),
            ("insert", insert),
            ("delete", delete),
        ],
    )
}

fn of_policies(statements: &PolicyStatements) -> Vec<Named> {
    let PolicyStatements {
        all,
        one,
        put,
        delete,
    } = statements;
    named(
        "policies",
        &[("all", all), ("one", one), ("put", put), ("delete", delete)],
    )
}

fn of_audit(statements: &AuditStatements) -> Vec<Named> {
    let AuditStatements {
        insert,
        list,
        unlinked,
        unlinked_of,
        outside,
        links_before,
        links,
        head,
        at_seq,
        pruned,
        false_prunings,
        add_link,
        first_since,
        add_pruning,
        delete_rows,
        delete_links,
    } = statements;
    named(
        "audit",
        &[
            ("insert", insert),
            ("list", list),
            ("unlinked", unlinked),
            ("unlinked_of", unlinked_of),
            ("outside", outside),
            ("links_before", links_before),
            ("links", links),
            ("head", head),
            ("at_seq", at_seq),
            ("pruned", pruned),
            ("false_prunings", false_prunings),
            ("add_link", add_link),
            ("first_since", first_since),
            ("add_pruning", add_pruning),
            ("delete_rows", delete_rows),
            ("delete_links", delete_links),
        ],
    )
}

fn of_keys(statements: &KeyStatements) -> Vec<Named> {
    let KeyStatements {
        all,
        one,
        insert,
        expire,
        delete,
    } = statements;
    named(
        "keys",
        &[
            ("all", all),
            ("one", one),
            ("insert", insert),
            ("expire", expire),
            ("delete", delete),
        ],
    )
}

fn of_health(group: &str, statements: &HealthStatements) -> Vec<Named> {
    let HealthStatements {
        put,
        delete,
        forget,
    } = statements;
    named(
        group,
        &[("put", put), ("delete", delete), ("forget", forget)],
    )
}

fn named(group: &str, statements: &[(&str, &&'static str)]) -> Vec<Named> {
    let mut all = Vec::new();
    for (name, sql) in statements {
        all.push((format!("{group}.{name}"), **sql));
    }
    all
}
