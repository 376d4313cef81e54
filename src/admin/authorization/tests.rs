use std::time::Duration;

use beamline_contract::admin::NAMES;
use beamline_contract::for_each_operation;
use beamline_domain::snapshot::Content;
use secrecy::ExposeSecret;

use super::*;
use crate::keys::{NewKey, Signer};

macro_rules! needs {
    ($($operation:ident $name:literal $role:ident $reach:ident $effect:ident $answer:ident,)*) => {
        const NEEDS: &[(&str, Role, Reach)] = &[$(($name, Role::$role, Reach::$reach)),*];
    };
}

for_each_operation!(needs);

/// Who may what: a letter for each role (viewer, operator, editor, admin, auditor), first with a
/// key for all tenants, then with a key of one. An operation without a row is a mistake.
const TABLE: &[(&str, &str, &str)] = &[
    ("get_extension_health", "VOEA", "VOEA"),
    ("get_circuit_breaker_states", "VOEA", "VOEA"),
    ("list_extensions", "VOEA", "VOEA"),
    ("get_extension", "VOEA", "VOEA"),
    ("create_extension", "EA", ""),
    ("update_extension", "EA", ""),
    ("delete_extension", "EA", ""),
    ("enable_extension", "OEA", ""),
    ("disable_extension", "OEA", ""),
    ("list_policies", "VOEA", "VOEA"),
    ("get_policy", "VOEA", "VOEA"),
    ("put_policy", "EA", "EA"),
    ("delete_policy", "EA", "EA"),
    ("dry_run_pipeline", "VOEA", "VOEA"),
    ("get_pipeline_complexity", "VOEA", "VOEA"),
    ("get_request", "VOEA", "VOEA"),
    ("get_stats", "VOEA", "VOEA"),
    ("log_level", "OEA", ""),
    ("reload", "OEA", ""),
    ("supervision_tree", "VOEA", ""),
    ("set_breaker", "OEA", ""),
    ("reset_breaker", "OEA", ""),
    ("create_key", "A", ""),
    ("list_keys", "A", ""),
    ("rotate_key", "A", ""),
    ("revoke_key", "A", ""),
    ("list_audit", "AU", ""),
    ("verify_audit", "AU", ""),
    ("prune_audit", "A", ""),
];

const LETTERS: [(char, Role); 5] = [
    ('V', Role::Viewer),
    ('O', Role::Operator),
    ('E', Role::Editor),
    ('A', Role::Admin),
    ('U', Role::Auditor),
];

fn caller(role: Option<Role>, tenant_id: Option<&str>) -> Caller {
    Caller {
        source: "test",
        key_id: Some("k".into()),
        role,
        tenant_id: tenant_id.map(Into::into),
        trace_id: None,
        largest_answer: 0,
        nonce: None,
        if_revision: None,
        reason: None,
    }
}

fn body(json: &str) -> Fields {
    Fields::parse(json).unwrap()
}

fn code(result: Result<(), Refusal>) -> String {
    result.map_or_else(|refusal| refusal.body().code.into_owned(), |()| "ok".into())
}

fn allowed(name: &str, tenant_id: Option<&str>, json: &str) -> String {
    let needed = NEEDS.iter().find(|(known, ..)| *known == name);
    let (_, role, reach) = *needed.unwrap();
    let may = |own: Role| permit(&caller(Some(own), tenant_id), &body(json), role, reach).is_ok();
    let letters = LETTERS.into_iter().filter(|(_, own)| may(*own));
    letters.map(|(letter, _)| letter).collect()
}

#[test]
fn every_operation_has_its_row_and_is_open_to_nobody_else() {
    let rows: Vec<&str> = TABLE.iter().map(|(name, ..)| *name).collect();
    assert_eq!(rows, NAMES, "each operation has a row, in their order");
    for (name, all, own) in TABLE {
        let about = r#"{"tenant_id": "acme", "policy_id": "p"}"#;
        for json in ["{}", about] {
            assert_eq!(allowed(name, None, json), *all, "{name} {json}");
            assert_eq!(allowed(name, Some("acme"), json), *own, "{name} {json}");
        }
        // Nothing of another tenant, whatever the role.
        if !own.is_empty() {
            assert_eq!(allowed(name, Some("other"), about), "", "{name}");
        }
    }
}

#[test]
fn another_tenants_matters_do_not_exist_whatever_the_role() {
    let about = body(r#"{"tenant_id": "acme", "policy_id": "p"}"#);
    for role in [Role::Viewer, Role::Admin] {
        let caller = caller(Some(role), Some("other"));
        let refused = permit(&caller, &about, Role::Editor, Reach::Tenant).unwrap_err();
        let refused = refused.body();
        assert_eq!(
            (refused.code.as_ref(), refused.message.as_str()),
            ("not_found", "The policy acme/p does not exist.")
        );
    }
}

#[test]
fn without_a_role_nothing_is_allowed() {
    let nobody = Caller {
        key_id: None,
        ..caller(None, None)
    };
    let refused = permit(&nobody, &body("{}"), Role::Viewer, Reach::Tenant);
    assert_eq!(code(refused), "unauthorized");
    let edge = caller(None, None);
    let refused = permit(&edge, &body("{}"), Role::Viewer, Reach::Tenant);
    assert_eq!(code(refused), "forbidden");
    let anonymous = Caller {
        key_id: None,
        ..caller(Some(Role::Viewer), None)
    };
    let refused = permit(&anonymous, &body("{}"), Role::Editor, Reach::Router);
    assert_eq!(code(refused), "unauthorized", "a key would help");
}

/// A store with one key, and who somebody is there.
struct World {
    snapshot: Snapshot,
    access: Access,
    key: String,
}

const CONFIGURED_KEY: &str = "a-key-of-enough-length";

impl World {
    fn new(change: impl FnOnce(&mut StoredKey)) -> Self {
        let new = NewKey::admin("dev").unwrap();
        let mut stored = StoredKey {
            id: new.id,
            kind: "admin".into(),
            role: Some("editor".into()),
            tenant_id: Some("acme".into()),
            name: None,
            policies: Vec::new(),
            models: Vec::new(),
            rpm: None,
            tpm: None,
            budget_day: None,
            budget_month: None,
            created_at: 0,
            expires_at: None,
            hash: new.hash,
            public_key: new.public_key,
        };
        change(&mut stored);
        Self {
            snapshot: Snapshot::new(Content {
                keys: vec![stored],
                ..Content::default()
            }),
            access: Access {
                configured: Some(ConfiguredKey::new(CONFIGURED_KEY, Role::Operator)),
                anonymous: Some(Role::Viewer),
            },
            key: new.key.expose_secret().to_owned(),
        }
    }

    fn who(&self, header: Option<&str>, json: &str) -> Result<Caller, String> {
        let asking = Asking {
            credentials: crate::admin::Credentials {
                authorization: header.map(str::to_owned),
                ..Default::default()
            },
            ..Asking::default()
        };
        self.at(1_000, &asking, json)
    }

    fn at(&self, now: u64, asking: &Asking, json: &str) -> Result<Caller, String> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now);
        let request = Request {
            asking,
            payload: json.as_bytes(),
            body: &body(json),
        };
        identify(&self.access, &self.snapshot, request, now)
            .map_err(|denied| denied.refusal.body().code.into_owned())
    }

    fn role(&self, header: Option<&str>, json: &str) -> Result<Option<Role>, String> {
        self.who(header, json).map(|caller| caller.role)
    }
}

#[test]
fn a_key_is_known_by_its_whole_text_wherever_it_stands() {
    let world = World::new(|_| {});
    let key = &world.key;
    let bearer = format!("bearer {key}");
    for (header, json) in [
        (Some(bearer.as_str()), "{}".to_owned()),
        (None, format!(r#"{{"api_key": "{key}"}}"#)),
    ] {
        let caller = world.who(header, &json).unwrap();
        assert_eq!(caller.role, Some(Role::Editor));
        assert_eq!(caller.tenant_id.as_deref(), Some("acme"));
        assert!(caller.key_id.is_some_and(|id| key.contains(&id)));
    }
    let configured = format!("Bearer {CONFIGURED_KEY}");
    let caller = world.who(Some(&configured), "{}").unwrap();
    assert_eq!(
        (caller.role, caller.key_id.as_deref(), caller.tenant_id),
        (Some(Role::Operator), Some("config"), None)
    );
    assert_eq!(world.role(None, "{}"), Ok(Some(Role::Viewer)));
    assert_eq!(
        world.role(None, r#"{"api_key": null}"#),
        Ok(Some(Role::Viewer))
    );
}

#[test]
fn a_wrong_key_is_worse_than_none() {
    let world = World::new(|_| {});
    let short = &world.key[..world.key.len() - 1];
    let longer = format!("{}a", world.key);
    for key in [short, &longer, "", "nonsense", "blr_dev_abcd0123_x"] {
        let bearer = format!("Bearer {key}");
        let refused = Err("unauthorized".to_owned());
        assert_eq!(world.role(Some(&bearer), "{}"), refused, "{key}");
        let json = format!(r#"{{"api_key": "{key}"}}"#);
        assert_eq!(world.role(None, &json), refused, "{key}");
        // The header is what counts.
        let right = format!(r#"{{"api_key": "{CONFIGURED_KEY}"}}"#);
        assert_eq!(world.role(Some(&bearer), &right), refused, "{key}");
    }
    for header in [world.key.as_str(), "Basic abc", "Beamline-Key abc"] {
        assert_eq!(
            world.role(Some(header), "{}"),
            Err("unauthorized".to_owned()),
            "{header}"
        );
    }
}

#[test]
fn a_key_that_has_expired_or_opens_another_door_opens_nothing() {
    let expired = World::new(|key| key.expires_at = Some(1_000));
    let bearer = format!("Bearer {}", expired.key);
    assert_eq!(
        expired.role(Some(&bearer), "{}"),
        Err("unauthorized".to_owned())
    );
    for change in [
        |key: &mut StoredKey| key.kind = "edge".into(),
        |key: &mut StoredKey| key.role = Some("emperor".into()),
    ] {
        let world = World::new(change);
        let bearer = format!("Bearer {}", world.key);
        assert_eq!(world.role(Some(&bearer), "{}"), Ok(None));
    }
}

#[test]
fn nobody_is_asked_in_where_anonymous_is_none() {
    let mut world = World::new(|_| {});
    world.access.anonymous = None;
    assert_eq!(world.role(None, "{}"), Err("unauthorized".to_owned()));
}

const SUBJECT: &str = "beamline.router.v1.admin.put_policy";
const DATE: &str = "1970-01-01T00:02:00Z";
const NONCE: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const TIME: u64 = 120_000;

/// Signed by a key, and then changed.
fn signed(key: &str, json: &str, change: impl FnOnce(&mut Asking)) -> Asking {
    let authorization = Signer::new(key).authorization(&Signed {
        subject: SUBJECT,
        date: DATE,
        nonce: NONCE,
        body: json.as_bytes(),
    });
    let mut asking = Asking {
        subject: SUBJECT.into(),
        credentials: crate::admin::Credentials {
            authorization: Some(authorization),
            date: Some(DATE.into()),
            nonce: Some(NONCE.into()),
            ambiguous: false,
        },
        ..Asking::default()
    };
    change(&mut asking);
    asking
}

#[test]
fn who_signs_is_known_and_the_signature_is_good_for_once() {
    let world = World::new(|_| {});
    let json = r#"{"tenant_id": "acme"}"#;
    let caller = world
        .at(TIME, &signed(&world.key, json, |_| {}), json)
        .unwrap();
    assert_eq!(caller.role, Some(Role::Editor));
    let nonce = caller.nonce.unwrap();
    assert_eq!((nonce.value.as_str(), nonce.taken_at), (NONCE, TIME));
    assert_eq!(Some(&nonce.key_id), caller.key_id.as_ref());

    let asking = signed(CONFIGURED_KEY, json, |_| {});
    let caller = world.at(TIME, &asking, json).unwrap();
    assert_eq!(
        (caller.role, caller.key_id.as_deref()),
        (Some(Role::Operator), Some("config"))
    );
}

#[test]
fn a_signature_is_taken_for_a_minute_and_for_nothing_else() {
    let world = World::new(|_| {});
    let refused = Some("unauthorized".to_owned());
    let try_at = |now, asking: &Asking, json| world.at(now, asking, json).err();
    let asking = signed(&world.key, "{}", |_| {});
    for (now, want) in [
        (TIME - 60_001, &refused),
        (TIME - 60_000, &None),
        (TIME + 60_000, &None),
        (TIME + 60_001, &refused),
    ] {
        assert_eq!(try_at(now, &asking, "{}"), *want, "{now}");
    }
    assert_eq!(try_at(TIME, &asking, "{ }"), refused, "another body");
    let changes: [fn(&mut Asking); 6] = [
        |asking| asking.subject = "beamline.router.v1.admin.delete_policy".into(),
        |asking| asking.credentials.date = Some("1970-01-01T00:02:01Z".into()),
        |asking| asking.credentials.date = None,
        |asking| asking.credentials.nonce = Some("AAAAAAAAAAAAAAAAAAAAAQ".into()),
        |asking| asking.credentials.nonce = None,
        |asking| {
            let other = asking.credentials.authorization.take().unwrap();
            let (_, signature) = other.rsplit_once(':').unwrap();
            asking.credentials.authorization = Some(format!("Beamline-Key config:{signature}"));
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let asking = signed(&world.key, "{}", change);
        assert_eq!(try_at(TIME, &asking, "{}"), refused, "{number}");
    }
}

#[test]
fn a_configured_key_that_was_made_like_others_signs_with_its_own_id() {
    let mut world = World::new(|_| {});
    let other = NewKey::admin("up").unwrap();
    let key = other.key.expose_secret();
    world.access.configured = Some(ConfiguredKey::new(key, Role::Admin));
    let caller = world.at(TIME, &signed(key, "{}", |_| {}), "{}").unwrap();
    assert_eq!(
        (caller.role, caller.key_id.as_deref()),
        (Some(Role::Admin), Some("config"))
    );
}
