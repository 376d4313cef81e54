//! Signed writes, each of which is taken once.

use beamline_actors::ports::{Nonce, StoreError};
use sqlx::{Any, Transaction};

use super::error::reading;
use super::statements::Statements;
use super::storable::signed;

/// Milliseconds after which no signature is taken any more, whatever two clocks say.
const FORGOTTEN_AFTER: u64 = 600_000;

/// Fails for a nonce that was spent already.
pub(super) async fn spend(
    statements: &'static Statements,
    tx: &mut Transaction<'static, Any>,
    nonce: &Nonce,
) -> Result<(), StoreError> {
    let forgotten = signed(nonce.taken_at.saturating_sub(FORGOTTEN_AFTER));
    sqlx::query(statements.nonces.forget)
        .bind(forgotten)
        .execute(&mut **tx)
        .await
        .map_err(reading)?;
    let insert = sqlx::query(statements.nonces.insert)
        .bind(&nonce.key_id)
        .bind(&nonce.value)
        .bind(signed(nonce.taken_at));
    match insert.execute(&mut **tx).await {
        Ok(_) => Ok(()),
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|error| error.is_unique_violation()) =>
        {
            Err(StoreError::Replayed)
        }
        Err(error) => Err(reading(error)),
    }
}
