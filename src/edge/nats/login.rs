//! Logging in with what the configuration says.

use std::sync::Arc;

use beamline_bus::{Held, Login};
use secrecy::ExposeSecret;

use crate::config::{NatsConfig, NatsSecret};

pub(super) fn of(nats: &NatsConfig) -> Login {
    let held = |secret: &NatsSecret| -> Held {
        let secret = secret.clone();
        Arc::new(move || Ok(secret.now()?.expose_secret().to_owned()))
    };
    Login {
        user: nats.user.clone(),
        password: nats.password.as_ref().map(held),
        token: nats.token.as_ref().map(held),
        creds_file: nats.creds_file.clone(),
    }
}
