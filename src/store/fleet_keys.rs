//! The keys of the replicas: no part of the registry, so there is no revision and no audit.

use beamline_actors::ports::StoreError;
use beamline_domain::fleet::{FleetKey, FleetKeys};
use sqlx::{Any, AnyConnection, Transaction};

use super::listener::CHANNEL;
use super::statements::Statements;
use super::storable::signed;
use super::{error, rows};

/// What the announcement of a key says in place of a revision. Whoever hears it only looks.
const NEWS: &str = "fleet_keys";

pub(super) async fn read(
    statements: &'static Statements,
    connection: &mut AnyConnection,
) -> Result<FleetKeys, StoreError> {
    let found = sqlx::query(statements.fleet_keys.newest)
        .fetch_all(connection)
        .await
        .map_err(error::reading)?;
    let keys = found.iter().map(rows::fleet_key);
    Ok(keys.collect::<Result<Vec<_>, _>>()?.into())
}

/// False when there is one of this number or a later one.
pub(super) async fn add(
    statements: &'static Statements,
    tx: &mut Transaction<'static, Any>,
    key: &FleetKey,
) -> Result<bool, StoreError> {
    let insert = sqlx::query(statements.fleet_keys.insert)
        .bind(signed(key.number))
        .bind(&key.id)
        .bind(&key.secret)
        .bind(signed(key.created_at));
    let inserted = insert.execute(&mut **tx).await.map_err(error::reading)?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query(statements.fleet_keys.forget)
        .bind(signed(key.number.saturating_sub(1)))
        .execute(&mut **tx)
        .await
        .map_err(error::reading)?;
    if let Some(announce) = statements.revision.announce {
        let announce = sqlx::query(announce).bind(CHANNEL).bind(NEWS);
        announce.execute(&mut **tx).await.map_err(error::reading)?;
    }
    Ok(true)
}
