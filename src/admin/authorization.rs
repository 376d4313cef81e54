//! Who asks, and what it may ask for. Whatever is not allowed here is refused.

use std::sync::Arc;
use std::time::SystemTime;

use beamline_actors::ports::Nonce;
use beamline_contract::admin::{API_KEY, CONFIGURED, Reach, Role};
use beamline_contract::fields::Fields;
use beamline_contract::time::since_1970;
use beamline_domain::keys::{Authorization, KeyParts, StoredKey};
use beamline_domain::snapshot::Snapshot;
use humantime::parse_rfc3339;

use super::access::{Access, ConfiguredKey};
use super::caller::{Asking, Caller};
use super::policies::name_of;
use super::refusal::Refusal;
use crate::keys::{Signed, hash, is_nonce, is_same, is_signature};

/// Milliseconds between the date of a signature and the clock of the router, either way.
const LONGEST_UNDER_WAY: u64 = 60_000;

/// A request as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'r> {
    pub(super) asking: &'r Asking,
    pub(super) payload: &'r [u8],
    pub(super) body: &'r Fields,
}

/// A key that is right.
#[derive(Default)]
struct Holder {
    key_id: Option<String>,
    role: Option<Role>,
    tenant_id: Option<String>,
    /// It has signed, and this makes the signature good for once.
    nonce: Option<Arc<Nonce>>,
}

/// Why nobody is let in.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) refusal: Refusal,
    /// A key was tried that opens nothing.
    pub(super) tried: Option<Tried>,
}

/// Whose key was tried, where it is one that there is.
#[derive(Debug)]
pub(super) struct Tried(pub(super) Option<String>);

impl Denied {
    fn wrong(key_id: Option<&str>) -> Self {
        Self {
            refusal: Refusal::wrong_key(),
            tried: Some(Tried(key_id.map(str::to_owned))),
        }
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            tried: None,
        }
    }
}

/// Who asks. A key may come beside the body, or in it; the header is what counts.
pub(super) fn identify(
    access: &Access,
    snapshot: &Snapshot,
    request: Request<'_>,
    now: SystemTime,
) -> Result<Caller, Denied> {
    let Request { asking, body, .. } = request;
    if asking.credentials.ambiguous {
        return Err(Refusal::ambiguous().into());
    }
    let door = Door {
        access,
        snapshot,
        now,
    };
    let given = asking.credentials.authorization.as_deref();
    let in_body = body.get(API_KEY).filter(|raw| raw.get() != "null");
    let holder = match (given.map(Authorization::of), in_body) {
        (Some(Authorization::Bearer(key)), _) => door.bearer(key)?,
        (Some(Authorization::Signed { id, signature }), _) => {
            door.signer(id, signature, request)?
        }
        (Some(Authorization::Other), _) => return Err(Denied::wrong(None)),
        (None, Some(_)) => door.bearer(&body.text(API_KEY).unwrap_or_default())?,
        (None, None) if access.anonymous.is_none() => {
            return Err(Refusal::unauthorized().into());
        }
        (None, None) => Holder {
            role: access.anonymous,
            ..Holder::default()
        },
    };
    Ok(Caller {
        source: asking.source,
        key_id: holder.key_id,
        role: holder.role,
        tenant_id: holder.tenant_id,
        trace_id: asking.trace_id.clone(),
        largest_answer: asking.largest_answer,
        nonce: holder.nonce,
        if_revision: None,
        reason: body.text("reason"),
    })
}

/// What opens, at one moment.
struct Door<'d> {
    access: &'d Access,
    snapshot: &'d Snapshot,
    now: SystemTime,
}

impl Door<'_> {
    /// The holder of a whole key.
    fn bearer(&self, key: &str) -> Result<Holder, Denied> {
        let given = hash(key);
        let stored = KeyParts::of(key).and_then(|parts| self.snapshot.key(parts.id));
        if let Some(right) = stored.filter(|stored| is_same(&stored.hash, &given)) {
            return self.held(right);
        }
        match &self.access.configured {
            Some(configured) if is_same(&configured.hash, &given) => Ok(held_by_all(configured)),
            Some(_) | None if key.is_empty() => Err(Refusal::unauthorized().into()),
            Some(_) | None => Err(Denied::wrong(stored.map(|stored| stored.id.as_str()))),
        }
    }

    /// The holder of a key that has signed this request.
    fn signer(&self, id: &str, signature: &str, request: Request<'_>) -> Result<Holder, Denied> {
        let credentials = &request.asking.credentials;
        let date = credentials.date.as_deref().unwrap_or_default();
        let nonce = credentials.nonce.as_deref().unwrap_or_default();
        let signed = Signed {
            subject: &request.asking.subject,
            date,
            nonce,
            body: request.payload,
        };
        let stored = self.snapshot.key(id);
        let configured = self.access.configured.as_ref();
        let configured = configured.filter(|key| key.is_called(id));
        let has_signed = |key: &str| is_signature(key, &signed, signature);
        let right = stored.filter(|key| key.public_key.as_deref().is_some_and(has_signed));
        let holder = match (right, configured) {
            (Some(right), _) => self.held(right)?,
            (None, Some(configured)) if has_signed(&configured.public_key) => {
                held_by_all(configured)
            }
            (None, _) => {
                let is_known = stored.is_some() || configured.is_some();
                return Err(Denied::wrong(is_known.then_some(id)));
            }
        };
        self.check_date(date)?;
        if !is_nonce(nonce) {
            return Err(Refusal::bad_nonce().into());
        }
        let key_id = holder.key_id.as_deref().unwrap_or_default();
        let nonce = Nonce::new(key_id, nonce, since_1970(self.now));
        Ok(Holder {
            nonce: Some(Arc::new(nonce)),
            ..holder
        })
    }

    /// Told to whoever has signed with a right key: only that one can do something about it.
    fn check_date(&self, date: &str) -> Result<(), Refusal> {
        let signed_at = parse_rfc3339(date).map_err(|_| Refusal::bad_date())?;
        let apart = since_1970(self.now).abs_diff(since_1970(signed_at));
        if apart > LONGEST_UNDER_WAY {
            return Err(Refusal::old_signature(apart / 1_000));
        }
        Ok(())
    }

    fn held(&self, key: &StoredKey) -> Result<Holder, Denied> {
        if !key.holds_at(since_1970(self.now)) {
            return Err(Denied::wrong(Some(&key.id)));
        }
        Ok(Holder {
            key_id: Some(key.id.clone()),
            role: key.admin_role(),
            tenant_id: key.tenant_id.clone(),
            nonce: None,
        })
    }
}

fn held_by_all(configured: &ConfiguredKey) -> Holder {
    Holder {
        key_id: Some(CONFIGURED.to_owned()),
        role: Some(configured.role),
        ..Holder::default()
    }
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
