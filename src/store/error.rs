//! What an error of the database means to whoever called: only a few are worth a branch, and the
//! rest mean that the database is away.

mod refusal;

use std::error::Error;
use std::path::PathBuf;

use beamline_actors::ports::StoreError;
use sqlx::error::DatabaseError;

use self::refusal::is_sqlstate;

pub(super) const NO_CONNECTION: &str = "no connection in time; check database.url, whether the database is running and whether it takes more connections";

/// Why a store cannot even be tried. A database that is away is no reason: each operation says so
/// by itself.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("database.url cannot be used: {0}")]
    Address(String),
    #[error("the directory {} for the database cannot be created: {source}; choose another place in database.url", directory.display())]
    Directory {
        directory: PathBuf,
        source: std::io::Error,
    },
}

/// An error while reading. In doubt the database is away: the router goes on with what it has and
/// asks again.
pub(super) fn reading(error: sqlx::Error) -> StoreError {
    if let sqlx::Error::Database(error) = &error {
        return of_database(error.as_ref());
    }
    if matches!(
        error,
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::RowNotFound
    ) {
        return StoreError::Corrupt(error.to_string());
    }
    if matches!(error, sqlx::Error::Tls(_)) {
        return StoreError::Denied(format!(
            "{}; change sslmode or sslrootcert in database.url, or what the server offers",
            with_sources(&error)
        ));
    }
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return StoreError::Unavailable(NO_CONNECTION.into());
    }
    StoreError::Unavailable(with_sources(&error))
}

/// An error while writing `object`.
pub(super) fn writing(error: sqlx::Error, object: &str) -> StoreError {
    match error.as_database_error() {
        Some(error) if error.is_unique_violation() => StoreError::Conflict(object.to_owned()),
        Some(error) if is_data_exception(error) => not_storable(object, error.message()),
        _ => reading(error),
    }
}

/// An error while committing: where the database itself refuses, nothing was changed.
pub(super) fn committing(error: sqlx::Error) -> StoreError {
    match error.as_database_error() {
        Some(refusal) if !leaves_open(refusal) => reading(error),
        Some(_) | None => StoreError::Unknown(with_sources(&error)),
    }
}

/// True when the commit may have been made all the same: a SQLite file could not be written to its
/// end, or the server of Postgres was told to end (57P), the connection broke (08), or nobody knows
/// (40003).
fn leaves_open(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    if !is_sqlstate(&code) {
        return code.parse().is_ok_and(is_sqlite_io_error);
    }
    ["57P", "08", "40003"]
        .iter()
        .any(|start| code.starts_with(start))
}

/// Of an extended code, the lowest byte says what kind it is.
fn is_sqlite_io_error(code: u32) -> bool {
    code & 0xff == 10
}

/// Something well-formed that no column can hold, such as U+0000: the caller has to change it.
pub(super) fn not_storable(object: &str, reason: &str) -> StoreError {
    StoreError::Refused(format!("{object} was not saved: {reason}"))
}

/// True when the schema has not been created yet.
pub(super) fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(missing_table)
}

fn of_database(error: &dyn DatabaseError) -> StoreError {
    if missing_table(error) {
        return StoreError::Unavailable(
            "its tables are missing; run `beamline-router migrate`".into(),
        );
    }
    // XX: Postgres found its own files damaged. 11 and 26: SQLite did, or the file is something
    // else.
    let code = error.code().unwrap_or_default();
    let message = error.message();
    if code.starts_with("XX") || matches!(code.as_ref(), "11" | "26") {
        return StoreError::Corrupt(message.to_owned());
    }
    if let Some(advice) = refusal::advice(&code) {
        return StoreError::Denied(format!("{message}; {advice}"));
    }
    if refusal::is_refusal(&code) {
        return StoreError::Denied(message.to_owned());
    }
    StoreError::Unavailable(message.to_owned())
}

fn missing_table(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}

/// Class 22 of SQLSTATE: a value that does not fit its type.
fn is_data_exception(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    is_sqlstate(&code) && code.starts_with("22")
}

fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        source = error.source();
    }
    text
}
