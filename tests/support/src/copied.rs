//! With `BEAMLINE_TEST_NATS=copied` the servers of tests have the set-up of docker/nats, and
//! whoever connects logs in as its part.
//!
//! Names are changed, as whoever copies it does: one user stands for all extensions, and one for
//! gateways, administrators and observers together. Routers may do what the file says.

use async_nats::ConnectOptions;
use beamline_extension::Settings;

use super::Nats;

const VARIABLE: &str = "BEAMLINE_TEST_NATS";
const FILE: &str = include_str!("../../../docker/nats/nats-server.conf");
const BUCKET: &str = "beamline_sessions";

/// The users of the file.
pub const COPIED_USERS: [&str; 9] = [
    "router",
    "gateway",
    "shop",
    "pii_guard",
    "mock_provider",
    "normalize_text",
    "mask_pii",
    "administrator",
    "observer",
];

/// Who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Router,
    Extension,
    /// Everybody who asks routers something.
    Tester,
}

impl Part {
    fn user(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Extension => "mock_provider",
            Self::Tester => "observer",
        }
    }

    fn inboxes(self) -> String {
        format!("_INBOX_{}", self.user())
    }

    /// With what a client of this part needs.
    pub fn options(self) -> ConnectOptions {
        if !is_on() {
            return ConnectOptions::new();
        }
        let user = self.user().to_owned();
        ConnectOptions::with_user_and_password(user, copied_password(self.user()))
            .custom_inbox_prefix(self.inboxes())
    }
}

pub(crate) fn is_on() -> bool {
    std::env::var(VARIABLE).is_ok_and(|set_up| set_up == "copied")
}

/// Of one of these users in a test.
pub fn copied_password(user: &str) -> String {
    format!("p-{user}")
}

/// Before what a test has for its server itself.
pub(crate) fn configuration(more: &str) -> String {
    if !is_on() {
        return more.to_owned();
    }
    let mut text = FILE.to_owned();
    for user in COPIED_USERS {
        let variable = format!("${}_PASSWORD", user.to_ascii_uppercase());
        text = text.replace(&variable, &format!("\"{}\"", copied_password(user)));
    }
    let changed = [
        ("port: 4222", ""),
        ("jetstream {}", ""),
        (
            "\"beamline.provider.mock_provider.>\"",
            "\"beamline.provider.>\", \"beamline.ext.>\"",
        ),
        (".mock_provider\"", ".*\""),
        (".mock_provider.*\"", ".*.*\""),
        (
            "\"beamline.router.v1.admin.supervision_tree\",",
            "\"beamline.router.v1.admin.*\", \"beamline.router.v1.decide\", \"beamline.router.v1.route\", \"$SRV.>\",",
        ),
    ];
    for (from, to) in changed {
        assert!(text.contains(from), "{from} is not in the file");
        text = text.replace(from, to);
    }
    format!("{text}\n{more}")
}

/// Of a router.
pub(crate) fn router_settings() -> Vec<(&'static str, String)> {
    if !is_on() {
        return Vec::new();
    }
    let part = Part::Router;
    vec![
        ("nats.user", part.user().to_owned()),
        ("nats.password", copied_password(part.user())),
        ("nats.inbox_prefix", part.inboxes()),
        ("nats.sessions_bucket", BUCKET.to_owned()),
    ]
}

/// Of the environment of an extension.
pub(crate) fn extension_variables() -> Vec<(&'static str, String)> {
    if !is_on() {
        return Vec::new();
    }
    let part = Part::Extension;
    vec![
        ("NATS_USER", part.user().to_owned()),
        ("NATS_PASSWORD", copied_password(part.user())),
        ("NATS_INBOX_PREFIX", part.inboxes()),
    ]
}

/// Of an extension inside the test.
pub fn settings_for(nats: &Nats) -> Settings {
    let plain = Settings::for_url(nats.url());
    if !is_on() {
        return plain;
    }
    let part = Part::Extension;
    Settings {
        user: Some(part.user().to_owned()),
        password: Some(copied_password(part.user())),
        inbox_prefix: Some(part.inboxes()),
        ..plain
    }
}
