//! Who asks, and what it may ask for. Whatever is not allowed here is refused.

use std::time::SystemTime;

use beamline_contract::admin::{API_KEY, CONFIGURED, Reach, Role};
use beamline_contract::fields::Fields;
use beamline_domain::keys::{Authorization, KeyParts, StoredKey};
use beamline_domain::snapshot::Snapshot;
use secrecy::ExposeSecret;

use super::access::Access;
use super::caller::{Asking, Caller};
use super::policies::name_of;
use super::refusal::Refusal;
use crate::keys::{hash, is_same};

/// A key that is right.
struct Holder {
    key_id: String,
    role: Option<Role>,
    tenant_id: Option<String>,
}

/// Who asks. A key may come beside the body, or in it; the header is what counts.
pub(super) fn identify(
    access: &Access,
    snapshot: &Snapshot,
    asking: &Asking,
    body: &Fields,
    now: SystemTime,
) -> Result<Caller, Refusal> {
    if asking.credentials.ambiguous {
        return Err(Refusal::ambiguous());
    }
    let given = asking.credentials.authorization.as_deref();
    let in_body = body.get(API_KEY).filter(|raw| raw.get() != "null");
    let holder = match (given.map(Authorization::of), in_body) {
        (Some(Authorization::Bearer(key)), _) => Some(bearer(access, snapshot, key, now)?),
        (Some(Authorization::Signed { .. } | Authorization::Other), _) => {
            return Err(Refusal::wrong_key());
        }
        (None, Some(_)) => {
            let key = body.text(API_KEY).unwrap_or_default();
            Some(bearer(access, snapshot, &key, now)?)
        }
        (None, None) if access.anonymous.is_none() => return Err(Refusal::unauthorized()),
        (None, None) => None,
    };
    let anonymous = Holder {
        key_id: String::new(),
        role: access.anonymous,
        tenant_id: None,
    };
    let key_id = holder.as_ref().map(|holder| holder.key_id.clone());
    let Holder {
        role, tenant_id, ..
    } = holder.unwrap_or(anonymous);
    Ok(Caller {
        source: asking.source,
        key_id,
        role,
        tenant_id,
        trace_id: asking.trace_id.clone(),
        largest_answer: asking.largest_answer,
    })
}

/// The holder of a whole key.
fn bearer(
    access: &Access,
    snapshot: &Snapshot,
    key: &str,
    now: SystemTime,
) -> Result<Holder, Refusal> {
    let given = hash(key);
    let stored = KeyParts::of(key).and_then(|parts| snapshot.key(parts.id));
    if let Some(stored) = stored.filter(|stored| is_same(&stored.hash, &given)) {
        return held(stored, now);
    }
    match &access.api_key {
        Some((own, role)) if is_same(&hash(own.expose_secret()), &given) => Ok(Holder {
            key_id: CONFIGURED.to_owned(),
            role: Some(*role),
            tenant_id: None,
        }),
        Some(_) | None if key.is_empty() => Err(Refusal::unauthorized()),
        Some(_) | None => Err(Refusal::wrong_key()),
    }
}

fn held(key: &StoredKey, now: SystemTime) -> Result<Holder, Refusal> {
    if !key.holds_at(milliseconds(now)) {
        return Err(Refusal::wrong_key());
    }
    Ok(Holder {
        key_id: key.id.clone(),
        role: key.admin_role(),
        tenant_id: key.tenant_id.clone(),
    })
}

/// Since 1970.
pub(super) fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

/// Whether this caller may have an operation: the tenant is looked at before the role, so that
/// nobody learns what another tenant has.
pub(super) fn permit(
    caller: &Caller,
    body: &Fields,
    needed: Role,
    reach: Reach,
) -> Result<(), Refusal> {
    if reach == Reach::Tenant
        && let Some(tenant_id) = body.text("tenant_id")
    {
        let policy_id = body.text("policy_id");
        let name = name_of(&tenant_id, policy_id.as_deref().unwrap_or("default"));
        caller.check_tenant(&tenant_id, &name)?;
    }
    match caller.role {
        Some(role) if role.may(needed) => {}
        Some(_) | None if caller.key_id.is_none() => return Err(Refusal::unauthorized()),
        Some(role) => return Err(Refusal::forbidden_to(role, needed)),
        None => return Err(Refusal::forbidden()),
    }
    if caller.is_of_one_tenant() && reach == Reach::Router {
        return Err(Refusal::forbidden_to_tenant());
    }
    Ok(())
}

#[cfg(test)]
mod tests;
