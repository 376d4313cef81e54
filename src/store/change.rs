//! One change in one transaction: the revision first, because its row lock puts writers in order, then the rows, the
//! audit row, and the announcement.

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::fields::Fields;
use beamline_domain::record::extension::Extension;
use beamline_domain::snapshot::StoredPolicy;
use serde::Serialize;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};

use super::backend::Backend;
use super::listener::CHANNEL;
use super::{error, rows, statements};

type Tx = Transaction<'static, Any>;

/// Writes `change` into `tx` and answers the revision that it will have.
pub(super) async fn write(
    backend: &Backend,
    tx: &mut Tx,
    change: &Change,
    by: &Author,
) -> Result<u64, StoreError> {
    let (kind, id) = change.object();
    let work = Work {
        backend,
        name: format!("{kind} {id}"),
    };
    work.check(change)?;
    let revision = sqlx::query(statements::NEXT_REVISION)
        .fetch_one(&mut **tx)
        .await
        .map_err(error::reading)?;
    let revision = rows::number(&revision, "revision")?;
    if by.based_on.is_some_and(|seen| seen + 1 != revision) {
        return Err(StoreError::Stale);
    }
    let (before, after) = work.apply(tx, change).await?;
    let audit = work
        .query(statements::INSERT_AUDIT)
        .bind(i64::try_from(revision).unwrap_or(i64::MAX))
        .bind(without_nul(&by.source))
        .bind(by.actor.as_deref().map(without_nul))
        .bind(by.trace_id.as_deref().map(without_nul))
        .bind(change.action())
        .bind(kind)
        .bind(id)
        .bind(before)
        .bind(after);
    work.run(tx, audit).await?;
    if backend.notifies() {
        work.run(
            tx,
            sqlx::query(statements::NOTIFY)
                .bind(CHANNEL)
                .bind(revision.to_string()),
        )
        .await?;
    }
    Ok(revision)
}

/// What every step of one change needs.
struct Work<'a> {
    backend: &'a Backend,
    /// The object, for errors.
    name: String,
}

/// The object as JSON before and after the change.
type Images = (Option<String>, Option<String>);

impl Work<'_> {
    async fn apply(&self, tx: &mut Tx, change: &Change) -> Result<Images, StoreError> {
        match change {
            Change::CreateExtension(extension) => {
                self.write_extension(tx, statements::INSERT_EXTENSION, extension)
                    .await?;
                self.insert_parts(tx, extension).await?;
                Ok((None, Some(to_json(extension)?)))
            }
            Change::UpdateExtension(extension) => {
                let before = self.extension(tx, &extension.id).await?;
                self.write_extension(tx, statements::UPDATE_EXTENSION, extension)
                    .await?;
                self.delete_parts(tx, &extension.id).await?;
                self.insert_parts(tx, extension).await?;
                Ok((Some(before), Some(to_json(extension)?)))
            }
            Change::DeleteExtension { id } => {
                let before = self.extension(tx, id).await?;
                self.run(tx, self.query(statements::DELETE_EXTENSION).bind(id))
                    .await?;
                self.run(tx, self.query(statements::DELETE_HEALTH).bind(id))
                    .await?;
                self.run(tx, self.query(statements::DELETE_TARGET_HEALTH).bind(id))
                    .await?;
                self.delete_parts(tx, id).await?;
                Ok((Some(before), None))
            }
            Change::PutPolicy(policy) => self.put_policy(tx, policy).await,
            Change::DeletePolicy {
                tenant_id,
                policy_id,
            } => {
                let before = self.policy(tx, tenant_id, policy_id).await?;
                let before = before.ok_or_else(|| StoreError::NotFound(self.name.clone()))?;
                self.run(
                    tx,
                    self.query(statements::DELETE_POLICY)
                        .bind(tenant_id)
                        .bind(policy_id),
                )
                .await?;
                Ok((Some(before), None))
            }
        }
    }

    async fn put_policy(&self, tx: &mut Tx, policy: &StoredPolicy) -> Result<Images, StoreError> {
        let before = self
            .policy(tx, &policy.tenant_id, &policy.policy_id)
            .await?;
        let document = policy.document.get();
        let put = self
            .query(statements::PUT_POLICY)
            .bind(&policy.tenant_id)
            .bind(&policy.policy_id)
            .bind(document);
        self.run(tx, put).await?;
        Ok((before, Some(document.to_owned())))
    }

    async fn write_extension(
        &self,
        tx: &mut Tx,
        sql: &'static str,
        extension: &Extension,
    ) -> Result<(), StoreError> {
        let write = self
            .query(sql)
            .bind(&extension.id)
            .bind(extension.kind.as_str())
            .bind(extension.subject.as_deref())
            .bind(signed(extension.timeout_ms))
            .bind(i64::from(extension.retry))
            .bind(extension.enabled)
            .bind(&extension.version)
            .bind(extension.config.to_json())
            .bind(extension.metadata.to_json())
            .bind(to_json(&extension.breaker)?)
            .bind(
                extension
                    .breaker_operator
                    .as_ref()
                    .map(to_json)
                    .transpose()?,
            )
            .bind(extension.breaker_reset.as_ref().map(to_json).transpose()?)
            .bind(extension.max_in_flight.map(i64::from));
        self.run(tx, write).await
    }

    async fn insert_parts(&self, tx: &mut Tx, extension: &Extension) -> Result<(), StoreError> {
        for (position, version) in (0_i64..).zip(&extension.versions) {
            let insert = self
                .query(statements::INSERT_VERSION)
                .bind(&extension.id)
                .bind(position)
                .bind(&version.version)
                .bind(version.subject.as_deref())
                .bind(version.timeout_ms.map(signed))
                .bind(version.retry.map(i64::from))
                .bind(version.config.as_ref().map(Fields::to_json))
                .bind(version.routing_rules.to_json())
                .bind(version.enabled);
            self.run(tx, insert).await?;
        }
        for (position, instance) in (0_i64..).zip(&extension.instances) {
            let insert = self
                .query(statements::INSERT_INSTANCE)
                .bind(&extension.id)
                .bind(position)
                .bind(&instance.instance_id)
                .bind(&instance.subject)
                .bind(i64::from(instance.weight))
                .bind(instance.enabled);
            self.run(tx, insert).await?;
        }
        Ok(())
    }

    async fn delete_parts(&self, tx: &mut Tx, id: &str) -> Result<(), StoreError> {
        self.run(tx, self.query(statements::DELETE_VERSIONS).bind(id))
            .await?;
        self.run(tx, self.query(statements::DELETE_INSTANCES).bind(id))
            .await
    }

    /// The extension as it is stored now, as JSON.
    async fn extension(&self, tx: &mut Tx, id: &str) -> Result<String, StoreError> {
        let row = self
            .rows(tx, self.query(statements::EXTENSION).bind(id))
            .await?;
        let versions = self
            .rows(tx, self.query(statements::VERSIONS_OF).bind(id))
            .await?;
        let instances = self
            .rows(tx, self.query(statements::INSTANCES_OF).bind(id))
            .await?;
        let found = row.iter().map(rows::extension).collect::<Result<_, _>>()?;
        let versions = versions
            .iter()
            .map(rows::version)
            .collect::<Result<_, _>>()?;
        let instances = instances
            .iter()
            .map(rows::instance)
            .collect::<Result<_, _>>()?;
        let found = rows::put_together(found, versions, instances);
        to_json(
            found
                .first()
                .ok_or_else(|| StoreError::NotFound(self.name.clone()))?,
        )
    }

    async fn policy(
        &self,
        tx: &mut Tx,
        tenant_id: &str,
        policy_id: &str,
    ) -> Result<Option<String>, StoreError> {
        let found = self
            .rows(
                tx,
                self.query(statements::POLICY)
                    .bind(tenant_id)
                    .bind(policy_id),
            )
            .await?;
        found
            .first()
            .map(|row| row.try_get("document").map_err(error::reading))
            .transpose()
    }

    fn query<'q>(&self, sql: &'static str) -> Query<'q, Any, AnyArguments> {
        sqlx::query(self.backend.sql(sql))
    }

    async fn run(
        &self,
        tx: &mut Tx,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<(), StoreError> {
        query
            .execute(&mut **tx)
            .await
            .map(drop)
            .map_err(|error| error::writing(error, &self.name))
    }

    async fn rows(
        &self,
        tx: &mut Tx,
        query: Query<'_, Any, AnyArguments>,
    ) -> Result<Vec<AnyRow>, StoreError> {
        query
            .fetch_all(&mut **tx)
            .await
            .map_err(|error| error::writing(error, &self.name))
    }

    /// Postgres has no U+0000, neither in text nor in jsonb, so that nothing with it is saved in SQLite either.
    fn check(&self, change: &Change) -> Result<(), StoreError> {
        let refused = match change {
            Change::CreateExtension(extension) | Change::UpdateExtension(extension) => {
                let version_fields = extension
                    .versions
                    .iter()
                    .flat_map(|v| v.config.iter().chain([&v.routing_rules]));
                let mut all = version_fields.chain([&extension.config, &extension.metadata]);
                let decided = extension
                    .breaker_operator
                    .as_ref()
                    .map(|operator| &operator.reason);
                let mut reasons = decided
                    .into_iter()
                    .chain(extension.breaker_reset.as_ref().map(|reset| &reset.reason));
                all.any(|fields| has_nul_escape(&fields.to_json()))
                    || reasons.any(|reason| reason.contains('\0'))
            }
            Change::PutPolicy(_) | Change::DeleteExtension { .. } | Change::DeletePolicy { .. } => {
                false
            }
        };
        if refused || self.name.contains('\0') {
            return Err(error::not_storable(
                &self.name,
                "it holds the character U+0000",
            ));
        }
        Ok(())
    }
}

fn to_json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Who wrote must not decide whether it is written.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// True when valid JSON holds `\u0000`; an escaped backslash before it makes it plain text.
fn has_nul_escape(json: &str) -> bool {
    json.match_indices("\\u0000").any(|(at, _)| {
        let backslashes = json
            .bytes()
            .take(at)
            .rev()
            .take_while(|byte| *byte == b'\\')
            .count();
        backslashes % 2 == 0
    })
}
