//! The configuration as the NATS client wants it, for the router and for its command line.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use super::login;
use crate::config::NatsConfig;
use async_nats::ConnectOptions;

/// Messages that one subscription keeps for its reader; more are dropped. Well above what is
/// admitted at once.
const SUBSCRIPTION_CAPACITY: usize = 4096;
/// Commands under way to the connection; more callers wait.
const CLIENT_CAPACITY: usize = 2048;

/// A file that the configuration names cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {key} {}: {source}. Correct its path or its content, or let this user read it.", path.display())]
pub struct UnreadableFile {
    pub key: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// Everything but the addresses. Looks at the files, so that a wrong path is told apart from a
/// server that is away.
pub(crate) async fn options(
    nats: &NatsConfig,
    name: &str,
) -> Result<ConnectOptions, UnreadableFile> {
    if let Some(file) = &nats.creds_file {
        readable("nats.creds_file", file).await?;
    }
    let options = login::of(nats)
        .options()
        .name(name)
        .ping_interval(nats.ping_interval)
        .subscription_capacity(SUBSCRIPTION_CAPACITY)
        .client_capacity(CLIENT_CAPACITY)
        .custom_inbox_prefix(nats.inbox_prefix.clone())
        .require_tls(nats.tls.is_wanted());
    with_tls_files(options, nats).await
}

/// The client reads these itself at every connection; reading them here says which one is missing.
async fn with_tls_files(
    mut options: ConnectOptions,
    nats: &NatsConfig,
) -> Result<ConnectOptions, UnreadableFile> {
    let tls = &nats.tls;
    let files = [
        ("nats.tls.ca_file", &tls.ca_file),
        ("nats.tls.cert_file", &tls.cert_file),
        ("nats.tls.key_file", &tls.key_file),
    ];
    for (key, file) in files {
        if let Some(file) = file {
            readable(key, file).await?;
        }
    }
    if let Some(file) = &tls.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&tls.cert_file, &tls.key_file) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// Said here, because the client only says that it could not connect.
async fn readable(key: &'static str, file: &Path) -> Result<(), UnreadableFile> {
    let read = tokio::fs::read(file).await;
    read.map(drop).map_err(|source| UnreadableFile {
        key,
        path: file.to_owned(),
        source,
    })
}

/// The servers of `nats.url`.
pub(crate) fn addresses(url: &str) -> Vec<String> {
    url.split(',')
        .map(|address| address.trim().to_owned())
        .collect()
}

/// `nats.url` without users and passwords, for sentences. The configuration refuses them, other
/// callers may not.
pub(super) fn place(url: &str) -> String {
    let without_login =
        |address: String| match (address.split_once("://"), address.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            (None, Some((_, host))) => host.to_owned(),
            (_, None) => address,
        };
    addresses(url)
        .into_iter()
        .map(without_login)
        .collect::<Vec<_>>()
        .join(",")
}

/// The innermost cause says most: "Connection refused" rather than "IO error".
pub(crate) fn cause_of(error: &(dyn std::error::Error + 'static)) -> impl fmt::Display + use<> {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_never_shows_a_login() {
        assert_eq!(
            place("nats://a:1, tls://joe:s@cret@b:2,joe@c"),
            "nats://a:1,tls://b:2,c"
        );
    }
}
