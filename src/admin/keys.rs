//! Operations on keys. The configured key is none of the store's: it changes with the
//! configuration.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use beamline_actors::ports::Change;
use beamline_contract::admin::{
    CONFIGURED, CreateKey, KeyCreated, KeyKind, KeyRevoked, KeysAnswer, ListKeys, ListedKey,
    ReplacedKey, RevokeKey, Role, RotateKey, ShownKey,
};
use beamline_contract::escape::is_unsafe;
use beamline_contract::fields::Fields;
use beamline_contract::limits::{MAX_KEY_NAME, OVERLAP_MS};
use beamline_contract::time::since_1970;
use beamline_domain::document::{Mistakes, Object, shorten};
use beamline_domain::keys::StoredKey;
use beamline_domain::tenant_ids::tenant_problem;
use humantime::{format_rfc3339_millis, parse_rfc3339};
use secrecy::ExposeSecret;

use super::body::{read_document, required};
use super::caller::Caller;
use super::operation::{Perform, WaitsFor};
use super::policies::check_new_tenant;
use super::refusal::Refusal;
use super::surroundings::Surroundings;
use crate::keys::NewKey;

const CREATE_KEYS: &[&str] = &["role", "edge", "tenant_id", "name", "expires_at"];
const ROTATE_KEYS: &[&str] = &["id", "overlap_ms", "expires_at"];
/// That an old key holds beside its successor.
const OVERLAP: Duration = Duration::from_secs(86_400);
/// More than anybody can look after.
const MOST_KEYS: usize = 10_000;
/// The last millisecond that RFC 3339 can write.
const LAST: u64 = 253_402_300_799_999;

impl Perform for CreateKey {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        read_document(body, "body", read_create)
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<KeyCreated, Refusal> {
        check_room(all)?;
        if let Some(tenant_id) = &self.tenant_id {
            check_new_tenant(tenant_id, all)?;
        }
        let now = since_1970(SystemTime::now());
        let kind = if self.edge {
            KeyKind::Edge
        } else {
            KeyKind::Admin
        };
        let new = new_key(all, kind)?;
        let expires_at = end_of(self.expires_at.as_deref(), now)?;
        let stored = StoredKey {
            id: new.id.clone(),
            kind: kind.as_str().to_owned(),
            role: self.role,
            tenant_id: self.tenant_id,
            name: self.name,
            policies: Vec::new(),
            models: Vec::new(),
            rpm: None,
            tpm: None,
            budget_day: None,
            budget_month: None,
            created_at: now,
            expires_at,
            hash: new.hash.clone(),
            public_key: new.public_key.clone(),
        };
        let change = Change::CreateKey(stored.clone());
        let revision = all.registry.write(change, caller.author()).await?;
        Ok(created(revision, &new, &stored, None))
    }
}

fn read_create(mut object: Object<'_>, mistakes: &mut Mistakes) -> Option<CreateKey> {
    let has_role = object.has("role");
    let role = object.choice("role", Role::WORDS, mistakes);
    let edge = object.flag("edge", mistakes).unwrap_or_default();
    let tenant_id = object.text("tenant_id", mistakes);
    let name = object.text("name", mistakes);
    let expires_at = object.text("expires_at", mistakes);
    if has_role == edge {
        mistakes.add(
            "/role",
            "is required, or `edge: true` in its place; give exactly one of the two",
        );
    }
    if edge && tenant_id.is_none() {
        mistakes.add("/tenant_id", "is required for a key of the edge");
    }
    if let Some(problem) = tenant_id.as_deref().and_then(tenant_problem) {
        mistakes.add("/tenant_id", problem);
    }
    if let Some(problem) = name.as_deref().and_then(name_problem) {
        mistakes.add("/name", problem);
    }
    check_time(expires_at.as_deref(), mistakes);
    object.finish(CREATE_KEYS, mistakes);
    Some(CreateKey {
        role: role.map(|role| role.as_str().to_owned()),
        edge,
        tenant_id,
        name,
        expires_at,
    })
}

impl Perform for ListKeys {
    const WAITS_FOR: WaitsFor = WaitsFor::Nobody;

    async fn perform(self, all: &Arc<Surroundings>, _: &Caller) -> Result<KeysAnswer, Refusal> {
        let snapshot = all.registry.snapshot();
        let configured = all.settings.access.configured.as_ref();
        let configured = configured.map(|key| ListedKey {
            key: ShownKey {
                id: CONFIGURED.to_owned(),
                kind: KeyKind::Admin.as_str().into(),
                role: Some(key.role.as_str().into()),
                tenant_id: None,
                name: None,
                created_at: None,
                expires_at: None,
            },
            revision: None,
        });
        let stored = snapshot.keys().map(|key| ListedKey {
            key: shown(key),
            revision: snapshot.revision_of("key", &key.id),
        });
        Ok(KeysAnswer {
            ok: true,
            revision: snapshot.revision(),
            keys: configured.into_iter().chain(stored).collect(),
        })
    }
}

impl Perform for RotateKey {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        read_document(body, "body", read_rotate)
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<KeyCreated, Refusal> {
        check_room(all)?;
        all.registry.refresh().await?;
        let now = since_1970(SystemTime::now());
        let old = stored(all, &self.id)?;
        let kind = KeyKind::parse(&old.kind);
        let kind = kind.ok_or_else(|| Refusal::invalid("A newer router has made this key."))?;
        if self.expires_at.is_none() {
            check_not_replaced(all, &old, now)?;
        }
        let new = new_key(all, kind)?;
        // It holds as long as the old one was to hold.
        let span = old.expires_at.map(|end| end.saturating_sub(old.created_at));
        let wished = end_of(self.expires_at.as_deref(), now)?;
        let successor = StoredKey {
            id: new.id.clone(),
            created_at: now,
            expires_at: wished.or_else(|| span.map(|span| now.saturating_add(span))),
            hash: new.hash.clone(),
            public_key: new.public_key.clone(),
            ..old.clone()
        };
        let overlap = self
            .overlap_ms
            .unwrap_or_else(|| u64::try_from(OVERLAP.as_millis()).unwrap_or(u64::MAX));
        let end = now.saturating_add(overlap);
        // A rotation lets no key live longer.
        let expires_at = old.expires_at.map_or(end, |known| known.min(end));
        let change = Change::RotateKey {
            id: old.id.clone(),
            expires_at,
            successor: successor.clone(),
        };
        let revision = all.registry.write(change, caller.author()).await?;
        let replaced = ReplacedKey {
            id: old.id,
            expires_at: written(expires_at),
        };
        Ok(created(revision, &new, &successor, Some(replaced)))
    }
}

/// A key that was replaced ends soon, and one in its place would do so too.
fn check_not_replaced(all: &Surroundings, old: &StoredKey, now: u64) -> Result<(), Refusal> {
    let Some(end) = old.expires_at else {
        return Ok(());
    };
    let snapshot = all.registry.snapshot();
    let newer = snapshot
        .keys()
        .find(|key| key.created_at > old.created_at && is_alike(key, old));
    let id = shorten(&old.id);
    let why = match newer {
        _ if end <= now => format!("The key {id} is over since {}", written(end)),
        Some(newer) => format!(
            "The key {id} ends at {}, and {} seems to have taken its place: rotate that one",
            written(end),
            shorten(&newer.id)
        ),
        None => return Ok(()),
    };
    Err(Refusal::conflict(format!(
        "{why}, or say until when the new key is to hold (expires_at, --expires)."
    )))
}

/// As a key and the one that takes its place.
fn is_alike(one: &StoredKey, other: &StoredKey) -> bool {
    let of = |key: &StoredKey| {
        let StoredKey {
            kind,
            role,
            tenant_id,
            name,
            ..
        } = key.clone();
        (kind, role, tenant_id, name)
    };
    of(one) == of(other)
}

fn read_rotate(mut object: Object<'_>, mistakes: &mut Mistakes) -> Option<RotateKey> {
    let id = object.required_text("id", mistakes);
    let overlap_ms = object.whole("overlap_ms", OVERLAP_MS, mistakes);
    let expires_at = object.text("expires_at", mistakes);
    check_time(expires_at.as_deref(), mistakes);
    object.finish(ROTATE_KEYS, mistakes);
    Some(RotateKey {
        id: id?,
        overlap_ms,
        expires_at,
    })
}

impl Perform for RevokeKey {
    const WAITS_FOR: WaitsFor = WaitsFor::Store;

    fn read(body: &Fields) -> Result<Self, Refusal> {
        let id = required(body, "id")?;
        Ok(Self { id })
    }

    async fn perform(
        self,
        all: &Arc<Surroundings>,
        caller: &Caller,
    ) -> Result<KeyRevoked, Refusal> {
        all.registry.refresh().await?;
        let StoredKey { id, .. } = stored(all, &self.id)?;
        let change = Change::RevokeKey { id: id.clone() };
        let revision = all.registry.write(change, caller.author()).await?;
        Ok(KeyRevoked {
            ok: true,
            revision,
            id,
        })
    }
}

/// A key that can be changed.
fn stored(all: &Surroundings, id: &str) -> Result<StoredKey, Refusal> {
    if id == CONFIGURED {
        return Err(Refusal::invalid(
            "This key stands in the configuration (admin.api_key): change it there, and restart.",
        ));
    }
    let snapshot = all.registry.snapshot();
    let known = snapshot.key(id);
    known
        .cloned()
        .ok_or_else(|| Refusal::not_found(&format!("The key {}", shorten(id))))
}

fn check_room(all: &Surroundings) -> Result<(), Refusal> {
    if all.registry.snapshot().keys().len() < MOST_KEYS {
        return Ok(());
    }
    Err(Refusal::conflict(format!(
        "There are {MOST_KEYS} keys already; revoke those that nobody uses."
    )))
}

fn new_key(all: &Surroundings, kind: KeyKind) -> Result<NewKey, Refusal> {
    let new = match kind {
        KeyKind::Admin => NewKey::admin(&all.identity.environment),
        KeyKind::Edge => NewKey::edge(),
    };
    new.map_err(|error| Refusal::internal(&error.to_string()))
}

fn created(
    revision: u64,
    new: &NewKey,
    stored: &StoredKey,
    replaces: Option<ReplacedKey>,
) -> KeyCreated {
    KeyCreated {
        ok: true,
        revision,
        key: new.key.expose_secret().to_owned(),
        shown: shown(stored),
        replaces,
    }
}

fn shown(key: &StoredKey) -> ShownKey {
    ShownKey {
        id: key.id.clone(),
        kind: key.kind.clone().into(),
        role: key.role.clone().map(Into::into),
        tenant_id: key.tenant_id.clone(),
        name: key.name.clone(),
        created_at: Some(written(key.created_at)),
        expires_at: key.expires_at.map(written),
    }
}

fn written(at: u64) -> String {
    let at = Duration::from_millis(at.min(LAST));
    format_rfc3339_millis(SystemTime::UNIX_EPOCH + at).to_string()
}

fn check_time(text: Option<&str>, mistakes: &mut Mistakes) {
    if text.is_some_and(|text| parse_rfc3339(text).is_err()) {
        mistakes.add(
            "/expires_at",
            "must be a time in UTC, such as 2027-01-31T12:00:00Z",
        );
    }
}

/// The end of a key that is made now.
fn end_of(expires_at: Option<&str>, now: u64) -> Result<Option<u64>, Refusal> {
    let end = expires_at.and_then(|text| parse_rfc3339(text).ok());
    let end = end.map(since_1970);
    if end.is_some_and(|end| end <= now) {
        return Err(Refusal::invalid("/expires_at must be in the future."));
    }
    Ok(end)
}

fn name_problem(name: &str) -> Option<String> {
    let fits = (1..=MAX_KEY_NAME).contains(&name.len()) && !name.chars().any(is_unsafe);
    (!fits).then(|| format!("must be 1 to {MAX_KEY_NAME} bytes of text on one line"))
}
