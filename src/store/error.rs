//! What an error of the database means to whoever called: only a few are worth a branch, and the rest are "away".

use std::error::Error;

use beamline_actors::ports::StoreError;
use sqlx::error::DatabaseError;

pub(super) const NO_CONNECTION: &str =
    "no connection in time; check database.url and whether the database is running";

/// An error while reading. In doubt the database is away: the router goes on with what it has and asks again.
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
    if matches!(error, sqlx::Error::PoolTimedOut) {
        return StoreError::Unavailable(NO_CONNECTION.into());
    }
    StoreError::Unavailable(with_sources(&error))
}

/// An error while writing `object`.
pub(super) fn writing(error: sqlx::Error, object: &str) -> StoreError {
    match error.as_database_error() {
        Some(error) if error.is_unique_violation() => StoreError::Conflict(object.to_owned()),
        Some(error) if sqlstate_class(error).as_deref() == Some("22") => {
            not_storable(object, error.message())
        }
        _ => reading(error),
    }
}

/// An error while committing: where the database itself refuses, nothing was changed.
pub(super) fn committing(error: sqlx::Error) -> StoreError {
    let refused = error
        .as_database_error()
        .is_some_and(|error| !leaves_open(error));
    if refused {
        reading(error)
    } else {
        StoreError::Unknown(with_sources(&error))
    }
}

/// The server was told to end in the middle (57P), the connection broke (08), or nobody knows (40003). 10: SQLite could not
/// write a file to its end.
fn leaves_open(error: &dyn DatabaseError) -> bool {
    let code = error.code().unwrap_or_default();
    let of_sqlite = code.parse::<u32>().ok().filter(|_| code.len() < 5);
    ["57P", "08", "40003"]
        .iter()
        .any(|start| code.len() == 5 && code.starts_with(start))
        || of_sqlite.is_some_and(|number| number & 0xff == 10)
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
    // XX: Postgres found its own files damaged. 11 and 26: SQLite did, or the file is something else.
    let code = error.code().unwrap_or_default();
    if code.starts_with("XX") || matches!(code.as_ref(), "11" | "26") {
        return StoreError::Corrupt(error.message().to_owned());
    }
    StoreError::Unavailable(error.message().to_owned())
}

fn missing_table(error: &dyn DatabaseError) -> bool {
    error.code().as_deref() == Some("42P01") || error.message().starts_with("no such table")
}

/// The first two characters of a SQLSTATE; SQLite's codes are shorter or longer than five.
fn sqlstate_class(error: &dyn DatabaseError) -> Option<String> {
    let code = error.code().filter(|code| code.len() == 5)?;
    code.get(..2).map(str::to_owned)
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
