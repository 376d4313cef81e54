//! One change in one transaction: the revision first, because its row lock puts writers in order,
//! then the rows, the audit row, and the announcement.

use beamline_actors::ports::{Author, Change, StoreError};
use beamline_contract::fields::Fields;
use beamline_contract::record::{ExtensionInstance, ExtensionRecord, ExtensionVersion};
use beamline_domain::keys::StoredKey;
use beamline_domain::snapshot::StoredPolicy;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, Row, Transaction};

use super::audit::Entry;
use super::listener::CHANNEL;
use super::statements::Statements;
use super::storable::{signed, to_json};
use super::{error, keys, nonces, rows, storable};

type Tx = Transaction<'static, Any>;

/// Writes `change` into `tx` and answers what it will be.
pub(super) async fn write(
    statements: &'static Statements,
    tx: &mut Tx,
    change: &Change,
    by: &Author,
) -> Result<Written, StoreError> {
    let (kind, id) = change.object();
    let object = format!("{kind} {id}");
    storable::check(change, &object)?;
    let mut writer = Writer {
        statements,
        tx,
        object,
    };
    let revision = writer.next_revision().await?;
    if by.based_on.is_some_and(|seen| seen + 1 != revision) {
        return Err(StoreError::Stale);
    }
    if let Some(nonce) = &by.nonce {
        nonces::spend(statements, writer.tx, nonce).await?;
    }
    if let Some(seen) = by.if_revision {
        writer.refuse_when_changed(change, seen).await?;
    }
    let images = writer.apply(change).await?;
    let audit_row = writer.record(change, by, revision, images).await?;
    writer.announce(revision).await?;
    Ok(Written {
        revision,
        audit_row,
    })
}

/// What a change will be when it is committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    pub(super) revision: u64,
    /// The id of its row.
    pub(super) audit_row: i64,
}

/// What every step of one change needs.
struct Writer<'t> {
    statements: &'static Statements,
    tx: &'t mut Tx,
    /// For errors.
    object: String,
}

/// The object as JSON before and after the change.
struct Images {
    before: Option<String>,
    after: Option<String>,
}

impl Writer<'_> {
    async fn next_revision(&mut self) -> Result<u64, StoreError> {
        let row = sqlx::query(self.statements.revision.next)
            .fetch_one(&mut **self.tx)
            .await
            .map_err(error::reading)?;
        rows::number(&row, "revision")
    }

    /// `seen` is the revision up to which whoever asks knows the object; 0 is before it was there.
    async fn refuse_when_changed(&mut self, change: &Change, seen: u64) -> Result<(), StoreError> {
        let (kind, id) = change.object();
        let select = sqlx::query(self.statements.objects.one).bind(kind).bind(id);
        let found = select.fetch_optional(&mut **self.tx).await;
        let object = self.object.clone();
        match found.map_err(error::reading)? {
            None if seen > 0 && change.may_create() => Err(StoreError::Changed(object)),
            None => Ok(()),
            Some(_) if seen == 0 => Err(StoreError::Conflict(object)),
            Some(row) if rows::revision(&row)? > seen => Err(StoreError::Changed(object)),
            Some(_) => Ok(()),
        }
    }

    async fn record(
        &mut self,
        change: &Change,
        by: &Author,
        revision: u64,
        images: Images,
    ) -> Result<i64, StoreError> {
        let (kind, id) = change.object();
        let entry = Entry {
            revision,
            source: by.source.clone(),
            key_id: by.actor.clone(),
            role: by.role.clone(),
            tenant_id: by.tenant_id.clone(),
            action: change.action().to_owned(),
            object_kind: kind.to_owned(),
            object_id: id,
            before: images.before,
            after: images.after,
            reason: by.reason.clone(),
            error_code: None,
            request_id: by.nonce.as_ref().map(|nonce| nonce.value.clone()),
            trace_id: by.trace_id.clone(),
        };
        entry.insert(self.statements, self.tx).await
    }

    async fn announce(&mut self, revision: u64) -> Result<(), StoreError> {
        let Some(announce) = self.statements.revision.announce else {
            return Ok(());
        };
        let announce = sqlx::query(announce)
            .bind(CHANNEL)
            .bind(revision.to_string());
        self.run(announce).await
    }

    async fn apply(&mut self, change: &Change) -> Result<Images, StoreError> {
        match change {
            Change::CreateExtension(extension) => self.create_extension(extension).await,
            Change::UpdateExtension(extension) => self.update_extension(extension).await,
            Change::DeleteExtension { id } => self.delete_extension(id).await,
            Change::PutPolicy(policy) => self.put_policy(policy).await,
            Change::DeletePolicy {
                tenant_id,
                policy_id,
            } => self.delete_policy(tenant_id, policy_id).await,
            Change::CreateKey(key) => self.create_key(key).await,
            Change::RotateKey {
                id,
                expires_at,
                successor,
            } => self.rotate_key(id, *expires_at, successor).await,
            Change::RevokeKey { id } => self.revoke_key(id).await,
        }
    }

    async fn create_extension(
        &mut self,
        extension: &ExtensionRecord,
    ) -> Result<Images, StoreError> {
        self.write_extension(self.statements.extensions.insert, extension)
            .await?;
        self.insert_parts(extension).await?;
        Ok(Images {
            before: None,
            after: Some(to_json(extension)?),
        })
    }

    async fn update_extension(
        &mut self,
        extension: &ExtensionRecord,
    ) -> Result<Images, StoreError> {
        let before = self.extension(&extension.id).await?;
        self.write_extension(self.statements.extensions.update, extension)
            .await?;
        self.delete_parts(&extension.id).await?;
        self.insert_parts(extension).await?;
        Ok(Images {
            before: Some(before),
            after: Some(to_json(extension)?),
        })
    }

    async fn delete_extension(&mut self, id: &str) -> Result<Images, StoreError> {
        let before = self.extension(id).await?;
        self.run_for(self.statements.extensions.delete, id).await?;
        self.run_for(self.statements.health.delete, id).await?;
        self.run_for(self.statements.target_health.delete, id)
            .await?;
        self.delete_parts(id).await?;
        Ok(Images {
            before: Some(before),
            after: None,
        })
    }

    async fn put_policy(&mut self, policy: &StoredPolicy) -> Result<Images, StoreError> {
        let before = self.policy(&policy.tenant_id, &policy.policy_id).await?;
        let document = policy.document.get();
        let put = sqlx::query(self.statements.policies.put)
            .bind(&policy.tenant_id)
            .bind(&policy.policy_id)
            .bind(document);
        self.run(put).await?;
        Ok(Images {
            before,
            after: Some(document.to_owned()),
        })
    }

    async fn delete_policy(
        &mut self,
        tenant_id: &str,
        policy_id: &str,
    ) -> Result<Images, StoreError> {
        let Some(before) = self.policy(tenant_id, policy_id).await? else {
            return Err(self.not_found());
        };
        let delete = sqlx::query(self.statements.policies.delete)
            .bind(tenant_id)
            .bind(policy_id);
        self.run(delete).await?;
        Ok(Images {
            before: Some(before),
            after: None,
        })
    }

    async fn create_key(&mut self, key: &StoredKey) -> Result<Images, StoreError> {
        let insert = keys::insert(self.statements, key)?;
        self.run(insert).await?;
        Ok(Images {
            before: None,
            after: Some(keys::image(key)?),
        })
    }

    /// The image of the successor is in the row of the old key: they are one change.
    async fn rotate_key(
        &mut self,
        id: &str,
        expires_at: u64,
        successor: &StoredKey,
    ) -> Result<Images, StoreError> {
        let before = self.key(id).await?;
        let expire = sqlx::query(self.statements.keys.expire).bind(id);
        self.run(expire.bind(signed(expires_at))).await?;
        let insert = keys::insert(self.statements, successor)?;
        self.run(insert).await?;
        let after = StoredKey {
            expires_at: Some(expires_at),
            ..before.clone()
        };
        Ok(Images {
            before: Some(keys::image(&before)?),
            after: Some(keys::images(&after, successor)?),
        })
    }

    async fn revoke_key(&mut self, id: &str) -> Result<Images, StoreError> {
        let before = self.key(id).await?;
        self.run_for(self.statements.keys.delete, id).await?;
        Ok(Images {
            before: Some(keys::image(&before)?),
            after: None,
        })
    }

    async fn key(&mut self, id: &str) -> Result<StoredKey, StoreError> {
        let found = self.read_for(self.statements.keys.one, id, rows::key);
        found.await?.pop().ok_or_else(|| self.not_found())
    }

    /// `statement` inserts or updates.
    async fn write_extension(
        &mut self,
        statement: &'static str,
        extension: &ExtensionRecord,
    ) -> Result<(), StoreError> {
        let breaker = to_json(&extension.breaker)?;
        let operator = extension.breaker_operator.as_ref().map(to_json);
        let reset = extension.breaker_reset.as_ref().map(to_json);
        let write = sqlx::query(statement)
            .bind(&extension.id)
            .bind(extension.kind.as_str())
            .bind(extension.subject.as_deref())
            .bind(signed(extension.timeout_ms))
            .bind(i64::from(extension.retry))
            .bind(extension.enabled)
            .bind(&extension.version)
            .bind(extension.config.to_json())
            .bind(extension.metadata.to_json())
            .bind(breaker)
            .bind(operator.transpose()?)
            .bind(reset.transpose()?)
            .bind(extension.max_in_flight.map(i64::from))
            .bind(extension.subject_of.as_deref())
            .bind(extension.notes_of.as_deref())
            .bind(extension.max_payload_bytes.map(signed))
            .bind(extension.timeout_per_mib_ms.map(signed));
        self.run(write).await
    }

    async fn insert_parts(&mut self, extension: &ExtensionRecord) -> Result<(), StoreError> {
        for (position, version) in (0..).zip(&extension.versions) {
            self.insert_version(&extension.id, position, version)
                .await?;
        }
        for (position, instance) in (0..).zip(&extension.instances) {
            self.insert_instance(&extension.id, position, instance)
                .await?;
        }
        Ok(())
    }

    async fn insert_version(
        &mut self,
        extension_id: &str,
        position: i64,
        version: &ExtensionVersion,
    ) -> Result<(), StoreError> {
        let insert = sqlx::query(self.statements.versions.insert)
            .bind(extension_id)
            .bind(position)
            .bind(&version.version)
            .bind(version.subject.as_deref())
            .bind(version.timeout_ms.map(signed))
            .bind(version.retry.map(i64::from))
            .bind(version.config.as_ref().map(Fields::to_json))
            .bind(version.routing_rules.to_json())
            .bind(version.enabled);
        self.run(insert).await
    }

    async fn insert_instance(
        &mut self,
        extension_id: &str,
        position: i64,
        instance: &ExtensionInstance,
    ) -> Result<(), StoreError> {
        let insert = sqlx::query(self.statements.instances.insert)
            .bind(extension_id)
            .bind(position)
            .bind(&instance.instance_id)
            .bind(&instance.subject)
            .bind(i64::from(instance.weight))
            .bind(instance.enabled);
        self.run(insert).await
    }

    async fn delete_parts(&mut self, id: &str) -> Result<(), StoreError> {
        self.run_for(self.statements.versions.delete, id).await?;
        self.run_for(self.statements.instances.delete, id).await
    }

    /// The extension as it is stored now, as JSON.
    async fn extension(&mut self, id: &str) -> Result<String, StoreError> {
        let found = self
            .read_for(self.statements.extensions.one, id, rows::extension)
            .await?;
        let versions = self
            .read_for(self.statements.versions.of_extension, id, rows::version)
            .await?;
        let instances = self
            .read_for(self.statements.instances.of_extension, id, rows::instance)
            .await?;
        let found = rows::put_together(found, versions, instances);
        let Some(extension) = found.first() else {
            return Err(self.not_found());
        };
        to_json(extension)
    }

    /// The document of the policy as it is stored now.
    async fn policy(
        &mut self,
        tenant_id: &str,
        policy_id: &str,
    ) -> Result<Option<String>, StoreError> {
        let select = sqlx::query(self.statements.policies.one)
            .bind(tenant_id)
            .bind(policy_id);
        let found = select.fetch_optional(&mut **self.tx).await;
        let Some(row) = found.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        row.try_get("document").map_err(error::reading)
    }

    /// Runs a statement that takes nothing but the id of an extension.
    async fn run_for(&mut self, statement: &'static str, id: &str) -> Result<(), StoreError> {
        self.run(sqlx::query(statement).bind(id)).await
    }

    /// Reads with a statement that takes nothing but the id of an extension.
    async fn read_for<T>(
        &mut self,
        statement: &'static str,
        id: &str,
        read: fn(&AnyRow) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let select = sqlx::query(statement).bind(id);
        let found = select.fetch_all(&mut **self.tx).await;
        let found = found.map_err(|error| self.failed(error))?;
        found.iter().map(read).collect()
    }

    async fn run(&mut self, query: Query<'_, Any, AnyArguments>) -> Result<(), StoreError> {
        match query.execute(&mut **self.tx).await {
            Ok(_rows) => Ok(()),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, error: sqlx::Error) -> StoreError {
        error::writing(error, &self.object)
    }

    fn not_found(&self) -> StoreError {
        StoreError::NotFound(self.object.clone())
    }
}
